"""Clocks that are set within a window: where, by how much, and whether the rest can be believed.

Rules: nothing is changed unless the changed trips fit together; a window that fits as it is comes
back as it came, to the bit.

How it works: forth f = t2 - t1 and back b = t4 - t3 hold the clocks' offset with opposite signs, so
a client's clock that is set ahead by s takes s from f and gives it to b; their sum, the round trip,
does not see it. Let c be minus the gain of the server's clock, and r the shortest round trip. Where
the fastest packets of each direction meet no queue,

    lift(c) = min(f + c t) + min(b - c t) - r

is about 0 with a true clock: both minima are reached by the packets that make up r. With a step in
the window each direction reaches its minimum on another side of it, and the lift is about -s; the
slope that hides most of it leaves -s/2. Cut at the right place, each part has a lift of about 0
again, and the difference of the parts' offsets, (min(b - c t) - min(f + c t)) / 2, is the step. So
the place is sought at which the lower of two parts' lifts is highest, over all places and slopes at
once by running minima; then in each part again. No lift is above the part's shortest round trip
less r, so a part whose lift is there needs no cut. The line below trips with skew is that of Moon,
Skelly, Towsley (1999); to cut a series where it fits best, and its parts again, is binary
segmentation (Scott, Knott 1974).

Assumed: packets near the shortest round trip on both sides of a step. Not mended, but told: a clock
that is slewed (NTP at 500 ppm), and a change of route. Pure.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from tixd.analysis.observations import Floats

#: fine: the clocks fit together; set: steps were found and taken out; not-credible: neither.
ClockVerdict = Literal["fine", "set", "not-credible"]

#: Trips fit together where the lift is not below minus this.
TOLERANCE_ns = 1e6

#: What a repair may leave.
LEFT_ns = 3e6

#: Round trips of up to so much above the shortest one are near it.
NEAR_ns = 3e6

#: So many packets near the shortest round trip a part needs, for what it says of the clock.
NEEDED = 5

#: A smaller step is none.
MIN_STEP_ns = 2e6

#: A part of fewer packets is not cut again.
MIN_PACKETS = 120

#: How often a part is cut in two: up to seven steps are found.
MAX_LEVELS = 3

#: Slopes that are tried, ns a second: clocks gain at most 200 ppm on each other.
SLOPES: Floats = np.linspace(-200e3, 200e3, 41)

#: Then finer ones around the best slope, within these.
REFINED_ns = (10e3, 2e3)

#: Tells how fast the server's clock gains, from seconds and trips.
_Skew = Callable[[Floats, Floats], float]

_Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Trips:
    """A window's packets, or a part of them.

    seconds: since the first packet, (n,); trips: forth and back in ns, (2, n); near: whether the
    round trip is near the shortest one of the window, (n,); shortest: that one, ns.
    """

    seconds: Floats
    trips: Floats
    near: _Booleans
    shortest: float

    def part(self, begin: int, end: int) -> _Trips:
        """Return the packets from index `begin` to before `end`."""
        cut = slice(begin, end)
        return _Trips(self.seconds[cut], self.trips[:, cut], self.near[cut], self.shortest)

    def levelled(self, slopes: Floats) -> tuple[Floats, Floats]:
        """Take a skew of each of `slopes`, (m,), out of forth and back: two of (m, n)."""
        lines = slopes[:, None] * self.seconds
        return self.trips[0] + lines, self.trips[1] - lines

    def lifts(self, slopes: Floats) -> Floats:
        """Compute the lift at each slope, (m,)."""
        forth, back = self.levelled(slopes)
        lifts: Floats = forth.min(axis=1) + back.min(axis=1) - self.shortest
        return lifts

    def offset(self, slope: float) -> float:
        """Tell how far the client's clock is ahead, ns, but for what is the same in all parts."""
        forth, back = self.levelled(np.array([slope]))
        return float(back.min() - forth.min()) / 2


@dataclass(frozen=True, slots=True, eq=False)
class Repaired:
    """The verdict on a window's clocks, and its trips without the steps.

    trips: those that were given where none was kept; gain: how fast the server's clock gains by
    these trips, ns a second.
    """

    verdict: ClockVerdict
    trips: Floats
    gain: float


def repaired(seconds: Floats, trips: Floats, skew: _Skew) -> Repaired:
    """Judge the clocks of a window, and take the steps out.

    seconds: since the first packet, (n,); trips: t2 - t1 and t4 - t3 in ns, (2, n); skew: tells of
    two such arrays how fast the server's clock gains, ns a second.

    A client's clock that is set ahead by 50 ms after 600 of 1200 seconds:

    >>> seconds = np.arange(1200.0)
    >>> step = 50e6 * (seconds >= 600)
    >>> trips = np.stack((5e6 - step, 7e6 + step)) + 1e6 * (seconds % 3)
    >>> found = repaired(seconds, trips, lambda *_: 0.0)
    >>> found.verdict, found.trips.min(axis=1).tolist(), found.trips.max(axis=1).tolist()
    ('set', [5000000.0, 7000000.0], [7000000.0, 9000000.0])
    >>> repaired(seconds, found.trips, lambda *_: 0.0).verdict
    'fine'
    """
    round_trips = trips[0] + trips[1]
    found = _judged(seconds, trips, round_trips, skew)
    if found.verdict == "set" or len(seconds) < MIN_PACKETS:
        return found
    odd = int(round_trips.argmin())
    if np.partition(round_trips, 1)[1] - round_trips[odd] < MIN_STEP_ns:
        return found
    return _with_a_packet_under_way(seconds, trips, odd, skew) or found


def _with_a_packet_under_way(
    seconds: Floats, trips: Floats, odd: int, skew: _Skew
) -> Repaired | None:
    """Take out steps, one of which came while packet `odd` was under way; None where none did.

    A clock that is set back meanwhile shortens the round trip of this packet alone, which hides the
    step. The packet's way forth is by the clock before the step, its way back by the one after it.
    """
    others = np.arange(len(seconds)) != odd
    left = trips[:, others]
    found = _judged(seconds[others], left, left[0] + left[1], skew)
    ahead = left[1] - found.trips[1]
    if not 0 < odd < len(ahead) or ahead[odd - 1] - ahead[odd] < MIN_STEP_ns:
        return None
    own = trips[0, odd] + ahead[odd - 1], trips[1, odd] - ahead[odd]
    mended = np.insert(found.trips, odd, own, axis=1)
    return Repaired("set", mended, skew(seconds, mended))


def _judged(seconds: Floats, trips: Floats, round_trips: Floats, skew: _Skew) -> Repaired:
    """Judge the clocks of a window in which no packet was under way at a step back."""
    gain = skew(seconds, trips)
    shortest = float(round_trips.min())
    near = round_trips < shortest + NEAR_ns
    line = gain * seconds
    lift = (trips[0] - line).min() + (trips[1] + line).min() - shortest
    if lift >= -TOLERANCE_ns or near.sum() < 2 * NEEDED:
        return Repaired("fine", trips, gain)
    window = _Trips(seconds, trips, near, shortest)
    slopes = np.append(SLOPES, -gain)
    places = _places(window, slopes, MAX_LEVELS)
    mended, common = _without_steps(window, places, slopes) if places else (trips, 0.0)
    if mended is not trips:
        again = skew(seconds, mended)
        if replace(window, trips=mended).lifts(np.array([-again, common])).max() >= -LEFT_ns:
            return Repaired("set", mended, again)
    told = min(int(third.sum()) for third in np.array_split(near, 3)) >= NEEDED
    odd = told and window.lifts(slopes).max() < -LEFT_ns
    return Repaired("not-credible" if odd else "fine", trips, gain)


def _places(window: _Trips, slopes: Floats, levels: int) -> list[int]:
    """Find where to cut the packets: indices of the first packet after each step, ascending."""
    count = len(window.seconds)
    if not levels or count < MIN_PACKETS:
        return []
    found = _best_cut(window, slopes)
    if found is None:
        return []
    left = _places(window.part(0, found), slopes, levels - 1)
    right = _places(window.part(found, count), slopes, levels - 1)
    return [*left, found, *(found + place for place in right)]


def _best_cut(window: _Trips, slopes: Floats) -> int | None:
    """Find the place whose parts fit best, if they fit better and differ by a step."""
    needed = window.lifts(slopes).max() + TOLERANCE_ns
    if needed >= window.trips.sum(axis=0).min() - window.shortest:
        return None
    lift, slope, place = _refined(lambda tried: _cut(window, tried), slopes)
    if lift <= needed:
        return None
    parts = window.part(0, place), window.part(place, len(window.seconds))
    before, after = (part.offset(slope) for part in parts)
    return place if abs(after - before) >= MIN_STEP_ns else None


def _cut(window: _Trips, slopes: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Find the best lift of the lower part at each slope, and its place, (m,) each."""
    forth, back = window.levelled(slopes)
    left = np.minimum.accumulate(forth, axis=1) + np.minimum.accumulate(back, axis=1)
    forth, back = forth[:, ::-1], back[:, ::-1]
    right = np.minimum.accumulate(forth, axis=1) + np.minimum.accumulate(back, axis=1)
    lifts = np.minimum(left[:, :-1], right[:, -2::-1]) - window.shortest
    seen = window.near.cumsum()[:-1]
    lifts[:, (seen < NEEDED) | (window.near.sum() - seen < NEEDED)] = -np.inf
    places = lifts.argmax(axis=1)
    return lifts[np.arange(len(slopes)), places], places + 1


def _refined(
    lifts_at: Callable[[Floats], tuple[Floats, npt.NDArray[np.intp]]], slopes: Floats
) -> tuple[float, float, int]:
    """Find the highest lift, its slope and its place, at `slopes` and then around the best."""
    best = (-np.inf, 0.0, 0)
    for within in (None, *REFINED_ns):
        tried = slopes if within is None else best[1] + np.linspace(-within, within, 9)
        lifts, places = lifts_at(tried)
        top = int(lifts.argmax())
        if lifts[top] > best[0]:
            best = (float(lifts[top]), float(tried[top]), int(places[top]))
    return best


def _without_steps(window: _Trips, places: list[int], slopes: Floats) -> tuple[Floats, float]:
    """Return the trips without the steps at `places`, and the slope that fits all parts best.

    The trips are the window's own where no step is large enough.
    """
    borders = (0, *places, len(window.seconds))
    parts = [window.part(*ends) for ends in itertools.pairwise(borders)]

    def lowest(tried: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
        lifts = np.min([part.lifts(tried) for part in parts], axis=0)
        return lifts, np.zeros(len(tried), np.intp)

    _, slope, _ = _refined(lowest, slopes)
    offsets = np.array([part.offset(slope) for part in parts])
    steps = np.diff(offsets)
    steps[abs(steps) < MIN_STEP_ns] = 0.0
    if not steps.any():
        return window.trips, slope
    ahead = np.repeat(np.concatenate(([0.0], steps.cumsum())), np.diff(borders))
    return window.trips + np.stack((ahead, -ahead)), slope
