"""What the history says of results and installations, and which of it goes first."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.histories import PARTS, WIDE, seen, told
from tests.support.log_events import heard
from tixd.errors import BadMessage
from tixd.history import job_record, store
from tixd.history.cycles import Cycle
from tixd.history.installations import events
from tixd.history.results import results_part

CYCLES, RESULTS = PARTS

NOW = 1_700_000_000


@pytest.fixture
def file(tmp_path) -> sqlite3.Connection:
    found = store.open_for_writing(str(tmp_path / "h.sqlite"), PARTS)
    found.row_factory = sqlite3.Row
    yield found
    found.close()


def write(file: sqlite3.Connection, *entries: str | bytes) -> None:
    with store.transaction(file):
        RESULTS.write(file, entries)


def rows(file: sqlite3.Connection, statement: str) -> list[dict[str, Any]]:
    return [dict(row) for row in file.execute(statement)]


def only(file: sqlite3.Connection, statement: str) -> dict[str, Any]:
    [row] = rows(file, statement)
    return row


def test_a_result_is_read_back_with_its_values_and_without_its_address(file):
    write(file, told(NOW - 100, at=NOW))
    row = only(file, "SELECT * FROM results")
    assert (row["user"], row["installation"], row["timestamp"], row["at"]) == (1, 2, NOW - 100, NOW)
    assert (row["outcome"], row["words"]) == ("posted", None)
    assert (row["asn"], row["as_name"]) == (64500, "Example")
    assert (row["up_usage"], row["up_quality"]) == (0.25, 1.0)
    assert (row["down_usage"], row["down_hurst_wavelet"]) == (1.4, -0.125)
    assert row["down_usage_alt"] is None
    assert not any("181.165" in str(value) for value in row.values())


def test_a_kept_result_that_is_posted_later_is_one_row_with_its_last_outcome(file):
    write(file, told(NOW - 100, "kept", at=NOW, state={"kept": 1}))
    kept = only(file, "SELECT outcome, words FROM results")
    assert kept["outcome"] == "kept"
    assert kept["words"] == "HTTP 500 Internal Server Error: out of order"
    write(file, told(NOW - 100, "posted", "kept", at=NOW + 7200))
    assert only(file, "SELECT outcome, words, at FROM results") == {
        "outcome": "posted",
        "words": None,
        "at": NOW + 7200,
    }
    latest = only(file, "SELECT * FROM installations")
    assert (latest["result_at"], latest["posted_at"], latest["kept"]) == (NOW, NOW + 7200, 0)


@pytest.mark.parametrize("ahead", [60, 1800, 3 * 3600])
def test_so_it_is_where_the_clock_of_its_client_is_ahead(file, ahead):
    hour = NOW // 3600 * 3600
    write(file, told(hour + ahead, "kept", at=hour - 30))
    write(file, told(hour + ahead, "posted", "kept", at=hour + 4 * 3600))
    assert rows(file, "SELECT outcome, timestamp FROM results") == [
        {"outcome": "posted", "timestamp": hour + ahead}
    ]


def test_the_latest_state_of_an_installation_needs_no_result(file):
    write(file, seen({"newest": None, "reports": 0, "trouble": "not permitted"}, at=NOW))
    latest = only(file, "SELECT * FROM installations")
    assert (latest["seen_at"], latest["reports"], latest["trouble"]) == (NOW, 0, "not permitted")
    assert (latest["result_at"], latest["outcome"]) == (None, None)
    write(file, seen({"trouble": None, "setAside": 2, "setAsideReason": "no JSON"}, at=NOW + 600))
    write(file, seen({"newest": None, "setAside": 1, "setAsideReason": None}, at=NOW + 1200))
    latest = only(file, "SELECT * FROM installations")
    assert (latest["newest"], latest["trouble"]) == (NOW, None)
    assert (latest["set_aside"], latest["set_aside_at"], latest["set_aside_reason"]) == (
        3,
        NOW + 1200,
        "no JSON",
    )


def test_silent_installations_had_a_result_and_are_still_visited(file):
    write(
        file,
        told(user=1, at=NOW),
        told(user=2, at=NOW - 1900),
        seen(user=2, at=NOW - 60),
        told(user=3, at=NOW - 1900 - 3 * 3600),  # its folder was removed
        seen(user=4, at=NOW),  # never had a result
        told(user=5, fate="kept", at=NOW, state={"kept": 7}),
    )
    summary = RESULTS.summary(file, NOW)
    assert (summary["installations"], summary["results_kept"]) == (5, 7)
    assert (summary["kept"], summary["kept_first"]) == (1, ["5/2"])
    assert (summary["silent"], summary["silent_first"]) == (1, ["2/2"])
    later = RESULTS.summary(file, NOW + 7200)
    assert later["silent"] == 3, "all that are still visited"
    write(file, seen(user=2, at=NOW + 2 * store.DAY_SECONDS))
    later = RESULTS.summary(file, NOW + 2 * store.DAY_SECONDS)
    assert (later["silent"], later["silent_day"]) == (1, 0)


def test_what_needs_attention_is_counted_and_the_first_are_named(file):
    bad = {"setAside": 2, "setAsideReason": "not JSON"}
    write(file, *(seen(bad, user=user, at=NOW) for user in range(1, 6)))
    write(file, seen({"trouble": "not permitted"}, user=9, at=NOW))
    summary = RESULTS.summary(file, NOW)
    assert (summary["set_aside"], summary["set_aside_first"]) == (5, ["1/2", "2/2", "3/2"])
    assert (summary["blocked"], summary["blocked_first"]) == (1, ["9/2"])


def test_what_a_host_publishes_is_what_another_one_writes(file, tmp_path):
    text = told(NOW - 100, "kept", at=NOW, state={"kept": 3, "reason": "HTTP 500"})
    sent = list(job_record.messages(text))
    assert {key for key, _ in sent} == {"1.2"}
    write(file, *(body for _, body in sent))
    other = store.open_for_writing(str(tmp_path / "other.sqlite"), PARTS)
    write(other, text)
    for statement in ("SELECT * FROM results", "SELECT * FROM installations"):
        assert [tuple(r) for r in other.execute(statement)] == [
            tuple(r) for r in file.execute(statement)
        ]
    other.close()


def message(**changes: object) -> bytes:
    sent = next(body for _, body in job_record.messages(told(NOW - 100)))
    return json.dumps({**json.loads(sent), **changes}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1]",
        message(user="1; DROP TABLE results"),
        message(user=2**63),
        message(user=True),
        message(timestamp=-1),
        message(timestamp=None),
        message(outcome="lost"),
        message(words=7),
        message(upUsage="0.5"),
        message(kind="other", outcome=[]),
    ],
)
def test_a_message_that_is_none_changes_nothing_and_is_told(file, body):
    with pytest.raises(BadMessage):
        job_record.parse_message(body, NOW)
    results = results_part(600.0, "/reports")
    with heard() as log, store.transaction(file):
        results.write(file, [body, told(user=9), body])
    assert [row["user"] for row in rows(file, "SELECT user FROM installations")] == [9]
    assert log.events == [("warning", "history_entry_dropped")]


def test_a_host_whose_clock_is_ahead_tells_what_happened_now(file):
    before = int(time.time())
    write(file, message(at=job_record.MAX_SECOND))
    assert before <= only(file, "SELECT at FROM results")["at"] <= time.time()


@pytest.mark.parametrize("second", [10**12, 10**18, 10**19, 10**300])
def test_a_report_named_by_no_second_costs_no_result(file, second):
    write(file, told(NOW - 100, at=NOW, state={"newest": second}))
    assert only(file, "SELECT newest FROM installations") == {"newest": None}
    assert only(file, "SELECT timestamp FROM results") == {"timestamp": NOW - 100}


def test_events_are_found_from_hour_to_hour_however_far_apart(file):
    write(file, *(told(second, at=second) for second in (0, NOW, job_record.MAX_SECOND)))
    steps = []
    file.set_progress_handler(lambda: steps.append(1), 1000)
    found = events(file, 1, 2, 10)
    assert [row["timestamp"] for row in found] == [job_record.MAX_SECOND, NOW, 0]
    assert len(steps) < 10, "thousands of statements of SQLite's machine"


def test_numbers_that_no_line_has_are_undefined(file):
    write(file, message(upUsage=1e300, downUsage=-0.5, words="a\nb" * 500))
    row = only(file, "SELECT up_usage, down_usage, words FROM results")
    assert (row["up_usage"], row["down_usage"]) == (None, -0.5)
    assert row["words"].isprintable()
    assert len(row["words"]) <= job_record.MAX_WORDS


def hours(file: sqlite3.Connection, table: str) -> list[int]:
    found = file.execute(f"SELECT DISTINCT hour FROM {table} ORDER BY hour")  # noqa: S608
    return [row[0] for row in found]


def fill(file: sqlite3.Connection, begin: int, count: int) -> None:
    """Six results an hour of one installation, from the hour `begin` on."""
    for hour in range(begin, begin + count):
        at = [hour * 3600 + minute * 600 for minute in range(6)]
        write(file, *(told(second, at=second) for second in at))


def test_the_oldest_results_become_means_and_the_oldest_means_go(file):
    fill(file, 1000, 30)
    while len(hours(file, "result_rows")) > 1:
        assert RESULTS.make_room(file)
    assert hours(file, "result_rows") == [1029], "the current hour goes last"
    assert hours(file, "hour_rows")[-1] == 1028, "the newest means stay"
    mean = rows(file, "SELECT results, up_usage, down_usage, begin FROM hours")[-1]
    assert mean == {"results": 6, "up_usage": 0.25, "down_usage": 1.4, "begin": 1028 * 3600}


def test_where_no_result_is_left_the_installations_go_that_were_seen_longest_ago(file):
    write(file, *(seen(user=user, at=NOW + user) for user in range(1, 1501)))
    assert RESULTS.make_room(file)
    assert only(file, "SELECT count(*) AS left, min(user) AS user FROM installations") == {
        "left": 500,
        "user": 1001,
    }
    assert RESULTS.make_room(file)
    assert not RESULTS.make_room(file)


def test_where_only_means_are_left_these_go_before_the_installations(file):
    fill(file, 1000, 3)
    sizes = []
    while RESULTS.make_room(file):
        tables = ("result_rows", "hour_rows", "installation_rows")
        counts = [only(file, f"SELECT count(*) AS n FROM {table}")["n"] for table in tables]  # noqa: S608
        sizes.append(tuple(map(bool, counts)))
    assert sizes[-4:] == [(False, True, True)] * 2 + [(False, False, True), (False, False, False)]


def test_a_kept_result_that_comes_late_does_not_change_the_mean_of_its_hour(file):
    fill(file, 1000, 2)
    assert RESULTS.make_room(file)
    before = rows(file, "SELECT * FROM hours")
    write(file, told(1000 * 3600, "posted", "kept", at=1001 * 3600))
    assert RESULTS.make_room(file)
    assert rows(file, "SELECT * FROM hours") == before


def test_what_is_older_than_the_limit_goes_by_the_day(file):
    fill(file, 1000, 3)
    now = 1001 * 3600 + int(2 * store.DAY_SECONDS)
    store.keep_within(file, PARTS, store.Limits(2.0, 2**30), now)
    assert hours(file, "result_rows") == [1001, 1002]
    store.keep_within(file, PARTS, store.Limits(2.0, 2**30), now + 10**6)
    assert hours(file, "result_rows") == []
    assert rows(file, "SELECT * FROM installations") == []


def test_the_file_stays_within_its_size_whatever_is_written(tmp_path):
    path = tmp_path / "h.sqlite"
    file, limits = store.open_for_writing(str(path), PARTS), store.Limits(36_500, 400_000)
    for hour in range(1000, 1040):
        entries = [told(hour * 3600, user=n, at=hour * 3600) for n in range(1, 101)]
        write(file, *entries, *(told(hour * 3600 + 600, user=n) for n in range(1, 101)))
        store.keep_within(file, PARTS, limits, hour * 3600)
        assert store.used_bytes(file) < limits.max_bytes
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert path.stat().st_size < 1.2 * limits.max_bytes
    assert hours(file, "result_rows")[-1] == 1039
    file.close()


def cycles(file: sqlite3.Connection) -> Sequence[dict[str, Any]]:
    return rows(file, "SELECT * FROM cycles ORDER BY begin")


def test_a_cycle_counts_what_was_done_until_the_next_one(file):
    CYCLES.write(file, [Cycle(10.0, 1)])
    write(file, told(user=1), told(user=2, was="kept"), seen({"trouble": "gone"}, user=3))
    CYCLES.write(file, [Cycle(10.0, 1, 0.5, 4, 3), Cycle(20.0, 2)])
    write(file, told(user=1))
    CYCLES.write(file, [Cycle(20.0, 2, reason="the volume failed")])
    first, second = cycles(file)
    assert (first["seconds"], first["installations"], first["jobs"]) == (0.5, 4, 3)
    assert (first["windows"], first["failures"], first["reason"]) == (1, 1, None)
    assert (second["windows"], second["reason"]) == (1, "the volume failed")
    store.keep_within(file, PARTS, WIDE, 10**10)
    assert cycles(file) == []
