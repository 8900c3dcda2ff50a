"""The scheduler: when a cycle is due over restarts and steps of the clock; a scan that fails."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.log_events import Heard, heard
from tests.support.waiting import until
from tixd import errors
from tixd.config.settings import Settings
from tixd.dispatch import scheduler as under_test
from tixd.dispatch.scheduler import (
    LastScan,
    Scheduler,
    Tick,
    cycle_number,
    is_due,
    load_last_scan,
    save_last_scan,
)

TEN_MINUTES = 600.0


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path)


def scanned(started: float, period: float = TEN_MINUTES) -> LastScan:
    return LastScan(cycle_number(started, period), period, started)


def test_the_first_start_runs_a_cycle_at_once() -> None:
    assert is_due(None, 1234.5, TEN_MINUTES)


def test_a_restart_within_the_period_does_not_repeat_the_cycle() -> None:
    last = scanned(6000.0)
    assert not is_due(last, 6001.0, TEN_MINUTES)
    assert not is_due(last, 6599.9, TEN_MINUTES)


def test_a_restart_after_a_missed_cycle_runs_one_at_once() -> None:
    assert is_due(scanned(6599.0), 6600.0, TEN_MINUTES)
    assert is_due(scanned(6000.0), 99_000.0, TEN_MINUTES)


def test_a_clock_set_back_makes_one_cycle_due_and_not_a_pause_of_an_hour() -> None:
    assert is_due(scanned(9600.0), 6000.0, TEN_MINUTES)
    assert not is_due(scanned(6000.0), 6100.0, TEN_MINUTES)


def test_a_changed_period_is_counted_from_the_last_scan() -> None:
    last = scanned(6000.0)
    assert not is_due(last, 6050.0, 60.0)
    assert is_due(last, 6061.0, 60.0)


def test_what_was_saved_is_loaded_again(folder: str) -> None:
    save_last_scan(folder, scanned(6000.0))
    assert load_last_scan(folder) == scanned(6000.0)
    assert os.listdir(folder) == [under_test.STATE_FILE]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format":2,"number":1,"period_seconds":600,"started":1}',
        b'{"format":1,"number":1}',
        b'{"format":1,"number":1,"period_seconds":0,"started":1}',
    ],
)
def test_a_damaged_state_counts_as_absent_with_a_warning(
    folder: str, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (Path(folder) / under_test.STATE_FILE).write_bytes(content)
    assert load_last_scan(folder) is None
    assert [r.getMessage() for r in caplog.records] == ["schedule_unreadable"]


class Clocks:
    """A wall clock and a monotonic one that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.steady, self.ticks = 1_700_000_000.0, 5_000.0, 0
        clocks = self

        class Naive(under_test.datetime):
            @classmethod
            def now(cls, _tz: object = None) -> under_test.datetime:  # type: ignore[override]
                return under_test.datetime.fromtimestamp(clocks.wall)

        monkeypatch.setattr("schedule.datetime.datetime", Naive)
        self.tick = Tick(self._count, lambda: self.wall, lambda: self.steady)

    def _count(self) -> None:
        self.ticks += 1

    def ticks_in(self, seconds: int) -> int:
        before = self.ticks
        for _ in range(seconds):
            self.wall, self.steady = self.wall + 1, self.steady + 1
            self.tick.run_pending()
        return self.ticks - before


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def test_the_tick_comes_every_second(clocks: Clocks) -> None:
    assert clocks.ticks_in(60) in (59, 60)


@pytest.mark.parametrize("step_seconds", [3600, -3600, 90, -90, 86_400])
def test_a_step_of_the_wall_clock_neither_stops_nor_multiplies_the_tick(
    clocks: Clocks, step_seconds: int
) -> None:
    clocks.ticks_in(10)
    clocks.wall += step_seconds
    assert 59 <= clocks.ticks_in(60) <= 62


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Argentina/Buenos_Aires"])
def test_a_change_of_the_utc_offset_does_not_stop_the_tick(
    clocks: Clocks, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    clocks.ticks_in(5)
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert 29 <= clocks.ticks_in(30) <= 32
    finally:
        monkeypatch.undo()
        time.tzset()


Find = Callable[[Any], Awaitable[Counter[str]]]

#: So short that a scan is tried again at once.
SHORT = Settings(processing_period_minutes=0.0005)


def failing(error: Exception, successes: int = 0) -> Find:
    """A scan that succeeds so often and then fails for ever."""
    left = iter(range(successes))

    async def find(_: Any) -> Counter[str]:
        if next(left, None) is None:
            raise error
        return Counter()

    return find


def ticked(folder: Path, settings: Settings, find: Find, scans: int) -> tuple[Counter[str], Heard]:
    """What was counted and logged once so many scans have ended, and a few ticks more."""
    counts: Counter[str] = Counter()

    async def tick() -> None:
        here = replace(settings, schedule_dir=str(folder))
        dispatcher = Scheduler(here, find, counts.update)
        await until(lambda: dispatcher.tick() or counts.total() >= scans)
        if settings is not SHORT:
            for _ in range(10):
                dispatcher.tick()
                await asyncio.sleep(0)
        await dispatcher.stop()

    with heard() as log:
        asyncio.run(tick())
    return counts, log


@pytest.mark.parametrize("error", [ValueError("a bug"), errors.CannotStart("away")])
def test_a_scan_that_fails_again_and_again_is_counted_and_logged_once_an_hour(tmp_path, error):
    counts, log = ticked(tmp_path, SHORT, failing(error), 3)
    assert counts["cycles_failed"] >= 3
    assert log.events == [("error", "scan_failed")]
    values = log.records[0].__dict__["values"]
    assert values.get("error", values.get("reason")) in ("ValueError: a bug", "away")


def test_a_scan_that_failed_unexpectedly_is_not_tried_again_at_once(tmp_path):
    counts, _ = ticked(tmp_path, Settings(), failing(KeyError("x")), 1)
    assert counts == {"cycles_failed": 1}


def test_a_schedule_that_cannot_be_stored_unexpectedly_is_a_failed_scan(tmp_path, monkeypatch):
    monkeypatch.setattr("tixd.dispatch.scheduler.save_last_scan", lambda *_: 1 / 0)
    counts, log = ticked(tmp_path, Settings(), failing(KeyError("x"), successes=1), 1)
    assert (counts, log.events) == ({"cycles_failed": 1}, [("error", "scan_failed")])
