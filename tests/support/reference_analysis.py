"""The analysis once more: plain Python, one observation at a time, to check the vectorised one.

Written from the specification's text, not from tixd's code; loops instead of arrays, exact integers
until a formula makes a float. It is slow, and meant to be read beside the specification. The second
half is the delayed-probes estimator: the whole lower hull by a walk over the sorted points,
quantiles by `statistics`; steps of the clock and noise in reference_clocks.py.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from tests.support import reference_clocks as clocks

#: second, kind, size, t1, t2, t3, t4
Row = tuple[int, int, int, int, int, int, int]

Result = dict[str, object]

_DAY_ns = 24 * 3600 * 10**9


def analyse(rows: Sequence[Row]) -> Result | None:
    """The result of a window in the shape of a stored one: raw usage, None where undefined."""
    kept = sorted(
        (second, t1, t2, t3, t4, size)
        for second, kind, size, t1, t2, t3, t4 in set(rows)
        if kind == ord("S")
    )
    if not kept:
        return None
    last = kept[-1][0]
    forth = unwrap([t2 - t1 for _, t1, t2, _, _, _ in kept])
    back = unwrap([t4 - t3 for _, _, _, t3, t4, _ in kept])
    # Not in the specification: f and b of the first packet must add up to its round trip, also
    # where midnight falls between its departure and its return.
    lap = forth[0] + back[0] - wrap(forth[0] + back[0])
    back = [b - lap for b in back]
    points = clock_points(kept, forth, back)
    up, down, seconds = [], [], []
    for row, f, b in zip(kept, forth, back, strict=True):
        if row[0] > last - 600:
            phi = phi_at(points, row[0])
            seconds.append(row[0])
            up.append(f + phi)
            down.append(b - phi)
    return {
        "timestamp": last,
        "upstream": direction(seconds, up),
        "downstream": direction(seconds, down),
    }


def wrap(difference: int) -> int:
    """Modulo 24 h into (-12 h, 12 h]."""
    while difference > _DAY_ns // 2:
        difference -= _DAY_ns
    while difference <= -_DAY_ns // 2:
        difference += _DAY_ns
    return difference


def unwrap(series: list[int]) -> list[int]:
    return [series[0] + wrap(value - series[0]) for value in series]


def clock_points(kept: list, forth: list[int], back: list[int]) -> list[tuple[int, float]]:
    """(second, phi) of the observations in bin 0 of the histogram of rtt."""
    order = sorted(range(len(kept)), key=lambda i: wrap(kept[i][4] - kept[i][1]))
    chosen = order[: bins([0.0] * len(kept))[0][2]]
    chosen.sort(key=lambda i: kept[i][0])
    return [(kept[i][0], (back[i] - forth[i]) / 2) for i in chosen]


def phi_at(points: list[tuple[int, float]], second: int) -> float:
    if second < points[0][0]:
        return points[0][1]
    for (s_a, phi_a), (s_b, phi_b) in itertools.pairwise(points):
        if s_a <= second < s_b:
            slope = (phi_a - phi_b) / (s_a - s_b)
            return second * slope + (phi_a - s_a * slope)
    return points[-1][1]


def bins(values: list[float]) -> list[tuple[float, float, int]]:
    """Equal-count bins of the values: (min, max, count) each."""
    ordered = sorted(values)
    number = math.isqrt(len(ordered))
    size = len(ordered) // number
    cut = [ordered[i * size : (i + 1) * size] for i in range(number)]
    cut[-1] += ordered[number * size :]
    return [(part[0], part[-1], len(part)) for part in cut]


def usage(delays: list[float]) -> float | None:
    if len(delays) < 4:
        return None
    histogram = bins(delays)
    total = max(delays) - min(delays)
    middles = [low + math.floor((high - low) / 2) for low, high, _ in histogram]
    densities = [
        math.inf if high == low else len(delays) * total / (count * (high - low))
        for low, high, count in histogram
    ]
    first = densities[: 2 * math.isqrt(len(histogram))]
    mode_bin = first.index(max(first))
    mode = middles[mode_bin]
    threshold = middles[1] if mode_bin == 0 else mode + 0.5 * middles[0]
    above = sum(delay > mode for delay in delays)
    return sum(delay > threshold for delay in delays) / above if above else 0.0


def direction(seconds: list[int], delays: list[float]) -> Result:
    series = delays[-(2 ** int(math.log2(len(delays)))) :]
    hurst = {"rs": rescaled_range(series), "wavelet": wavelet(series)}
    return {
        "usage": usage(delays),
        "quality": quality(seconds, delays, list(hurst.values())),
        "hurst": hurst,
    }


def quality(seconds: list[int], delays: list[float], hurst: list[float | None]) -> float | None:
    groups: dict[int, list[float]] = {}
    for second, delay in zip(seconds, delays, strict=True):
        groups.setdefault(second // 60, []).append(delay)
    judged = [group for group in groups.values() if len(group) >= 30]
    if not judged or None in hurst:
        return None
    congested = sum(usage(group) < 0.5 and statistics.mean(hurst) > 0.7 for group in judged)
    return (len(judged) - congested) / len(judged)


def rescaled_range(series: list[float]) -> float | None:
    n = len(series)
    block, step = n // 5, math.log10(n) / 50
    points = []
    for i in range(1, 50):
        d = math.ceil(math.pow(10, i * step))
        x = math.log10(math.floor(math.pow(10, i * step)))
        if i * step < 0.7 or x > 2.5:
            continue
        number = 5 if d <= block else 5 - min(4, math.ceil((d - block) / block))
        for j in range(number):
            y = log_range(series[j * block : j * block + d])
            if y is not None:
                points.append((x, y))
    return slope(points)


def log_range(segment: list[float]) -> float | None:
    """log10(R / S) of one segment; S^2 is taken around the mean, which is the same but exact."""
    if min(segment) == max(segment):
        return None
    segment = [value - segment[0] for value in segment]  # else the mean's rounding adds up
    mean = math.fsum(segment) / len(segment)
    walk, lowest, highest = 0.0, 0.0, 0.0
    for value in segment:
        walk += value - mean
        lowest, highest = min(lowest, walk), max(highest, walk)
    variance = math.fsum((value - mean) ** 2 for value in segment) / len(segment)
    return math.log10((highest - lowest) / math.sqrt(variance))


def slope(points: list[tuple[float, float]]) -> float | None:
    if len({x for x, _ in points}) < 2:
        return None
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def wavelet(series: list[float]) -> float | None:
    n = 2 ** int(math.log2(len(series)))
    if n < 64:
        return None
    octaves = int(math.log2(n)) - 1
    approximation = [value - series[0] for value in series[:n]]
    scale = max(map(abs, approximation))
    points = []
    for j in range(1, min(8, octaves - 2) + 1):
        approximation, details = transform(approximation)
        used = details[1 : 2 ** (octaves + 1 - j) - 2]
        mean_square = math.fsum(value * value for value in used) / len(used)
        if j >= 2:
            if math.sqrt(mean_square) <= 1e-13 * scale:  # 0, but for rounding
                return None
            points.append((j, (math.log2(mean_square) + j) / 2))
    return slope(points)


def transform(values: list[float]) -> tuple[list[float], list[float]]:
    """One level of Daubechies' wavelet of two vanishing moments, the series repeating itself."""
    root = math.sqrt(3)
    low = [c / (4 * math.sqrt(2)) for c in (1 - root, 3 - root, 3 + root, 1 + root)]
    high = [-low[3], low[2], -low[1], low[0]]
    n = len(values)
    approximation, details = [], []
    for k in range((n + 3) // 2):
        window = [values[(2 * k + 1 - m) % n] for m in range(4)]
        approximation.append(sum(c * v for c, v in zip(low, window, strict=True)))
        details.append(sum(c * v for c, v in zip(high, window, strict=True)))
    return approximation, details


Point = tuple[Fraction, Fraction]


def probes_usage(rows: list[Row], spreads: Sequence[float] = ()) -> tuple[float, float]:
    """Upstream and downstream usage of rows that are kept and in order."""
    found = waiting(rows, spreads)
    last = rows[-1][0]
    late = [i for i, row in enumerate(rows) if row[0] > last - 600]
    shares = [
        sum(wait[i] > tau for i in late) / len(late)
        for wait, tau in zip(found.waits, found.taus, strict=True)
    ]
    up, down = (((f - 0.15) / 0.85) ** 0.6 if f >= 0.15 else 0.0 for f in shares)
    return up, down


class Waiting(NamedTuple):
    """Queueing delays of both directions in ns, the tau of each; the clock's verdict, the noise."""

    waits: list[list[float]]
    taus: list[float]
    verdict: str
    spread: float


def waiting(rows: list[Row], spreads: Sequence[float] = ()) -> Waiting:
    """spreads: of the installation's windows before this one."""
    sent = unwrap([row[3] for row in rows])
    t = [(each - sent[0]) / 1e9 for each in sent]
    trips = [unwrap([row[b] - row[a] for row in rows]) for a, b in ((3, 4), (5, 6))]
    forth, back = ([float(each - trip[0]) for each in trip] for trip in trips)
    verdict, mended = clocks.repair(clocks.Clocks(t, forth, back), skew)
    gain = skew(t, mended.f, mended.b)
    waits = [above(t, mended.f, gain), above(t, mended.b, -gain)]
    spread = clocks.spread([row[0] for row in rows], waits[1])
    up_tau = min(max(20 * quantile(waits[0], 10), 3e6), 15e6)
    return Waiting(waits, [up_tau, clocks.downlink_tau([*spreads, spread])], verdict, spread)


def skew(t: Sequence[float], forth: Sequence[float], back: Sequence[float]) -> float:
    """How fast the server's clock gains, ns a second, by the direction that is nearer its line."""
    slopes = [slope_below(list(zip(t, trip, strict=True))) for trip in (forth, back)]
    levels = [above(t, *each) for each in zip((forth, back), slopes, strict=True)]
    up_is_better = quantile(levels[0], 25) <= quantile(levels[1], 25)
    return min(max(slopes[0] if up_is_better else -slopes[1], -200e3), 200e3)


def above(t: Sequence[float], trip: Sequence[float], slope: float) -> list[float]:
    """How far each trip lies above the lowest one, along lines of this slope."""
    levels = [value - slope * moment for moment, value in zip(t, trip, strict=True)]
    lowest = min(levels)
    return [level - lowest for level in levels]


def quantile(values: list[float], percent: int) -> float:
    """Linear between neighbours."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def slope_below(floats: list[tuple[float, float]]) -> float:
    """Slope of the lower hull's edge over the mean of x; exact but for the last division."""
    points = [(Fraction(x), Fraction(y)) for x, y in floats]
    total = sum(x for x, _ in points)
    hull: list[Point] = []
    for point in sorted(points):
        if hull and hull[-1][0] == point[0]:
            continue
        while len(hull) > 1 and not turns_left(*hull[-2:], point):
            hull.pop()
        hull.append(point)
    edges = ((a, b) for a, b in itertools.pairwise(hull) if b[0] * len(points) >= total)
    return next((float((b[1] - a[1]) / (b[0] - a[0])) for a, b in edges), 0.0)


def turns_left(a: Point, b: Point, c: Point) -> bool:
    """Whether b lies below the straight line from a to c."""
    return (b[0] - a[0]) * (c[1] - a[1]) > (b[1] - a[1]) * (c[0] - a[0])
