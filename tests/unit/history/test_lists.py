"""Lists of installations: what a search finds, in which order, and that nothing is read whole."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from itertools import chain

import pytest

from tests.support.filled_history import NETWORKS, Filling, fill
from tests.support.histories import PARTS, seen, told
from tixd.history import lists, store
from tixd.history.installation_words import Words
from tixd.history.installations import recorded
from tixd.history.lists import ListedInstallation, Page, listed, not_posted

FILLING = Filling(installations=60, days=0.5)

NOW = FILLING.end


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("history") / "h.sqlite"
    fill(path, FILLING)
    with contextlib.closing(store.open_for_reading(str(path))) as found:
        yield found


@pytest.fixture
def words(file) -> Words:
    return Words(NOW, 1800.0, lists.latest(file, NOW))


def keys(page: Page) -> list[tuple[int, int]]:
    return [(row.state.user, row.state.installation) for row in page.rows]


def everybody(file: sqlite3.Connection, words: Words, sort: str) -> list[ListedInstallation]:
    return [*listed(file, words, "", sort, 1, 1000).rows]


def test_those_that_need_attention_come_first_in_the_order_of_the_command(file, words):
    expected = sorted(recorded(file), key=words.urgency)
    assert [row.state for row in everybody(file, words, "state")] == expected
    assert {words.kind(state) for state in expected} >= {"gone", "blocked", "silent", "kept"}


def test_the_kinds_are_counted_as_the_command_tells_them(file, words):
    assert lists.counts(file, words) == Counter(map(words.kind, recorded(file)))


def test_a_bad_report_since_the_last_result_and_a_state_that_is_well_are_told_apart(tmp_path):
    bad = {"setAside": 1, "setAsideReason": "no JSON"}
    file = store.open_for_writing(str(tmp_path / "h.sqlite"), PARTS)
    with store.transaction(file):
        PARTS[1].write(file, [told(user=1), seen(bad, user=2), told(user=3, state=bad)])
    file.row_factory = sqlite3.Row
    at = Words(1_700_000_000, 1800.0, 1_700_000_000)
    assert keys(listed(file, at, "", "state", 1, 9)) == [(3, 2), (2, 2), (1, 2)]
    assert [at.kind(state) for state in recorded(file)] == ["well", "set-aside", "set-aside"]
    file.close()


def test_the_busiest_and_the_worst_come_first_and_those_without_a_recent_result_last(file, words):
    for sort, worst in (
        ("usage", lambda row: -max(row.up_usage or 0, row.down_usage)),
        ("quality", lambda row: min(row.up_quality or 9, row.down_quality)),
    ):
        found = everybody(file, words, sort)
        recent = [row for row in found if words.last_result(row.state)]
        assert [worst(row) for row in recent] == sorted(map(worst, recent)), sort
        assert found[: len(recent)] == recent, "those that never had a result are last"


def test_usage_is_as_the_tix_api_gets_it(file, words):
    stored = file.execute("SELECT max(down_usage) FROM installations").fetchone()[0]
    assert stored > 1
    assert everybody(file, words, "usage")[0].down_usage == 1.0


def test_pages_follow_each_other_and_a_number_beyond_the_last_is_the_last(file, words):
    pages = [listed(file, words, "", "usage", number, 25) for number in (1, 2, 3)]
    assert [len(page.rows) for page in pages] == [25, 25, 10]
    assert [*chain(*map(keys, pages))] == keys(listed(file, words, "", "usage", 1, 99))
    assert (pages[0].pages, pages[0].total) == (3, 60)
    assert listed(file, words, "", "usage", 10**9, 25) == pages[2]
    assert listed(file, words, "", "usage", -1, 25) == pages[0]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("7", {(7, 1), (7, 2), (7, 3)}),
        ("7/1", {(7, 1)}),
        (" 7 / 1 ", {(7, 1)}),
        ("0", set()),
        ("9" * 99, set()),
        ("9" * 19 + "/" + "9" * 19, set()),
        ("\u0667", set()),
        ("no network of this name", set()),
    ],
)
def test_a_number_finds_a_user_and_two_an_installation(file, words, search, found):
    page = listed(file, words, search, "state", 1, 99)
    assert (set(keys(page)), page.total) == (found, len(found))


@pytest.mark.parametrize("search", ["AS64502", "as 64502", "64502", "mobil & S", "<wireless>"])
def test_an_as_is_found_by_its_number_and_a_part_of_its_name(file, words, search):
    found = listed(file, words, search, "state", 1, 99).rows
    assert {row.as_name for row in found} == {"Mobil & Sons <Wireless>"}


HOSTILE = [
    "%", "_", "M_bil", "Mobil%", "*", "?", "[a-z]*", "'", "''", '"', "\\", "\x00", "\ud800",
    "' OR 1=1 --", "x'); DROP TABLE installation_rows; --", "1/1; DROP TABLE networks",
    "7 OR 1=1", "AS64502 OR 1=1", "UNION SELECT 1", ":user", "?1", "a" * 10**6, "7/1/1", "-7",
]  # fmt: skip


@pytest.mark.parametrize("search", HOSTILE, ids=lambda text: repr(text[:12]))
def test_what_is_searched_for_is_never_part_of_a_statement_or_a_pattern(file, words, search):
    before = file.execute("SELECT count(*) FROM installations").fetchone()[0]
    page = listed(file, words, search, "state", 1, 99)
    assert (page.total, page.rows) == (0, [])
    assert file.execute("SELECT count(*) FROM installations").fetchone()[0] == before


def test_results_that_the_tix_api_does_not_have_are_listed_by_installation(file):
    kinds = FILLING.kinds()
    page = not_posted(file, 1, 99)
    assert {(row.user, row.installation) for row in page.rows} == {
        key for key, kind in kinds.items() if kind in ("kept", "rejected")
    }
    for row in page.rows:
        is_kept = kinds[row.user, row.installation] == "kept"
        counted = file.execute(
            "SELECT count(*), max(at) FROM results WHERE user = ? AND installation = ?"
            " AND outcome = 'rejected'",
            [row.user, row.installation],
        ).fetchone()
        assert (row.rejected, row.rejected_at) == tuple(counted)
        assert bool(row.kept) == bool(row.next_try) == bool(row.reason) == is_kept
        assert bool(row.rejected_words) != is_kept
    assert not_posted(file, 2, 4).rows == page.rows[4:8]


def test_where_nothing_is_kept_the_list_is_empty(tmp_path):
    with contextlib.closing(store.open_for_writing(str(tmp_path / "h.sqlite"), PARTS)) as file:
        assert not_posted(file, 1, 50) == Page(1, 1, [], 0)
        assert listed(file, Words(NOW, 1800.0), "", "state", 1, 50) == Page(1, 1, [], 0)


def plans(file: sqlite3.Connection, call) -> list[str]:
    """How SQLite reads the tables for the statements of a call."""
    statements: list[str] = []
    file.set_trace_callback(statements.append)
    call()
    file.set_trace_callback(None)
    assert statements
    rows = (row for text in statements for row in file.execute(f"EXPLAIN QUERY PLAN {text}"))
    return [row["detail"] for row in rows]


@pytest.mark.parametrize("sort", lists.SORTS)
def test_a_list_reads_no_results_and_each_installation_at_most_once_for_its_rows(file, words, sort):
    found = plans(file, lambda: listed(file, words, "cable", sort, 1, 50))
    assert not [line for line in found if "result_rows" in line or "hour_rows" in line]
    assert len([line for line in found if line.startswith("SCAN installation_rows")]) <= 2


def test_rejected_results_are_found_by_steps_in_their_own_index(file):
    found = plans(file, lambda: not_posted(file, 1, 50))
    read = {line for line in found if " r " in line and not line.startswith("SEARCH r USING")}
    assert read == set(), "each of them is a seek"
    steps = ("(user>?)", "(user=? AND installation>?)", "(user=? AND installation=?)")
    assert all(any(f"rejected_rows {step}" in line for line in found) for step in steps)
    assert not [line for line in found if line.startswith("SCAN installation_rows")]


def test_all_networks_of_a_filling_are_named(file):
    named = file.execute("SELECT asn, name FROM networks ORDER BY asn").fetchall()
    assert [tuple(row) for row in named] == [each for each in NETWORKS if each[0]]


def test_one_that_was_visited_in_the_future_makes_no_other_gone(tmp_path):
    file = store.open_for_writing(str(tmp_path / "h.sqlite"), PARTS)
    with store.transaction(file):
        PARTS[1].write(file, [told(user=1, at=NOW), seen(user=2, at=NOW + 86_400)])
    words = Words(NOW, 1800.0, lists.latest(file, NOW))
    assert lists.counts(file, words) == {"well": 1, "new": 1}
