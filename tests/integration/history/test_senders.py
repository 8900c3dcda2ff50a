"""Senders in the history's file: added up, bounded, expired, and in the order that is shown."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.histories import WIDE
from tixd.history import senders, store
from tixd.history.senders import SENDERS, SenderLog
from tixd.history.store import HOUR_SECONDS
from tixd.history.writer import HistoryWriter, running

#: A full hour.
HOUR = 500_000 * HOUR_SECONDS


@pytest.fixture
def file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """An empty history."""
    connection = store.open_for_writing(str(tmp_path / "h.sqlite"), [SENDERS])
    with contextlib.closing(connection):
        yield connection


def write(file: sqlite3.Connection, *requests: tuple[str, int, float]) -> None:
    """Write requests, each a name, a code and when; each bundle has two records."""
    log = SenderLog()
    for name, code, now in requests:
        reason = "" if code == 200 else f"why {code}"
        records = {"JobUsageRecord": 2}
        log.add(name, "192.0.2.1", code, reason, records, is_ping=False, now=now)
    batch = log.take()
    assert batch is not None
    with store.transaction(file):
        SENDERS.write(file, [batch])


def shown(file: sqlite3.Connection, since: float = 0, silent_before: float = 0) -> list[Any]:
    """What is read, a dict for each sender."""
    return senders.read(file, since, silent_before)


def test_a_sender_is_added_up_over_commits_and_hours(file):
    write(file, ("a", 200, HOUR + 1.5))
    write(file, ("a", 503, HOUR + 2), ("a", 200, HOUR + HOUR_SECONDS))
    [row] = shown(file)
    times = ("first_seen", "last_seen", "taken_at", "failed_at")
    at = [row.pop(name) - HOUR for name in times]
    assert at == [1.5, HOUR_SECONDS, HOUR_SECONDS, 2]
    texts = {"sender": "a", "address": "192.0.2.1", "state": "", "failed_reason": "why 503"}
    counts = {"taken": 2, "not_taken": 1, "JobUsageRecord": 4, "code_200": 2, "code_503": 1}
    assert row == {**dict.fromkeys(row, 0), **texts, **counts, "failed_code": 503}
    [row] = shown(file, since=HOUR + HOUR_SECONDS + 5)
    assert (row["taken"], row["not_taken"], row["JobUsageRecord"]) == (1, 0, 2)


def test_senders_that_need_attention_come_first(file):
    write(file, ("fine 2", 200, HOUR + 50), ("fine 1", 200, HOUR + 51), ("late", 200, HOUR + 9))
    write(file, ("early", 200, HOUR + 5), ("a stranger", 400, HOUR + 50), ("bad", 200, HOUR + 9))
    write(file, ("bad", 400, HOUR + 50))
    names = ["bad", "a stranger", "late", "early", "fine 1", "fine 2"]
    assert [row["sender"] for row in shown(file, silent_before=HOUR + 10)] == names
    first = senders.read(file, 0, HOUR + 10, most=3)
    assert [row["sender"] for row in first] == names[:3]
    assert [row["state"] for row in first] == ["failing", "failing", "silent"]
    assert senders.states(file, HOUR + 10) == {"failing": 2, "silent": 2, "": 2}


def test_a_bundle_that_is_taken_ends_a_failure(file):
    write(file, ("a", 503, HOUR), ("b", 200, HOUR))
    write(file, ("a", 200, HOUR + 0.01), ("b", 503, HOUR + 0.01))
    assert {row["sender"]: row["state"] for row in shown(file)} == {"a": "", "b": "failing"}


def test_of_too_many_senders_those_go_first_of_which_nothing_was_taken(file, monkeypatch):
    monkeypatch.setattr(senders, "MAX_SENDERS", 4)
    write(file, ("silent probe", 200, HOUR), ("old", 200, HOUR - 9))
    write(file, *((f"made up {n}", 400, HOUR + n) for n in range(1, 6)))
    names = {"silent probe", "old", "made up 4", "made up 5"}
    assert {row["sender"] for row in shown(file)} == names
    assert senders.dropped(file) == 3
    assert store.value(file, "SELECT count(*) FROM sender_hours") == 4
    write(file, ("new", 200, HOUR + 9), ("newer", 200, HOUR + 9), ("newest", 200, HOUR + 9))
    assert {row["sender"] for row in shown(file)} == {"silent probe", "new", "newer", "newest"}


def test_what_is_too_old_goes_and_the_oldest_hour_makes_room(file):
    write(file, ("gone", 200, HOUR), ("a", 200, HOUR), ("a", 200, HOUR + HOUR_SECONDS))
    write(file, ("a", 200, HOUR + 2 * HOUR_SECONDS))
    assert SENDERS.make_room(file)
    assert {row["sender"]: row["taken"] for row in shown(file)} == {"a": 2, "gone": 0}
    SENDERS.expire(file, HOUR + 2 * HOUR_SECONDS)
    assert {row["sender"]: row["taken"] for row in shown(file)} == {"a": 1}
    assert not SENDERS.make_room(file), "the last hour stays"


def test_a_writer_puts_a_batch_into_the_file(tmp_path):
    log = SenderLog()
    log.add("a", "192.0.2.1", 200, "", {"StorageElement": 3}, is_ping=False, now=HOUR)

    async def main() -> None:
        history = HistoryWriter(str(tmp_path / "h.sqlite"), [SENDERS], WIDE, clock=lambda: HOUR)
        async with running(history):
            history.put(SENDERS.name, log.take())

    asyncio.run(main())
    with contextlib.closing(store.open_for_reading(str(tmp_path / "h.sqlite"))) as file:
        assert [row["StorageElement"] for row in shown(file)] == [3]


def test_status_names_the_senders_that_stopped_or_fail_and_no_stranger(file):
    now = HOUR + 10 * HOUR_SECONDS
    write(file, *((f"stopped {n}", 200, HOUR + n) for n in range(5)))
    write(file, ("fine", 200, now), ("bad", 200, now - 9), ("a stranger", 400, now))
    write(file, ("bad", 503, now))
    assert SENDERS.summary(file, int(now)) == {
        "senders_silent": 5,
        "senders_silent_first": ["stopped 4", "stopped 3", "stopped 2"],
        "senders_failing": 1,
        "senders_failing_first": ["bad"],
    }


@pytest.mark.parametrize("which", senders._ATTENTION.values())
def test_what_status_asks_for_reads_an_index_and_not_every_sender(file, which):
    plan = file.execute(f"EXPLAIN QUERY PLAN SELECT count(*) {which}", [0]).fetchall()
    assert all("USING" in row[-1] and "INDEX" in row[-1] for row in plan)


def test_senders_are_searched_by_name_and_address_and_read_a_part_at_a_time(file):
    write(file, *((f"CE{n}.example", 200, HOUR + n) for n in range(5)), ("100%_", 200, HOUR))
    found = [row["sender"] for row in senders.read(file, 0, 0, 2, skip=1, search="ce")]
    assert found == ["CE1.example", "CE2.example"]
    assert senders.states(file, HOUR + 3, "Example") == {"silent": 3, "": 2}
    assert [row["sender"] for row in senders.read(file, 0, 0, search="%_")] == ["100%_"]
    assert len(senders.read(file, 0, 0, search="192.0.2")) == 6
    assert senders.read(file, 0, 0, search="nobody") == []


def test_one_sender_is_found_by_its_name_or_without_one_by_its_address(file):
    write(file, ("", 200, HOUR), ("192.0.2.1", 400, HOUR), ("a", 200, HOUR - HOUR_SECONDS))
    unnamed = senders.read_one(file, "", "192.0.2.1", 0, 0)
    named = senders.read_one(file, "192.0.2.1", "elsewhere", 0, 0)
    assert unnamed
    assert named
    assert (unnamed["taken"], unnamed["refused"]) == (1, 0)
    assert (named["taken"], named["refused"], named["failed_reason"]) == (0, 1, "why 400")
    assert senders.read_one(file, "", "192.0.2.2", 0, 0) is None
    assert senders.read_one(file, "A", "", 0, 0) is None


def test_counts_are_read_by_hour_of_all_senders_or_of_one(file):
    write(file, ("a", 200, HOUR), ("b", 200, HOUR + 1), ("b", 503, HOUR + 1))
    write(file, ("b", 400, HOUR + HOUR_SECONDS), ("", 200, HOUR))
    found = senders.hours(file, HOUR)
    assert {begin: hour["taken"] for begin, hour in found.items()} == {
        HOUR: 3,
        HOUR + HOUR_SECONDS: 0,
    }
    assert found[HOUR]["JobUsageRecord"] == 6
    assert senders.hours(file, HOUR + HOUR_SECONDS) == {
        HOUR + HOUR_SECONDS: {**dict.fromkeys(senders.HOURLY, 0), "refused": 1}
    }
    assert senders.hours(file, HOUR, ("a", "x"))[HOUR]["taken"] == 1
    assert senders.hours(file, HOUR, ("", "192.0.2.1"))[HOUR]["JobUsageRecord"] == 2
    assert senders.hours(file, HOUR, ("nobody", "")) == {}


def test_answers_of_all_senders_are_added_up(file):
    assert set(senders.answers(file).values()) == {0}
    write(file, ("a", 200, HOUR), ("b", 200, HOUR), ("b", 405, HOUR), ("c", 0, HOUR))
    found = {name: count for name, count in senders.answers(file).items() if count}
    assert found == {"code_200": 2, "code_other": 1, "code_0": 1}
