"""How much an idle downlink jitters, and from which waiting on a packet counts as delayed.

Rules: one window cannot tell a line with 2 ms of jitter from one used to a quarter; the last day of
an installation can, because in some window of it the line is idle.

A window's spread s is what its fastest packets differ by among themselves: the distance from the
5 % to the 25 % quantile of the waiting on an idle line. Where the line is used, the fastest packets
are a smaller share of all, so both quantiles are taken of the share that is idle: that share
follows from usage, and usage from the share above tau = 10 s, so they are found in turn. For
exponential jitter of mean m the spread is ln(0.95 / 0.75) m = 0.236 m, tau 2.4 m, which 9 % of
packets exceed: less than the idle share of 0.15 that usage leaves out. The least of a day's spreads
counts.

Assumed: some window of the day shows the jitter of the line alone. Wrong, therefore: a line that is
used without a break for a day reads a little low; before six windows are known, one that jitters
reads too high. Windows of a saturated line say nothing, and are none of the six. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tixd.analysis.observations import Floats, Integers

#: Least and most of what counts as delayed downstream.
TAU_ns, MAX_TAU_ns = 3e6, 20e6

#: tau is so many spreads.
SPREADS = 10.0

#: Quantiles of an idle line's waiting whose distance is the spread.
LOW, HIGH = 0.05, 0.25

#: With this quantile of the waiting above MAX_TAU_ns a window says nothing of the jitter.
SATURATED_QUANTILE = 0.25

#: Windows that are remembered: a day of windows of ten minutes.
MAX_SPREADS = 144

#: With fewer known windows tau stays at its least.
LEAST_SPREADS = 6

#: Share of delayed packets of an idle line, as usage leaves it out.
_IDLE_SHARE = 0.15

#: A line counts as idle for at least this share of the time.
_LEAST_IDLE = 0.05

#: Spreads are kept in whole microseconds.
_KEPT_ns = 1e3

#: Turns in which spread and idle share are found, and when they are.
_TURNS, _CLOSE_ns = 10, 1e3


def spread(second: Integers, q_ns: Floats) -> float:
    """Measure the noise of a window's downlink in ns; infinite where the line is saturated.

    second: of each packet, (n,), never falling; q_ns: their waiting downstream, (n,). The result
    is the middle one of three equal parts in time, in whole microseconds, as it is kept; a part
    without packets counts as infinite.

    Exponential jitter of 2 ms in the mean: 0.47 ms on an idle line. On one used by half it is more,
    because 0.15 of the delayed packets are taken for idle: quantiles of 0.25 and 0.05 of a share of
    1 - (0.5 - 0.15) / 0.85 = 0.59 lie at 0.29 and 0.06 of the idle packets.

    >>> random = np.random.default_rng(1)
    >>> second, jitter = np.arange(1200), random.exponential(2e6, 1200)
    >>> round(spread(second, jitter) / 1e6, 2)
    0.47
    >>> busy = random.random(1200) < 0.5
    >>> round(spread(second, jitter + 30e6 * busy) / 1e6, 2)
    0.59
    """
    if quantile_of(q_ns, SATURATED_QUANTILE) > MAX_TAU_ns:
        return np.inf
    begin, length = second[0], second[-1] - second[0]
    borders = np.searchsorted(second, [begin + length / 3, begin + 2 * length / 3])
    middle = sorted(_part_spread(np.sort(part)) for part in np.split(q_ns, borders))[1]
    return round(middle / _KEPT_ns) * _KEPT_ns if np.isfinite(middle) else middle


def _part_spread(waiting: Floats) -> float:
    """Return the spread of one part, from its sorted waiting."""
    if not len(waiting):
        return np.inf
    idle, tau, found = 1.0, np.inf, 0.0
    for _ in range(_TURNS):
        found = quantile(waiting, HIGH * idle) - quantile(waiting, LOW * idle)
        before, tau = tau, max(SPREADS * found, TAU_ns)
        if abs(tau - before) < _CLOSE_ns:
            break
        over = 1 - np.searchsorted(waiting, tau, side="right") / len(waiting)
        idle = max(1 - max(over - _IDLE_SHARE, 0.0) / (1 - _IDLE_SHARE), _LEAST_IDLE)
    return found


def downlink_tau(spreads: Sequence[float]) -> float:
    """Compute tau in ns from the spreads of the last windows, this one too.

    Infinite ones say nothing, and are not among the windows that are known.

    >>> downlink_tau([0.5e6] * 5), downlink_tau([0.5e6] * 6), downlink_tau([9e6] * 6)
    (3000000.0, 5000000.0, 20000000.0)
    """
    known = [each for each in spreads[-MAX_SPREADS:] if np.isfinite(each)]
    if len(known) < LEAST_SPREADS:
        return TAU_ns
    return min(max(SPREADS * min(known), TAU_ns), MAX_TAU_ns)


def remembered(spreads: Sequence[float], spread_ns: float) -> tuple[float, ...]:
    """Return the spreads that count after one more window: the last ones, oldest first.

    >>> remembered([0.5e6, 0.4e6], 0.6e6)
    (500000.0, 400000.0, 600000.0)
    """
    return (*spreads, spread_ns)[-MAX_SPREADS:]


def quantile_of(values: Floats, share: float) -> float:
    """Return that quantile of values in any order.

    Only the two values that it lies between are put in their places: 3 us instead of 16 to sort the
    1140 values of a window.

    >>> quantile_of(np.array([4.0, 1.0, 2.0]), 0.75)
    3.0
    """
    left = int(share * (len(values) - 1))
    return quantile(np.partition(values, (left, min(left + 1, len(values) - 1))), share)


def quantile(ordered: Floats, share: float) -> float:
    """Return the value below which `share` of the sorted values lie, interpolated linearly.

    >>> [quantile(np.array([1.0, 2.0, 4.0]), share) for share in (0, 0.5, 0.75, 1)]
    [1.0, 2.0, 3.0, 4.0]
    """
    place = share * (len(ordered) - 1)
    left = int(place)
    low, high = ordered[left], ordered[min(left + 1, len(ordered) - 1)]
    return float(low + (high - low) * (place - left))
