"""What the second estimator of usage costs, beside the rest of the analysis of the same windows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from unittest import mock

from benchmarks.data import simulated
from benchmarks.yardstick import Row, interleaved, share_of_y
from tixd.analysis import delayed_probes, noise
from tixd.analysis.clock_steps import Repaired
from tixd.analysis.observations import Columns, Floats, Observations, concatenate, short_packets
from tixd.analysis.summary import summarise
from tixd.reports.decode import decode

T = TypeVar("T")

#: How often all windows are gone through.
ROUNDS = 9

#: How many simulated windows.
WINDOWS = 30


def measure(_: Path) -> list[Row]:
    """What the second estimator adds to the rest of the analysis, and what its two rules for bad
    lines (clock_steps, noise) add to the rest of it; neither may be more than that rest.
    """
    windows = [
        concatenate(decode(name, content).observations for name, content in each.files)
        for each in simulated(WINDOWS)
    ]
    columns = [short_packets(rows) for rows in windows]
    what = f"({WINDOWS} windows)"
    return [
        _added(
            f"delayed probes, CPU: {{:.2f}} of the rest of the analysis {what}",
            lambda: _by_mode_ns(windows),
            lambda: _cpu_ns(windows, lambda rows: summarise(rows, both=True)),
        ),
        _added(
            f"clock steps and noise, CPU: {{:.2f}} of the rest of delayed probes {what}",
            lambda: _bare_ns(columns),
            lambda: _cpu_ns(columns, _probe),
        ),
    ]


def _added(what: str, less: Callable[[], int], more: Callable[[], int]) -> Row:
    """What `more` costs beside `less`; `what` has a place for it."""

    def added() -> float:
        one = less()
        shares.append((more() - one) / one)
        return one * shares[-1] / WINDOWS

    shares: list[float] = []
    added()
    figures, ratios = interleaved(added, ROUNDS)
    share = statistics.median(shares)
    return Row(
        what.format(share),
        f"{statistics.median(figures) / 1e6:.2f} ms",
        share_of_y(statistics.median(ratios)),
        "1.00 or less",
        share <= 1,
    )


def _by_mode_ns(windows: list[Observations]) -> int:
    """The analysis by the mode, without its look at the clocks, which delayed probes need."""
    with mock.patch.object(delayed_probes, "clock_verdict", return_value="fine"):
        return _cpu_ns(windows, summarise)


def _probe(columns: Columns) -> None:
    """Delayed probes, from the packets to usage, as on a line of which a day is known."""
    waiting = delayed_probes.waiting_of(columns, (1e6,) * 143)
    delayed_probes.usage_by_delayed_probes(waiting.delayed(0))


def _bare_ns(columns: list[Columns]) -> int:
    """The same without looking for steps of the clock, and without measuring the noise."""

    def trusted(seconds: Floats, trips: Floats, skew: Callable[..., float]) -> Repaired:
        return Repaired("fine", trips, skew(seconds, trips))

    with (
        mock.patch.object(delayed_probes, "repaired", trusted),
        mock.patch.object(noise, "spread", return_value=1e6),
        mock.patch.object(noise, "downlink_tau", return_value=3e6),
    ):
        return _cpu_ns(columns, _probe)


def _cpu_ns(windows: list[T], analyse: Callable[[T], object]) -> int:
    begun = time.process_time_ns()
    for rows in windows:
        analyse(rows)
    return time.process_time_ns() - begun
