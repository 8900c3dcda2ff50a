"""The two clocks of a measurement: times of day unwrapped, their offset, one-way delays.

Each of t1..t4 is ns since local midnight of the host that takes it. A clock may pass midnight,
count on past 24 h, drift, and be hours away from the other: differences are taken modulo 24 h. The
offset phi(second) comes from the packets with the shortest round trips, whose two ways take equally
long as nearly as can be known. Delays relative to it may be negative. The order of operations is
that of the TiX time processor, so that floats come out equal to its own. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tixd.analysis.mode import smallest_bin
from tixd.analysis.observations import Columns, Floats, Integers

#: A day on either clock; times of day begin anew after it.
DAY_ns = 86_400 * 1_000_000_000

_HALF_DAY_ns = DAY_ns // 2


def wrapped(difference: Integers) -> Integers:
    """Reduce a `difference` of times of day, ns, modulo 24 h into (-12 h, 12 h]; any shape.

    >>> hours = 3600 * 10**9 * np.array([1, 12, 13, -12, -23, 47])
    >>> (wrapped(hours) // (3600 * 10**9)).tolist()
    [1, 12, -11, 12, 1, -1]
    """
    if difference.min() > -_HALF_DAY_ns and difference.max() <= _HALF_DAY_ns:
        return difference
    return _HALF_DAY_ns - (_HALF_DAY_ns - difference) % DAY_ns


def unwrapped(series: Integers) -> Integers:
    """Unwrap each row of `series`, (r, n) in ns, around its first value: v_0 + w(v_i - v_0).

    >>> (unwrapped(np.array([[DAY_ns - 2, DAY_ns - 1, 0, 1]])) - DAY_ns).tolist()
    [[-2, -1, 0, 1]]
    """
    first = series[:, :1]
    return first + wrapped(series - first)


@dataclass(frozen=True, slots=True, eq=False)
class Clocks:
    """The two clocks of a window of n packets: trips in ns, and points of the offset between them.

    second: epoch seconds, (n,); forth, back: f = t2 - t1 and b = t4 - t3, unwrapped, (n,);
    round_trips: t4 - t1, (n,); known_at, known: second and offset phi of the packets with the
    shortest round trips, in order of time, (k,).
    """

    second: Integers
    forth: Integers
    back: Integers
    round_trips: Integers
    known_at: Integers
    known: Floats

    def delays(self, start: int) -> Floats:
        """Compute delays up and down of packets from index `start` on, (2, n - start), ns."""
        phi = offset(self.known_at, self.known, self.second[start:])
        return np.stack((self.forth[start:] + phi, self.back[start:] - phi))


def one_way_delays(columns: Columns, start: int) -> Floats:
    """Compute up- and downstream delay of observations from index `start` on, (2, n - start), ns.

    The offset is estimated from all of them: upstream = f + phi, downstream = b - phi, with
    f = t2 - t1 and b = t4 - t3.

    The server's clock is 100 ahead; packets take 5 there and 5 back, but one 7 back, one 9 there:

    >>> t1 = np.array([10, 20, 30, 40])
    >>> times = np.stack((t1, t1 + 100 + [5, 5, 5, 9], t1 + 110, t1 + 10 + [5, 5, 7, 5]))
    >>> one_way_delays(Columns(second=np.arange(4), times=times), 1).tolist()
    [[5.0, 5.0, 9.0], [5.0, 7.0, 5.0]]
    """
    return clocks_of(columns).delays(start)


def clocks_of(columns: Columns) -> Clocks:
    """Estimate the offset of the two clocks of a window, n >= 1."""
    t1, t4 = columns.times[0], columns.times[3]
    forth, back = unwrapped(columns.times[1::2] - columns.times[0::2])
    # A midnight within the first packet's own flight would take 12 h off all delays.
    first_trip = forth[:1] + back[:1]
    back -= first_trip - wrapped(first_trip)
    round_trips = wrapped(t4 - t1)
    best = smallest_bin(round_trips)
    best = best[np.argsort(columns.second[best], kind="stable")]
    known = (back[best] - forth[best]) / 2
    return Clocks(columns.second, forth, back, round_trips, columns.second[best], known)


def offset(known_at: Integers, known: Floats, second: Integers) -> Floats:
    """Interpolate the offset phi, ns, at each `second`, (n,), from points (known_at, known), (k,).

    Between two neighbouring points the straight line through them, before the first and after
    the last one constant. Of points at equal seconds the first ends the line that comes, the last
    begins the line that goes.

    >>> at, phi = np.array([10, 20, 20, 30]), np.array([0., 50., 70., 80.])
    >>> offset(at, phi, np.array([5, 10, 14, 20, 25, 30, 99])).tolist()
    [0.0, 0.0, 20.0, 70.0, 75.0, 80.0, 80.0]
    """
    run = known_at[:-1] - known_at[1:]
    slope = np.zeros(len(known) + 1)
    np.divide(known[:-1] - known[1:], run, out=slope[1:-1], where=run != 0)
    intercept = np.empty(len(known) + 1)
    intercept[0], intercept[1:] = known[0], known - known_at * slope[1:]
    line = np.searchsorted(known_at, second, side="right")
    return second * slope[line] + intercept[line]
