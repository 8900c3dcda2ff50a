"""The delayed-probes estimator once more, in plain Python, to check the vectorised one.

Written from the specification's text, not from tixd's code: the whole lower hull by a walk over the
sorted points, quantiles by `statistics`, one packet at a time.
"""

from __future__ import annotations

import itertools
import statistics

from tests.support.reference_analysis import Row, unwrap

Point = tuple[int, int]


def usage(rows: list[Row]) -> tuple[float, float]:
    """Upstream and downstream usage of rows that are kept and in order."""
    waits, taus = waiting(rows)
    last = rows[-1][0]
    late = [i for i, row in enumerate(rows) if row[0] > last - 600]
    shares = [
        sum(wait[i] > tau for i in late) / len(late) for wait, tau in zip(waits, taus, strict=True)
    ]
    up, down = (((f - 0.15) / 0.85) ** 0.6 if f >= 0.15 else 0.0 for f in shares)
    return up, down


def waiting(rows: list[Row]) -> tuple[list[list[float]], list[float]]:
    """Queueing delays of both directions in ns, and the tau of each."""
    sent = unwrap([row[3] for row in rows])
    trips = [unwrap([row[b] - row[a] for row in rows]) for a, b in ((3, 4), (5, 6))]
    slopes = [slope_below(list(zip(sent, trip, strict=True))) for trip in trips]
    levels = [above(sent, trip, slope) for trip, slope in zip(trips, slopes, strict=True)]
    up_is_better = quantile(levels[0], 25) <= quantile(levels[1], 25)
    skew = min(max(slopes[0] if up_is_better else -slopes[1], -200e-6), 200e-6)
    waits = [above(sent, trips[0], skew), above(sent, trips[1], -skew)]
    return waits, [min(max(20 * quantile(waits[0], 10), 3e6), 15e6), 3e6]


def above(sent: list[int], trip: list[int], slope: float) -> list[float]:
    """How far each trip lies above the lowest one, along lines of this slope."""
    levels = [(t - trip[0]) - slope * (s - sent[0]) for s, t in zip(sent, trip, strict=True)]
    lowest = min(levels)
    return [level - lowest for level in levels]


def quantile(values: list[float], percent: int) -> float:
    """Linear between neighbours."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def slope_below(points: list[Point]) -> float:
    """Slope of the lower hull's edge over the mean of x; exact but for the last division."""
    total = sum(x for x, _ in points)
    hull: list[Point] = []
    for point in sorted(points):
        if hull and hull[-1][0] == point[0]:
            continue
        while len(hull) > 1 and not turns_left(*hull[-2:], point):
            hull.pop()
        hull.append(point)
    edges = ((a, b) for a, b in itertools.pairwise(hull) if b[0] * len(points) >= total)
    return next(((b[1] - a[1]) / (b[0] - a[0]) for a, b in edges), 0.0)


def turns_left(a: Point, b: Point, c: Point) -> bool:
    """Whether b lies below the straight line from a to c."""
    return (b[0] - a[0]) * (c[1] - a[1]) > (b[1] - a[1]) * (c[0] - a[0])
