"""What the values of a window were computed from: points and lines, to be drawn.

Rules: everything here comes from the analysis itself, by its own functions: what is drawn is what
was used. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tixd.analysis import delayed_probes
from tixd.analysis.clock import offset
from tixd.analysis.hurst import Fit, rescaled_range_fits, wavelet_fits
from tixd.analysis.mode import MIN_VALUES, Histogram, histogram, mode_and_threshold
from tixd.analysis.observations import Floats, Integers
from tixd.analysis.quality import (
    Booleans,
    MINUTE_seconds,
    congested_by_mode,
    minute_usages_by_mode,
    minutes,
    persistent,
)
from tixd.analysis.summary import Direction, Estimator, Steps, Summary, mean_hurst


@dataclass(frozen=True, slots=True, eq=False)
class WayTrace:
    """One direction of a window: its m packets that count, and k minutes.

    delays_ns: (m,), in order of time; mode_ns, threshold_ns, bins: None with fewer than 4 delays;
    waiting_ns: time in queues, (m,); tau_ns: a packet that waited longer was delayed;
    minute_usage: (k,), by the estimator of the window; congested: which minutes count as such, (k,)
    """

    delays_ns: Floats
    mode_ns: float | None
    threshold_ns: float | None
    bins: Histogram | None
    waiting_ns: Floats
    tau_ns: float
    minute_usage: Floats
    congested: Booleans
    rescaled_range: Fit
    wavelet: Fit


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A window of n packets, those from index `start` on count.

    second: epoch seconds, (n,); round_trips_ns: (n,); known_at, known_ns: second and clock offset
    of the packets with the shortest round trips, (k,); offset_ns: through these points, (n,);
    minute_begin: epoch second of each minute that counts; set_at: index of the first packet after
    each time that the client's clock was set; ways: up and down.
    """

    summary: Summary
    estimator: Estimator
    second: Integers
    start: int
    round_trips_ns: Integers
    known_at: Integers
    known_ns: Floats
    offset_ns: Floats
    minute_begin: Integers
    set_at: Integers
    ways: tuple[WayTrace, WayTrace]

    @property
    def recent(self) -> Integers:
        """Return the epoch seconds of the packets that count."""
        return self.second[self.start :]


def trace_of(summary: Summary, steps: Steps, estimator: Estimator) -> Trace:
    """Trace a window that was analysed by `estimator`, delayed probes asked for too."""
    clocks, start = steps.clocks, steps.start
    first, _ = minutes(clocks.second[start:])
    waiting = steps.waiting
    if waiting is None:
        raise ValueError("the window was analysed without delayed probes")
    ahead = np.zeros(1) if waiting.ahead_ns is None else waiting.ahead_ns
    return Trace(
        summary=summary,
        estimator=estimator,
        second=clocks.second,
        start=start,
        round_trips_ns=clocks.round_trips,
        known_at=clocks.known_at,
        known_ns=clocks.known,
        offset_ns=offset(clocks.known_at, clocks.known, clocks.second),
        minute_begin=clocks.second[start:][first] // MINUTE_seconds * MINUTE_seconds,
        set_at=1 + np.flatnonzero(abs(np.diff(ahead)) > 0.5),
        ways=_ways(summary, steps, waiting, estimator),
    )


def _ways(
    summary: Summary, steps: Steps, waiting: delayed_probes.Waiting, estimator: Estimator
) -> tuple[WayTrace, WayTrace]:
    usages, congested = _minutes(summary, steps, waiting, estimator)
    rs, wavelets = rescaled_range_fits(steps.series), wavelet_fits(steps.series)
    ordered = np.sort(steps.delays)
    counts = np.full(2, ordered.shape[1])
    enough = ordered.shape[1] >= MIN_VALUES
    found = mode_and_threshold(ordered, counts) if enough else ()
    modes, thresholds = [each.tolist() for each in found] or [[None] * 2] * 2
    up, down = (
        WayTrace(
            delays_ns=steps.delays[way],
            mode_ns=modes[way],
            threshold_ns=thresholds[way],
            bins=histogram(ordered[way]) if enough else None,
            waiting_ns=waiting.q_ns[way, steps.start :],
            tau_ns=float(waiting.tau_ns[way]),
            minute_usage=usages[way],
            congested=congested[way],
            rescaled_range=rs[way],
            wavelet=wavelets[way],
        )
        for way in (0, 1)
    )
    return up, down


def _minutes(
    summary: Summary, steps: Steps, waiting: delayed_probes.Waiting, estimator: Estimator
) -> tuple[Floats, Booleans]:
    """Return the usage of each minute, and which are congested, (2, k) each."""
    first, counts = minutes(steps.clocks.second[steps.start :])
    if not len(counts):
        return np.empty((2, 0)), np.empty((2, 0), bool)
    if estimator == "mode":
        usages = minute_usages_by_mode(steps.delays, first, counts)
        too_much = congested_by_mode(steps.delays, first, counts)
    else:
        delayed = waiting.delayed(steps.start)
        usages = delayed_probes.minute_usages(delayed, first, counts)
        too_much = delayed_probes.congested(delayed, first, counts)
    rows = persistent([_hurst(way) for way in (summary.upstream, summary.downstream)])
    return usages, too_much & np.array(rows)[:, None]


def _hurst(way: Direction) -> float | None:
    return mean_hurst(way.hurst_rs, way.hurst_wavelet)
