"""When a cycle is due, over restarts and steps of the clock (operations.md §3, faults.md 11)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tixd.dispatch import scheduler as under_test
from tixd.dispatch.scheduler import (
    LastScan,
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
