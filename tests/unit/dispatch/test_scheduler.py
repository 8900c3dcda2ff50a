"""The schedule at work: what becomes of a scan that fails."""

from __future__ import annotations

import asyncio
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
from tixd.dispatch.scheduler import Scheduler

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
