"""What the second estimator of usage costs, beside the rest of the analysis of the same windows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.data import simulated
from benchmarks.yardstick import Row, interleaved, share_of_y
from tixd.analysis.observations import Observations, concatenate
from tixd.analysis.summary import summarise
from tixd.reports.decode import decode

#: How often all windows are gone through.
ROUNDS = 9

#: How many simulated windows.
WINDOWS = 30


def measure(_: Path) -> list[Row]:
    """The analysis with and without the second estimator, in turn; what it adds must be no more."""
    windows = [
        concatenate(decode(name, content).observations for name, content in each.files)
        for each in simulated(WINDOWS)
    ]

    def added() -> float:
        one = _cpu_ns(windows, summarise)
        shares.append((_cpu_ns(windows, lambda rows: summarise(rows, both=True)) - one) / one)
        return one * shares[-1] / WINDOWS

    shares: list[float] = []
    added()
    figures, ratios = interleaved(added, ROUNDS)
    share = statistics.median(shares)
    return [
        Row(
            f"delayed probes, CPU: {share:.2f} of the rest of the analysis ({WINDOWS} windows)",
            f"{statistics.median(figures) / 1e6:.2f} ms",
            share_of_y(statistics.median(ratios)),
            "1.00 or less",
            share <= 1,
        )
    ]


def _cpu_ns(windows: list[Observations], analyse: Callable[[Observations], object]) -> int:
    begun = time.process_time_ns()
    for rows in windows:
        analyse(rows)
    return time.process_time_ns() - begun
