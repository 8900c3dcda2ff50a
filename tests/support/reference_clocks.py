"""Clocks that are set, and the noise of a downlink, once more: plain Python, to check tixd's.

Written from the specification's text beside reference_analysis.py: loops over the packets, one
slope and one place after the other. Times in seconds, trips in ns, slopes in ns a second.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Skew = Callable[[Sequence[float], Sequence[float], Sequence[float]], float]

_MS = 1e6


@dataclass
class Clocks:
    """A window: t since the first packet, f and b of each packet."""

    t: Sequence[float]
    f: Sequence[float]
    b: Sequence[float]

    def __post_init__(self) -> None:
        round_trips = [f + b for f, b in zip(self.f, self.b, strict=True)]
        self.shortest = min(round_trips)
        self.near = [trip - self.shortest < 3 * _MS for trip in round_trips]

    def ends(self, begin: int, end: int, c: float) -> tuple[float, float]:
        """The least f + c t and the least b - c t of a part."""
        part = range(begin, end)
        forth = min(self.f[i] + c * self.t[i] for i in part)
        return forth, min(self.b[i] - c * self.t[i] for i in part)

    def lift(self, begin: int, end: int, c: float) -> float:
        return sum(self.ends(begin, end, c)) - self.shortest

    def offset(self, begin: int, end: int, c: float) -> float:
        forth, back = self.ends(begin, end, c)
        return (back - forth) / 2


def repair(clocks: Clocks, skew: Skew) -> tuple[str, Clocks]:
    """The verdict, and the window without its steps.

    Not in the specification: a packet that was under way when the clock was set back has a round
    trip that is too short, and would hide the step; it is left out while steps are sought.
    """
    verdict, mended = judge(clocks, skew)
    trips = [f + b for f, b in zip(clocks.f, clocks.b, strict=True)]
    if verdict == "set" or len(trips) < 120 or sorted(trips)[1] - min(trips) < 2 * _MS:
        return verdict, mended
    odd = trips.index(min(trips))
    cut = [[*values[:odd], *values[odd + 1 :]] for values in (clocks.t, clocks.f, clocks.b)]
    _, others = judge(Clocks(*cut), skew)
    ahead = [b - mended for b, mended in zip(cut[2], others.b, strict=True)]
    if odd in (0, len(ahead)) or ahead[odd - 1] - ahead[odd] < 2 * _MS:
        return verdict, mended
    f = [*others.f[:odd], clocks.f[odd] + ahead[odd - 1], *others.f[odd:]]
    b = [*others.b[:odd], clocks.b[odd] - ahead[odd], *others.b[odd:]]
    return "set", Clocks(clocks.t, f, b)


def judge(clocks: Clocks, skew: Skew) -> tuple[str, Clocks]:
    """The same where no packet was under way."""
    count = len(clocks.t)
    c0 = -skew(clocks.t, clocks.f, clocks.b)
    if sum(clocks.near) < 10 or clocks.lift(0, count, c0) >= -_MS:
        return "fine", clocks
    slopes = [*(10e3 * step for step in range(-20, 21)), c0]
    found = places(clocks, 0, count, slopes, 3)
    mended, c = without_steps(clocks, [0, *found, count], slopes)
    if mended != clocks:
        again = -skew(mended.t, mended.f, mended.b)
        left = Clocks(mended.t, mended.f, mended.b)
        left.shortest = clocks.shortest
        if max(left.lift(0, count, each) for each in (again, c)) >= -3 * _MS:
            return "set", mended
    longer, size = count % 3, count // 3
    borders = [third * size + min(third, longer) for third in range(4)]
    told = all(sum(clocks.near[one:other]) >= 5 for one, other in itertools.pairwise(borders))
    highest = max(clocks.lift(0, count, each) for each in slopes)
    return ("not-credible" if told and highest < -3 * _MS else "fine"), clocks


def places(clocks: Clocks, begin: int, end: int, slopes: list[float], levels: int) -> list[int]:
    if levels == 0 or end - begin < 120:
        return []
    lift, c, place = refined(lambda c: best_place(clocks, begin, end, c), slopes)
    if lift <= max(clocks.lift(begin, end, each) for each in slopes) + _MS:
        return []
    if abs(clocks.offset(place, end, c) - clocks.offset(begin, place, c)) < 2 * _MS:
        return []
    left = places(clocks, begin, place, slopes, levels - 1)
    return [*left, place, *places(clocks, place, end, slopes, levels - 1)]


def best_place(clocks: Clocks, begin: int, end: int, c: float) -> tuple[float, int]:
    """The greatest of all g(k, c), and its k."""
    left = running(clocks, range(begin, end), c)
    right = running(clocks, range(end - 1, begin - 1, -1), c)[::-1]
    seen = list(itertools.accumulate(clocks.near[begin:end]))
    best = (-math.inf, begin + 1)
    for k in range(1, end - begin):
        if seen[k - 1] >= 5 and seen[-1] - seen[k - 1] >= 5:
            lift = min(left[k - 1], right[k]) - clocks.shortest
            best = max(best, (lift, begin + k), key=lambda each: each[0])
    return best


def running(clocks: Clocks, order: range, c: float) -> list[float]:
    """The least f + c t and the least b - c t of all packets so far, added up."""
    forth = itertools.accumulate((clocks.f[i] + c * clocks.t[i] for i in order), min)
    back = itertools.accumulate((clocks.b[i] - c * clocks.t[i] for i in order), min)
    return [sum(each) for each in zip(forth, back, strict=True)]


def refined(
    lift_at: Callable[[float], tuple[float, int]], slopes: list[float]
) -> tuple[float, float, int]:
    best = (-math.inf, 0.0, 0)
    for within in (0.0, 10e3, 2e3):
        around = [best[1] - within + step * within / 4 for step in range(9)]
        for c in around if within else slopes:
            lift, place = lift_at(c)
            best = max(best, (lift, c, place), key=lambda each: each[0])
    return best


def without_steps(clocks: Clocks, borders: list[int], slopes: list[float]) -> tuple[Clocks, float]:
    parts = list(itertools.pairwise(borders))
    _, c, _ = refined(lambda c: (min(clocks.lift(*part, c) for part in parts), 0), slopes)
    offsets = [clocks.offset(*part, c) for part in parts]
    ahead, f, b = 0.0, list(clocks.f), list(clocks.b)
    for (begin, end), before, offset in zip(parts[1:], offsets, offsets[1:], strict=False):
        step = offset - before
        ahead += step if abs(step) >= 2 * _MS else 0.0
        f[begin:end] = [value + ahead for value in clocks.f[begin:end]]
        b[begin:end] = [value - ahead for value in clocks.b[begin:end]]
    return Clocks(clocks.t, f, b), c


def spread(second: Sequence[int], waits: Sequence[float]) -> float:
    """The noise of a window: the middle one of three equal parts in time."""
    if linear(sorted(waits), 0.25) > 20 * _MS:
        return math.inf
    third = (second[-1] - second[0]) / 3
    one, two = second[0] + third, second[0] + 2 * third
    parts: list[list[float]] = [[], [], []]
    for moment, wait in zip(second, waits, strict=True):
        parts[(moment >= one) + (moment >= two)].append(wait)
    middle = sorted(map(part_spread, parts))[1]
    return middle if middle == math.inf else round(middle / 1000) * 1000.0


def part_spread(waits: list[float]) -> float:
    if not waits:
        return math.inf
    ordered, idle, tau, s = sorted(waits), 1.0, math.inf, 0.0
    for _ in range(10):
        s = linear(ordered, 0.25 * idle) - linear(ordered, 0.05 * idle)
        before, tau = tau, max(10 * s, 3 * _MS)
        if abs(tau - before) < 1000:
            break
        share = sum(wait > tau for wait in waits) / len(waits)
        idle = max(1 - max(share - 0.15, 0) / 0.85, 0.05)
    return s


def linear(ordered: Sequence[float], share: float) -> float:
    """The quantile, linear between neighbours."""
    below, part = divmod(share * (len(ordered) - 1), 1)
    low = ordered[int(below)]
    return low + part * (ordered[min(int(below) + 1, len(ordered) - 1)] - low)


def downlink_tau(spreads: Sequence[float]) -> float:
    """From the spreads of the installation's windows; a saturated one counts for nothing."""
    known = [each for each in spreads[-144:] if each < math.inf]
    return 3 * _MS if len(known) < 6 else min(max(10 * min(known), 3 * _MS), 20 * _MS)
