"""Usage by delayed probes: the share of packets that had to wait in the line's queue, 0..1.

A link that carries traffic for a share u of the time makes a packet that comes at random wait with
probability u, whatever the traffic looks like: Poisson arrivals see time averages (Wolff 1982);
packets once a second come close to it (Baccelli, Machiraju, Veitch, Bolot 2006). So usage can be
counted without knowing the line's speed or buffers, if waiting can be told from the rest of a
delay. The constants of the four steps were fitted to three recorded experiments. Before them, a
clock that was set within the window is set back (clock_steps.py).

1. f = t2 - t1 and b = t4 - t3 are delay plus or minus the offset of the two clocks. Where it grows
   evenly (skew), the fastest packets lie on a straight line: of the lines below all points of
   (t1, f), the one that is highest at the mean t1 (Moon, Skelly, Towsley 1999), which continues an
   edge of the lower convex hull (Zhang, Liu, Xia 2002). Both directions see the same skew with
   opposite signs; the one whose packets lie nearer to their line tells it better.
2. Without the skew, a direction's smallest value is its delay without any queue: what lies above
   is waiting, q. The clocks' offset drops out.
3. A packet is delayed where q > tau. Downstream tau is 3 ms, above the jitter of a quiet line, or
   more on a line that has jittered by more in each window of the last day (noise.py).
   Uplinks are shared in time slots and jitter even when idle, so their tau is 20 x the 10 %
   quantile of q, from 3 to 15 ms: below a usage of 0.9 a tenth of the packets meet no queue, so
   that quantile knows the jitter alone. Jitter spread evenly up to T makes it T / 10, and tau 2 T;
   of exponential jitter 12 % exceed tau.
4. F, the share of delayed packets among the later ones, becomes usage = ((F - 0.15) / 0.85)^0.6,
   0 below 0.15: part of an idle line's packets is late as well, and short queues pass unseen.

Assumed: the clocks fit together, some packet of each direction met no queue, and constants that
were fitted to three recordings of cable lines and to simulated lines. Wrong, therefore: a clock
that is slewed reads as a queue, and so does one that is set on a line too full to tell; a queue
that never empties reads too low; queues of less than tau, as smooth traffic makes, are not seen; a
downlink that jitters by more than 3 ms by itself (mobile) reads too high until six windows are
known. `scripts/curves` shows by how much.

A clock that gains 50 ppm; every fourth packet waits 20 ms on its way up, every other on its way
down. F = 1/4 and 1/2, ((0.25 - 0.15) / 0.85)^0.6 = 0.28 and 0.59:

>>> sent = np.arange(1200) * 10**9
>>> up, down = (np.arange(1200) % each == 1 for each in (4, 2))
>>> times = np.stack((sent, sent + 5_000_000, sent + 5_000_000, sent + 9_000_000))
>>> times[1:3] += 20_000_000 * up + sent // 20_000
>>> times[3] += 20_000_000 * up + 20_000_000 * down
>>> waiting = waiting_of(Columns(second=np.arange(1200), times=times))
>>> waiting.tau_ns.tolist()
[3000000.0, 3000000.0]
>>> [round(each, 2) for each in usage_by_delayed_probes(waiting.delayed(600))]
[0.28, 0.59]

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tixd.analysis import noise
from tixd.analysis.clock import unwrapped
from tixd.analysis.clock_steps import ClockVerdict, repaired
from tixd.analysis.noise import TAU_ns, quantile_of
from tixd.analysis.observations import Columns, Floats, Integers

#: Clocks of computers run together within this; a steeper line is no skew.
MAX_SKEW_ppm = 200.0

#: The skew is that of the direction whose waiting has the smaller quantile of this share.
SKEW_QUANTILE = 0.25

#: Largest tau upstream.
MAX_UPLINK_TAU_ns = 15e6

#: Upstream, tau is a multiple of the quantile of the waiting of this share.
TAU_QUANTILE = 0.1

#: The multiple.
TAU_QUANTILES = 20.0

#: Share of delayed packets on an idle line.
IDLE_SHARE = 0.15

#: Exponent of the share above that.
EXPONENT = 0.6

#: A minute of more usage is congested, if the line's delays are persistent.
CONGESTED_USAGE = 0.5

#: Least width of a reading.
LEAST_WIDTH = 0.05

#: Width in the middle of the range, times four.
WIDTH = 1.2

#: Halves of the ten minutes that differ by more make a reading unsteady.
STEADY = 0.15

#: Most steps towards the slope of the line below; real windows take 2 to 4.
STEPS = 64

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """Waiting of packets in queues: q in ns, (2, n), up and down; each direction's tau, (2,).

    q is 0 or more, and 0 for the packet that met no queue; clock: whether a clock was set in the
    window; spread_ns: the noise of the downlink, infinite where the window does not tell; ahead_ns:
    how far the client's clock was set ahead until each packet, (n,); None where it was not.
    """

    q_ns: Floats
    tau_ns: Floats
    clock: ClockVerdict = "fine"
    spread_ns: float = math.inf
    ahead_ns: Floats | None = None

    def delayed(self, start: int) -> Booleans:
        """Return which packets from index `start` on waited longer than tau, (2, n - start)."""
        longer: Booleans = self.q_ns[:, start:] > self.tau_ns[:, None]
        return longer


def waiting_of(columns: Columns, spreads: Sequence[float] = ()) -> Waiting:
    """Compute the waiting of all short packets of a window, n >= 1.

    spreads: those of the installation's windows before this one, ns, oldest first.
    """
    seconds, trips = _trips(columns)
    found = repaired(seconds, trips, skew)
    q = found.trips - [[1.0], [-1.0]] * (found.gain * seconds)
    q -= q.min(axis=1, keepdims=True)
    uplink_tau = TAU_QUANTILES * quantile_of(q[0], TAU_QUANTILE)
    spread = noise.spread(columns.second, q[1])
    downlink_tau = noise.downlink_tau(noise.remembered(spreads, spread))
    taus = np.array([min(max(uplink_tau, TAU_ns), MAX_UPLINK_TAU_ns), downlink_tau])
    ahead = trips[1] - found.trips[1] if found.verdict == "set" else None
    return Waiting(q, taus, found.verdict, spread, ahead)


def clock_verdict(columns: Columns) -> ClockVerdict:
    """Say whether a clock was set within a window, n >= 1."""
    return repaired(*_trips(columns), skew).verdict


def _trips(columns: Columns) -> tuple[Floats, Floats]:
    """Return when packets were sent, seconds since the first, (n,); their trips in ns, (2, n)."""
    trips = unwrapped(columns.times[1::2] - columns.times[0::2])
    sent = unwrapped(columns.times[:1])[0]
    return (sent - sent[0]) / 1e9, (trips - trips[:, :1]).astype(np.float64)


def usage_by_delayed_probes(delayed: Booleans) -> list[float | None]:
    """Compute the usage of each row of `delayed`, (r, n), n >= 1.

    >>> shares = np.array([[10], [15], [58], [100]])
    >>> [round(each, 3) for each in usage_by_delayed_probes(np.arange(100) < shares)]
    [0.0, 0.0, 0.664, 1.0]
    """
    return list(_usage_of(delayed.mean(axis=1)).tolist())


def widths(usages: Sequence[float | None]) -> list[float | None]:
    """Say how far off each usage may be: 95 of 100 were nearer to the truth.

    Of lines that the constants were not fitted to, errors grow towards the middle of the range.

    >>> [round(each, 3) for each in widths([0.0, 0.1, 0.5, 1.0])]
    [0.05, 0.108, 0.3, 0.05]
    """
    return [None if u is None else max(LEAST_WIDTH, WIDTH * u * (1 - u)) for u in usages]


def unsteady(delayed: Booleans, second: Integers) -> list[bool | None]:
    """Say of each row of `delayed`, (r, n), whether its two halves in time read differently.

    second: of each packet, (n,), ascending.

    >>> second = np.arange(100)
    >>> unsteady(np.array([second < 50, second % 2 == 0, second < 5]), second)
    [True, False, False]
    """
    half = int(np.searchsorted(second, (second[0] + second[-1]) / 2, side="right"))
    if half == len(second):  # all at one second
        return [False] * len(delayed)
    first, last = (_usage_of(part.mean(axis=1)) for part in np.split(delayed, [half], axis=1))
    return list((abs(first - last) > STEADY).tolist())


def congested(delayed: Booleans, first: Integers, counts: Integers) -> Booleans:
    """Say which minutes of each row of `delayed`, (r, n), have a usage too high; (r, k).

    first, counts: where the minutes begin, and how many packets each has, (k,).
    """
    return minute_usages(delayed, first, counts) > CONGESTED_USAGE


def minute_usages(delayed: Booleans, first: Integers, counts: Integers) -> Floats:
    """Compute the usage of each minute of each row of `delayed`, (r, n); (r, k)."""
    sums = np.zeros((len(delayed), delayed.shape[1] + 1))
    delayed.cumsum(axis=1, out=sums[:, 1:])
    return _usage_of((sums[:, first + counts] - sums[:, first]) / counts)


def _usage_of(share: Floats) -> Floats:
    """Compute usage from the share of delayed packets; any shape."""
    busy: Floats = np.maximum((share - IDLE_SHARE) / (1 - IDLE_SHARE), 0.0) ** EXPONENT
    return busy


def skew(seconds: Floats, trips: Floats) -> float:
    """Estimate how fast the server's clock gains on the client's, ns/s, by the better direction.

    seconds: when packets were sent, (n,); trips: t2 - t1 and t4 - t3 in ns, (2, n).
    """
    slopes, spreads = [], []
    for row in trips:
        slope = lower_line_slope(seconds, row)
        above = row - slope * seconds
        slopes.append(slope)
        spreads.append(quantile_of(above, SKEW_QUANTILE) - above.min())
    gain = slopes[0] if spreads[0] <= spreads[1] else -slopes[1]
    return min(max(gain, -1e3 * MAX_SKEW_ppm), 1e3 * MAX_SKEW_ppm)


def lower_line_slope(x: Floats, y: Floats) -> float:
    """Fit the line below all points (x, y), both (n,), that is highest at the mean of x.

    Result: its slope; 0 where all x are equal. It continues an edge of the lower convex hull: the
    one whose x range contains the mean (at a vertex the left one). Such a line touches a point on
    each side of the mean. A line of too small a slope is nearer to the left points, one of too
    large a slope to the right ones; each step takes the slope from the nearest left to the nearest
    right point, or halves the range where that leads out of it.

    >>> lower_line_slope(np.array([0., 1., 2., 3., 4.]), np.array([5., 1., 9., 2., 9.]))
    0.5
    >>> lower_line_slope(np.array([0., 1., 2.]), np.array([1., 0., 1.]))
    -1.0
    >>> lower_line_slope(np.array([3., 3.]), np.array([1., 2.]))
    0.0
    """
    before = x < x.mean()
    sides = [(x[side], y[side]) for side in (before, ~before)]
    if not all(len(x_side) for x_side, _ in sides):
        return 0.0
    slope, least, most = 0.0, -np.inf, np.inf
    for _ in range(STEPS):
        (x_a, y_a), (x_b, y_b) = (_nearest(*side, slope) for side in sides)
        through = (y_b - y_a) / (x_b - x_a)
        if through == slope:
            break
        least, most = (slope, most) if through > slope else (least, slope)
        slope = through if least < through < most else (least + most) / 2
    return slope


def _nearest(x: Floats, y: Floats, slope: float) -> tuple[float, float]:
    """Return the point that a line of this slope meets first from below."""
    place = (y - slope * x).argmin()
    return float(x[place]), float(y[place])
