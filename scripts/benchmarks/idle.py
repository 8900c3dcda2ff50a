"""What an installation costs that has nothing to do: its part of the scan, and one stat."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.yardstick import Row
from tixd import logs
from tixd.dispatch.scan import list_installations, list_users

#: Installations of a user: the stat and the scan are per installation, not per user.
PER_USER = 10

#: Rounds, of which the median counts.
ROUNDS = 5

#: What the specification allows for an installation and cycle.
MOST_US = 20.0


def measure(base: Path, count: int) -> list[Row]:
    """Listing of both levels as the scan job does it, then a stat of each folder."""
    paths = []
    for user in range(1, count // PER_USER + 1):
        for number in range(1, PER_USER + 1):
            paths.append(f"{base}/{user}/{number}")
            os.makedirs(paths[-1])
    hourly = logs.Hourly()

    def scan() -> None:
        list_installations(str(base), list_users(str(base), hourly), hourly)

    def stat() -> None:
        for path in paths:
            os.stat(path)

    scan_us, stat_us = (_cost_us(each, count) for each in (scan, stat))
    return [
        Row(f"idle installation: scan of both levels, {count:,} of them", f"{scan_us:.1f} us"),
        Row("  stat of its folder", f"{stat_us:.1f} us"),
        Row(
            "  both",
            f"{scan_us + stat_us:.1f} us",
            target=f"under {MOST_US:.0f} us",
            reached=scan_us + stat_us < MOST_US,
        ),
    ]


def _cost_us(work: Callable[[], None], count: int) -> float:
    figures = []
    for _ in range(ROUNDS):
        begun = time.process_time_ns()
        work()
        figures.append((time.process_time_ns() - begun) / count / 1e3)
    return statistics.median(figures)
