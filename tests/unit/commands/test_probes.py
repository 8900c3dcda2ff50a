"""`tixd probes`: the table, and senders of several collectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tixd import errors
from tixd.commands import Invocation, probes
from tixd.history import senders, store
from tixd.history.senders import SENDERS

NOW = 1_700_000_000.0


def row(sender: str = "ce1", **changes: Any) -> dict[str, Any]:
    """A sender that sent a record a minute ago."""
    usual = dict.fromkeys(senders.COLUMNS, 0) | {"sender": sender, "address": "192.0.2.1"}
    usual |= {"state": "", "first_seen": NOW - 9000, "last_seen": NOW - 60, "taken_at": NOW - 60}
    usual |= {"failed_at": None, "failed_code": None, "failed_reason": None}
    return {**usual, "taken": 1, "JobUsageRecord": 1, **changes}


def table(*rows: dict[str, Any], width: int = 80) -> list[str]:
    """The lines of the table, with what failed in the last hour."""
    return list(probes.table(rows, width, NOW, NOW - 3600))


def test_a_narrow_table_has_the_address_below_and_a_wide_one_has_it_in_a_column():
    assert table(row()) == [
        "sender      last seen  bundles  records  failed",
        "ce1     1 min 0 s ago        1        1       0",
        "    192.0.2.1, 1 JobUsageRecord",
    ]
    assert table(row(), width=120)[:2] == [
        "sender    address  first seen (UTC)      last seen  bundles  records  failed",
        "ce1     192.0.2.1  2023-11-14 19:43  1 min 0 s ago        1        1       0",
    ]


def test_what_is_wrong_stands_below_the_sender():
    failed = {"failed_at": NOW - 60, "failed_code": 400, "failed_reason": "bad"}
    assert table(row(state="failing", taken_at=None, taken=0, JobUsageRecord=0, **failed))[2:] == [
        "    NOTHING TAKEN yet",
        "    192.0.2.1",
        "    last failure 2023-11-14 22:12 UTC: 400, bad",
    ]
    silent = table(row(state="silent", last_seen=NOW - 9000))
    assert silent[2] == "    SILENT since 2023-11-14 19:43 UTC"


def test_a_failure_that_is_over_is_shown_while_it_is_counted():
    failed = {"failed_code": 503, "failed_reason": "AMQP: away"}
    assert "AMQP: away" in "".join(table(row(failed_at=NOW - 3599, **failed)))
    assert "AMQP: away" not in "".join(table(row(failed_at=NOW - 3601, **failed)))


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_name_that_is_too_long_has_lines_of_its_own(width):
    lines = table(row("n" * 300), row("ce1"), width=width)
    assert max(map(len, lines)) <= width
    assert "".join(lines).count("n" * 60)
    assert sum(line.count("n" * width) for line in lines) == 300 // width


def test_a_sender_of_two_collectors_is_added_up():
    failed = {"failed_at": NOW - 5, "failed_code": 503, "failed_reason": "away"}
    one = row(first_seen=NOW - 99, taken_at=NOW - 60, taken=2)
    other = row(address="192.0.2.9", last_seen=NOW - 5, taken_at=None, taken=0, **failed)
    [found] = probes.merged(
        [
            [one],
            [
                other,
            ],
        ]
    )
    assert found == {
        **row(address="192.0.2.9", last_seen=NOW - 5, taken_at=NOW - 60, taken=2, **failed),
        "JobUsageRecord": 2,
        "state": "failing",
        "first_seen": NOW - 9000,
    }
    assert len(probes.merged([[row(""), row("", address="192.0.2.9")], [row("a")]])) == 3


def test_nothing_is_a_sentence_and_many_are_counted():
    assert list(probes._summary({}, NOW, 0)) == ["No sender has been seen yet."]
    lines = list(probes._summary({"": 600, "silent": 2}, NOW, 7))
    assert lines[0] == "602 senders: 0 with NOTHING TAKEN, 2 SILENT."
    assert lines[1] == "Bundles, records and failures are those since 2023-11-14 22:00 UTC."
    assert "The first 500 are shown" in lines[2]
    assert lines[3].startswith("7 more were dropped")


@pytest.mark.parametrize("folder", ["tixd-collector", "tixd"])
def test_where_no_collector_runs_the_history_of_either_service_is_read(
    monkeypatch, tmp_path, folder
):
    def ask(_: object) -> None:
        raise errors.NotRunning

    files = [tmp_path / Path(file).relative_to("/var/lib") for file in probes.SYSTEM_FILES]
    monkeypatch.setattr(probes, "ask_collectors", ask)
    monkeypatch.setattr(probes, "SYSTEM_FILES", [str(file) for file in files])
    asked = Invocation({}, None)
    assert isinstance(CliRunner().invoke(probes.command, obj=asked).exception, errors.NotRunning)
    (tmp_path / folder).mkdir()
    store.open_for_writing(str(tmp_path / folder / "collector.sqlite"), [SENDERS]).close()
    done = CliRunner().invoke(probes.command, obj=asked)
    assert (done.exit_code, done.output) == (0, "No sender has been seen yet.\n")
