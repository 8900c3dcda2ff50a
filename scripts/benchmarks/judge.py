"""Judge estimators: what they read of simulated lines and series whose truth is known.

Both directions carry the same usage, each with traffic of its own. The truth of a window is the
share of its last ten minutes, of which its result speaks, in which the link was sending. Each
window is read as if the line had been idle for the six windows before, from which delayed probes
know its noise. Equal seeds give equal readings.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from tixd.analysis.clock_steps import ClockVerdict
from tixd.analysis.hurst import rescaled_range, wavelet
from tixd.analysis.observations import MEANINGFUL_SECONDS, Floats, concatenate
from tixd.analysis.summary import Summary, summarise
from tixd.simulation.probing import LinkDirection, Measurement, Scenario, measured


def fractional_noise(random: np.random.Generator, hurst: float, count: int) -> Floats:
    """Make `count` >= 2 values of fractional Gaussian noise, of mean 0 and variance 1.

    0 < hurst < 1, 0.5 being white noise. The circulant matrix that continues the covariance of n
    values is diagonal after a Fourier transform, and its eigenvalues are not negative, so that
    white noise weighted by their roots has exactly that covariance (Davies, Harte 1987; Dieker
    2004).
    """
    lag = np.arange(count + 1.0)
    ends = (lag + 1) ** (2 * hurst) - 2 * lag ** (2 * hurst) + abs(lag - 1) ** (2 * hurst)
    circle = np.concatenate([ends, ends[-2:0:-1]]) / 2
    power = np.fft.fft(circle).real.clip(min=0)
    white = random.standard_normal((2, len(circle)))
    series = np.fft.fft(np.sqrt(power / len(circle)) * (white[0] + 1j * white[1]))
    return series.real[:count].copy()


#: Reports of a window, each of a minute, and one packet more in each.
_WINDOW_SECONDS = 19 * 61

#: How many idle windows go before the one that is read.
_WINDOWS_BEFORE = 6

#: A series as long as those that a window's Hurst estimates come from.
SERIES_VALUES = 512

_CABLE = Scenario(
    start=1_700_000_040,
    duration_seconds=_WINDOW_SECONDS,
    upstream=LinkDirection(1e6, 0.3, (0.0,)),
    downstream=LinkDirection(10e6, 0.15, (0.0,)),
    propagation_seconds=0.012,
    jitter_seconds=0.0005,
    loss=0.005,
    client_offset_seconds=0.1,
    client_skew_ppm=20.0,
)


def _with(**both_ways: object) -> Scenario:
    """The cable line with something changed in both directions."""
    up, down = (replace(way, **both_ways) for way in (_CABLE.upstream, _CABLE.downstream))  # type: ignore[arg-type]
    return replace(_CABLE, upstream=up, downstream=down)


#: The lines that are judged, each unlike the first in one thing.
LINES = MappingProxyType(
    {
        "cable": _CABLE,
        "poisson": _with(traffic="poisson"),
        "short-buffers": _with(buffer_seconds=0.02),
        "jittery": replace(_CABLE, jitter_seconds=0.002),
        "very-jittery": replace(_CABLE, jitter_seconds=0.004),
        "wifi": replace(_CABLE, access="wifi"),
        "mobile": replace(_CABLE, access="mobile"),
        "asymmetric": replace(_CABLE, upstream=replace(_CABLE.upstream, extra_seconds=0.05)),
        "skewed": replace(_CABLE, client_skew_ppm=-120.0),
        "stepping": replace(_CABLE, client_steps=((700.0, 0.05),)),
        "step-back": replace(_CABLE, client_steps=((500.0, -0.02),)),
        "two-steps": replace(_CABLE, client_steps=((300.0, 0.03), (800.0, -0.08))),
        "skewed-step": replace(_CABLE, client_skew_ppm=80.0, client_steps=((600.0, 0.01),)),
        "slewed": replace(_CABLE, client_slews=((300.0, 400.0, 500.0),)),
        "lossy": replace(_CABLE, loss=0.05),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Of w windows: the exact usage, and what each estimator reads; (w, 2), up and down, 0..1.

    clocks: what is said of the clocks of each window, (w,).
    """

    truth: Floats
    mode: Floats
    delayed_probes: Floats
    clocks: tuple[ClockVerdict, ...]


def readings(line: Scenario, usage: float, windows: int, seed: int) -> Readings:
    """What both estimators read of `windows` windows of a line that carries `usage`, 0..1."""
    spreads = _noise_before(line, seed)
    scenario = _carrying(line, usage)
    rows: list[tuple[list[float], list[float], list[float]]] = []
    clocks: list[ClockVerdict] = []
    for number in range(windows):
        random = np.random.default_rng([seed, round(usage * 1000), number])
        found = measured(random, scenario)
        summary = _analysed(found, spreads)
        if summary and (read := _read(summary)):
            rows.append((_truth(scenario, found, summary), *read))
            clocks.append(summary.clock)
    truth, mode, probes = np.array(rows).reshape(-1, 3, 2).transpose(1, 0, 2)
    return Readings(truth, mode.clip(0, 1), probes, tuple(clocks))


@functools.cache
def _noise_before(line: Scenario, seed: int) -> tuple[float, ...]:
    """The spreads of the windows before: the line was idle then, and other seeds rule."""
    found = [
        _analysed(measured(np.random.default_rng([seed, 2000, number]), _carrying(line, 0.0)), ())
        for number in range(_WINDOWS_BEFORE)
    ]
    return tuple(each.spread_ns for each in found if each and each.spread_ns is not None)


def _carrying(line: Scenario, usage: float) -> Scenario:
    up, down = (replace(way, usage=(usage,)) for way in (line.upstream, line.downstream))
    return replace(line, upstream=up, downstream=down)


def _analysed(found: Measurement, spreads: tuple[float, ...]) -> Summary | None:
    rows = concatenate(minute.observations for minute in found.minutes)
    return summarise(rows, both=True, spreads=spreads)


def _read(summary: Summary) -> tuple[list[float], list[float]] | None:
    """Mode and delayed probes of one window; None where too much of it was lost."""
    ways = (summary.upstream, summary.downstream)
    mode = [way.usage for way in ways if way.usage is not None]
    probes = [way.usage_alt for way in ways if way.usage_alt is not None]
    return (mode, probes) if len(mode) == len(probes) == len(ways) else None


def _truth(scenario: Scenario, found: Measurement, summary: Summary) -> list[float]:
    """The share of the last ten minutes in which each direction was sending."""
    end = summary.timestamp + 1.0 - scenario.start
    queues = (found.upstream, found.downstream)
    return [queue.utilisation(end - MEANINGFUL_SECONDS, end) for queue in queues]


def hurst_readings(hurst: float, series: int, seed: int) -> Floats:
    """What both estimators (R/S, wavelet) read of fractional Gaussian noise; (series, 2)."""
    random = np.random.default_rng([seed, round(hurst * 1000)])
    made = [fractional_noise(random, hurst, SERIES_VALUES) for _ in range(series)]
    noise = np.stack(made)
    return np.array([rescaled_range(noise), wavelet(noise)], dtype=np.float64).T
