"""`tixd probes` beside a real collector: who sent what, who stopped, whose bundles are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bundles import HOSTILE, PING
from tests.support.collector import Collector, with_history
from tests.support.program import until
from tests.support.spreadsheet import formulas
from tests.support.terminal import WIDTHS, Screen, screen
from tixd.history import store
from tixd.history.cycles import CYCLES

#: What a terminal would obey, or shows in another order than it stands.
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """A collector that keeps a history."""
    with Collector(tmp_path, with_history(tmp_path)) as running:
        keeps_history(running)
        yield running


def keeps_history(collector: Collector) -> None:
    """Wait until it is ready, and its history can be read."""
    collector.becomes_ready()
    until(lambda: probes(collector).code == 0)


def probes(collector: Collector, *options: str, columns: int = 200) -> Screen:
    """What `tixd probes` shows in a terminal of this width."""
    own = {"RUNTIME_DIRECTORY": str(collector.runtime_folder)}
    return screen("probes", *options, columns=columns, environment=own)


def rows(collector: Collector, *options: str) -> dict[str, dict[str, object]]:
    """The same, by sender."""
    lines = probes(collector, "--format", "json", *options).lines
    return {row["sender"]: row for row in map(json.loads, lines)}


def test_every_sender_has_a_row_with_what_it_sent_and_what_was_refused(collector):
    assert collector.send("ce1", "a", "b") == 200
    assert collector.send("ce2", "c", bundlesize="7") == 400
    assert collector.post(PING) == 200
    until(lambda: len(rows(collector)) == 3)
    found = rows(collector)
    assert (found["ce1"]["taken"], found["ce1"]["JobUsageRecord"]) == (1, 2)
    assert (found["ce2"]["state"], found["ce2"]["refused"]) == ("failing", 1)
    assert "number of records in bundle" in str(found["ce2"]["failed_reason"])
    assert (found["probe"]["pings"], found["probe"]["taken"]) == (1, 0)
    first, second, third, *_ = probes(collector).lines
    assert first.split()[:2] == ["sender", "address"]
    assert second.split()[0] == "ce2"
    assert third == "    NOTHING TAKEN yet"


def test_a_probe_that_stopped_is_silent_and_stays_so_in_a_collector_that_was_started_again(
    tmp_path, collector
):
    assert collector.send("ce1", "a") == 200
    until(lambda: rows(collector))
    until(lambda: rows(collector, "--silent", "1s")["ce1"]["state"] == "silent")
    assert rows(collector)["ce1"]["state"] == ""
    assert any("SILENT since " in line for line in probes(collector, "--silent", "1s").lines)
    assert collector.ends()[0] == 0
    role = ("--role", "collector", "-c", str(collector.file))
    assert "1 sender: " in screen(*role, "probes").text
    with Collector(tmp_path, with_history(tmp_path)) as again:
        keeps_history(again)
        assert again.send("ce1", "b") == 200
        until(lambda: rows(again)["ce1"]["taken"] == 2)


def test_two_collectors_that_share_a_port_have_one_row_for_a_sender(tmp_path, collector):
    (tmp_path / "two").mkdir()
    with Collector(tmp_path / "two", with_history(tmp_path / "two")) as other:
        keeps_history(other)
        assert collector.send("ce1", "a") == 200
        assert other.send("ce1", "b", "c") == 200
        until(lambda: rows(collector) and rows(other))
        beside = collector.runtime_folder / "collector-2.sock"
        beside.symlink_to(other.runtime_folder / "collector.sock")
        assert rows(collector)["ce1"]["JobUsageRecord"] == 3


def test_names_that_a_sender_makes_up_harm_neither_terminal_nor_spreadsheet_nor_log(collector):
    for name in HOSTILE:
        assert collector.send(name, "a", bundlesize="7") == 400
    until(lambda: len(rows(collector)) == len(HOSTILE))
    assert set(rows(collector)) == set(HOSTILE.values())
    shown = [probes(collector, "--format", "json"), probes(collector, "--format", "csv")]
    shown += [probes(collector, columns=columns) for columns in (60, 200)]
    assert OBEYED.findall("".join(line for seen in shown for line in seen.lines)) == []
    assert formulas(shown[1].text) == []
    assert OBEYED.findall(collector.log_file.read_text()) == []
    assert len(collector.log("bundle_refused")) == len(HOSTILE)


def test_no_word_is_cut_or_broken_at_any_width(collector):
    assert collector.send("condor:ce1.grid.example.org", "a", "b") == 200
    assert collector.send("condor:ce1.grid.example.org", "c", bundlesize="7") == 400
    assert collector.send("slurm:a-longer-name-than-most.grid.example.org", "a") == 200
    until(lambda: len(rows(collector)) == 2)
    for columns in WIDTHS:
        shown = probes(collector, columns=columns)
        assert (shown.code, shown.faults) == (0, [])
        assert "127.0.0.1" in shown.text
        assert max(map(len, shown.lines)) <= columns


def test_a_collector_without_a_history_says_how_to_have_one(tmp_path):
    without = {
        name: value for name, value in with_history(tmp_path).items() if name != "historyFile"
    }
    with Collector(tmp_path, without) as collector:
        collector.becomes_ready()
        shown = probes(collector)
    assert shown.code == 1
    assert "keeps no history: set historyFile (TIX_HISTORY)" in shown.text


def test_a_history_of_another_role_is_said_to_be_none_of_a_collector(tmp_path):
    file = tmp_path / "history.sqlite"
    store.open_for_writing(str(file), [CYCLES]).close()
    shown = screen("probes", "--file", str(file), columns=200)
    assert (shown.code, "no such table: senders" in shown.text) == (1, True)


def test_collectors_with_one_file_are_counted_once(tmp_path, collector):
    (tmp_path / "two").mkdir()
    with Collector(tmp_path / "two", with_history(tmp_path)) as other:
        keeps_history(other)
        assert collector.send("ce1", "a") == other.send("ce1", "b") == 200
        beside = collector.runtime_folder / "collector-2.sock"
        beside.symlink_to(other.runtime_folder / "collector.sock")
        until(lambda: rows(collector).get("ce1", {}).get("taken") == 2)
