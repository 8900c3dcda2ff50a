"""Senders before the history has them: counted by hour, bounded, with harmless names."""

from __future__ import annotations

from typing import Any

import pytest

from tixd.history import senders
from tixd.history.senders import Batch, SenderLog

HOUR = senders.HOUR_SECONDS


def add(log: SenderLog, name: str = "a", code: int = 200, now: float = 0.0, **values: Any) -> None:
    """Count a request; it has a record and is no ping where a test says nothing else."""
    usual: dict[str, Any] = {"address": "192.0.2.1", "reason": "", "is_ping": False}
    usual |= {"records": {"JobUsageRecord": 1}}
    log.add(name, code=code, now=now, **{**usual, **values})


def taken(log: SenderLog) -> Batch:
    """What it had seen."""
    batch = log.take()
    assert batch is not None
    return batch


def test_what_was_taken_is_forgotten_and_nothing_is_none():
    log = SenderLog()
    assert log.take() is None
    add(log)
    assert len(taken(log).seen) == 1
    assert log.take() is None


def test_records_count_once_their_bundle_was_taken_and_pings_are_no_bundles():
    log = SenderLog()
    add(log, records={"JobUsageRecord": 3, "ProbeDetails": 1})
    add(log, code=400, reason="bad")
    add(log, code=503, reason="away")
    add(log, code=405, reason="only GET and POST")
    add(log, is_ping=True, records={})
    [seen] = taken(log).seen.values()
    assert seen.counts == {
        "taken": 1,
        "refused": 2,
        "not_taken": 1,
        "pings": 1,
        "JobUsageRecord": 3,
        "ProbeDetails": 1,
        "code_200": 2,
        "code_400": 1,
        "code_503": 1,
        "code_other": 1,
    }


def test_a_sender_is_counted_by_hour_and_one_without_a_name_by_address():
    log = SenderLog()
    for now in (HOUR - 1, HOUR, HOUR + 1):
        add(log, now=now)
    add(log, "", code=413, address="192.0.2.7")
    assert [(key, sum(seen.counts.values())) for key, seen in taken(log).seen.items()] == [
        ((0, "a", ""), 3),
        ((1, "a", ""), 6),
        ((0, "", "192.0.2.7"), 2),
    ]


def test_of_too_many_names_those_go_that_were_seen_longest_ago(monkeypatch):
    monkeypatch.setattr(senders, "MAX_UNWRITTEN", 3)
    log = SenderLog()
    for name in ("probe", "x1", "x2", "probe", "x3", "x4"):
        add(log, name)
    batch = taken(log)
    assert [name for _, name, _ in batch.seen] == ["probe", "x3", "x4"]
    assert batch.dropped == 2


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("evil\x1b[31m\r\n", "evil\\x1b[31m\\r\\n"),
        ("\u202egpj.exe\u200f", "\\u202egpj.exe\\u200f"),
        ("n" * 1000, "n" * 300),
        ("\x00" * 1000, "\\x00" * 75),
        ("\u00c4rger", "\u00c4rger"),
    ],
)
def test_a_name_is_stored_so_that_no_terminal_obeys_it(name, stored):
    log = SenderLog()
    add(log, name, code=400, reason=name)
    [(key, seen)] = taken(log).seen.items()
    assert key[1] == seen.reason == stored
