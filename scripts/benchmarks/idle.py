"""What an installation costs that has nothing to do: its part of the scan, one stat included."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.yardstick import Row
from tixd import logs
from tixd.jobs import ListInstallations
from tixd.reports.scan import list_installations, list_users

#: Installations of a user: the stat and the scan are per installation, not per user.
PER_USER = 10

#: Cycles in an hour, in one of which each has its turn all the same.
SLOTS = 6

#: Rounds, of which the median counts.
ROUNDS = 5

#: What the specification allows for an installation and cycle.
MOST_US = 20.0


def measure_full(base: Path) -> list[Row]:
    """Many of them."""
    return measure(base, count=100_000)


def measure(base: Path, count: int = 10_000) -> list[Row]:
    """Listing of both levels as the jobs of a scan do it, with the stat of each folder."""
    for user in range(1, count // PER_USER + 1):
        for number in range(1, PER_USER + 1):
            folder = f"{base}/{user}/{number}"
            os.makedirs(folder)
            os.utime(folder, (0, 0))
    limiter = logs.RateLimiter()

    def scan() -> None:
        users = tuple(list_users(str(base), limiter))
        which = ListInstallations(str(base), users, changed_since=1.0, slot=0, slots=SLOTS)
        list_installations(which, limiter)

    cost_us = _cost_us(scan, count)
    return [
        Row(
            f"idle installation: its part of the scan, {count:,} of them",
            f"{cost_us:.1f} us",
            target=f"under {MOST_US:.0f} us",
            reached=cost_us < MOST_US,
        ),
    ]


def _cost_us(work: Callable[[], None], count: int) -> float:
    figures = []
    for _ in range(ROUNDS):
        begun = time.process_time_ns()
        work()
        figures.append((time.process_time_ns() - begun) / count / 1e3)
    return statistics.median(figures)
