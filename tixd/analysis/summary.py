"""The analysis of one window: observations in, a Summary out.

Rows may come in any order, of both kinds, with duplicates. Usage, quality and Hurst are of the last
ten minutes, the clock offset of the whole window. Usage, and which minutes are congested, come from
one of two estimators: mode.py and delayed_probes.py. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tixd.analysis import delayed_probes
from tixd.analysis.clock import Clocks, clocks_of
from tixd.analysis.clock_steps import ClockVerdict
from tixd.analysis.hurst import rescaled_range, wavelet
from tixd.analysis.mode import usage_by_mode
from tixd.analysis.observations import MEANINGFUL_SECONDS, Floats, Observations, short_packets
from tixd.analysis.quality import quality

#: How usage is computed: as the TiX time processor does, or by the packets that had to wait.
Estimator = Literal["mode", "delayed-probes"]

_NOT_ASKED: list[float | None] = [None, None]

_NO_TRUST: tuple[list[float | None], list[bool | None]] = ([None, None], [None, None])


@dataclass(frozen=True, slots=True)
class Direction:
    """The results of one direction of the line; None where undefined.

    usage: raw ratio, 0 and up (may exceed 1); quality: 0..1; hurst_rs, hurst_wavelet: as estimated;
    usage_alt: usage by the other estimator, also None if not requested. Of the reading by delayed
    probes, where it was taken: width: how far off it may be, 95 of 100 readings are closer;
    unsteady: whether the two halves of the ten minutes read differently.
    """

    usage: float | None
    quality: float | None
    hurst_rs: float | None
    hurst_wavelet: float | None
    usage_alt: float | None = None
    width: float | None = None
    unsteady: bool | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of one window; `timestamp` is its last epoch second.

    duplicates: observations that were left out as exact duplicates; no part of the result. clock:
    whether a clock was set within the window; spread_ns: noise of the downlink, None where delayed
    probes were not asked for.
    """

    timestamp: int
    upstream: Direction
    downstream: Direction
    duplicates: int = field(default=0, compare=False)
    clock: ClockVerdict = "fine"
    spread_ns: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What a Summary was computed from: n short packets, of which m count, from index `start` on.

    delays: up and down, ns, (2, m); series: the last of them, as many as a power of 2, for the
    Hurst estimates; waiting: None where delayed probes were not asked for.
    """

    clocks: Clocks
    start: int
    delays: Floats
    series: Floats
    waiting: delayed_probes.Waiting | None


def summarise(
    observations: Observations,
    estimator: Estimator = "mode",
    *,
    both: bool = False,
    spreads: Sequence[float] = (),
) -> Summary | None:
    """Analyse a window; None where it has no short packet. As `analyse`, without the steps."""
    found = analyse(observations, estimator, both=both, spreads=spreads)
    return found and found[0]


def analyse(
    observations: Observations,
    estimator: Estimator = "mode",
    *,
    both: bool = False,
    spreads: Sequence[float] = (),
) -> tuple[Summary, Steps] | None:
    """Analyse a window, and return the steps to the result too; None without a short packet.

    observations: shape (n,) of OBSERVATION, times within 0..7 days, as the decoder lets through;
    estimator: of usage and quality; both: whether usage_alt has usage by the other one; spreads:
    spread_ns of the installation's windows before this one, oldest first.
    """
    columns = short_packets(observations)
    second = columns.second
    if not len(second):
        return None
    start = int(np.searchsorted(second, second[-1] - MEANINGFUL_SECONDS, side="right"))
    clocks = clocks_of(columns)
    delays = clocks.delays(start)
    series = delays[:, -_power_of_two(delays.shape[1]) :]
    rs, wavelets = rescaled_range(series), wavelet(series)
    hurst = [mean_hurst(*each) for each in zip(rs, wavelets, strict=True)]
    recent, others, trust, waiting = second[start:], _NOT_ASKED, _NO_TRUST, None
    if estimator == "mode" and not both:
        clock, spread_ns = delayed_probes.clock_verdict(columns), None
        usages, qualities = usage_by_mode(delays), quality(delays, recent, hurst)
    else:
        waiting = delayed_probes.waiting_of(columns, spreads)
        clock, spread_ns = waiting.clock, waiting.spread_ns
        delayed = waiting.delayed(start)
        probed = delayed_probes.usage_by_delayed_probes(delayed)
        trust = delayed_probes.widths(probed), delayed_probes.unsteady(delayed, recent)
        if estimator == "mode":
            usages, others = usage_by_mode(delays), probed
            qualities = quality(delays, recent, hurst)
        else:
            usages = probed
            qualities = quality(delayed, recent, hurst, delayed_probes.congested)
            others = usage_by_mode(delays) if both else _NOT_ASKED
    upstream, downstream = map(Direction, usages, qualities, rs, wavelets, others, *trust)
    ended = int(second[-1])
    summary = Summary(ended, upstream, downstream, columns.duplicates, clock, spread_ns)
    return summary, Steps(clocks, start, delays, series, waiting)


def _power_of_two(count: int) -> int:
    """Return the largest power of 2 that is not above `count` >= 1."""
    return 1 << (count.bit_length() - 1)


def mean_hurst(rs: float | None, wavelets: float | None) -> float | None:
    """Average the two Hurst estimates; None where one is undefined."""
    return None if rs is None or wavelets is None else (rs + wavelets) / 2
