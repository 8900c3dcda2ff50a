"""Usage by mode: how much of the delay distribution lies far above its mode.

This is the default estimator; the other one is delayed_probes.py, and summary.py chooses. The
delays come from clock.py.

usage = (number of delays > threshold) / (number of delays > mode), the raw ratio, 0 and up; 0 where
no delay exceeds the mode; undefined with fewer than 4 delays. It exceeds 1 where delays are
negative: the payload limits it, the analysis does not.

Mode and threshold come from a histogram of equal counts: bins differ in width, not in how many
values they hold. For n sorted values there are b = floor(sqrt(n)) bins of floor(n / b) values each,
and the rest joins the last bin. The middle of a bin is min + floor((max - min) / 2), its density
n * (total width) / (count * width). Source: the TiX time processor. Pure.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from math import isqrt

import numpy as np
import numpy.typing as npt

from tixd.analysis.observations import Floats, Integers

#: Cached tables of bins; whole windows and whole minutes mostly have the same counts.
TABLES = 64

#: Fewest values of which there are two bins; with fewer, no threshold is defined (TiX).
MIN_VALUES = 4


def bin_count(counts: Integers) -> Integers:
    """Count the bins of rows of `counts` values: floor(sqrt(n)), element by element.

    >>> bin_count(np.array([1, 3, 4, 600, 1113])).tolist()
    [1, 1, 2, 24, 33]
    """
    return np.sqrt(counts).astype(np.int64)


def smallest_bin(values: Integers) -> npt.NDArray[np.intp]:
    """Return indices of the values in bin 0, the smallest first; equal ones keep their order.

    values: shape (n,), n >= 1. Result: shape (floor(n / floor(sqrt(n))),).

    >>> smallest_bin(np.array([5, 3, 9, 3, 8, 7, 6])).tolist()
    [1, 3, 0]
    """
    size = len(values) // isqrt(len(values))
    largest = np.partition(values, size - 1)[size - 1]
    candidates = np.flatnonzero(values <= largest)
    return candidates[np.argsort(values[candidates], kind="stable")[:size]]


def mode_and_threshold(ordered: Floats, counts: Integers) -> tuple[Floats, Floats]:
    """Find the mode of each row, and the threshold above which a value is far from it.

    ordered: shape (r, m), each row sorted and, from its count on, filled up with +inf;
    counts: shape (r,), each MIN_VALUES or more. Result: two arrays of shape (r,).

    The mode is the middle of the densest of the first 2 * floor(sqrt(b)) bins (the first of
    equals). The threshold is the middle of bin 1 where that is bin 0, else the mode plus half the
    middle of bin 0.

    >>> row = np.array([[1., 4., 5., 6., 6., 6., 9., 12., 15., 20.]])   # bins 1-5, 6-6, 9-20
    >>> [each.tolist() for each in mode_and_threshold(row, np.array([10]))]
    [[6.0], [7.5]]
    >>> constant = np.full((1, 9), 3.)
    >>> [each.tolist() for each in mode_and_threshold(constant, np.array([9]))]
    [[3.0], [3.0]]
    """
    first, last = _bins(tuple(counts.tolist()))
    row = np.arange(len(counts))
    start = (row * ordered.shape[1])[:, None]
    low, high = ordered.take(start + first), ordered.take(start + last)
    # The densest bin is that of the smallest count * width, which a width of 0 does not spoil.
    sparseness = (last - first + 1) * (high - low)
    densest = sparseness.argmin(axis=1)
    middle = low + np.floor((high - low) / 2)
    mode = middle[row, densest]
    return mode, np.where(densest == 0, middle[:, 1], mode + 0.5 * middle[:, 0])


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Bins of equal counts of n values, as the mode is found in: b of them, in rising order.

    low, high: the least and the largest value of each; density: share of all values for each unit
    of width, inf where all values of a bin are equal; candidates: the mode is that of the densest
    of so many bins, the first ones.
    """

    low: Floats
    high: Floats
    density: Floats
    candidates: int


def histogram(ordered: Floats) -> Histogram:
    """Put sorted values, shape (n,), n >= 1, into bins of equal counts.

    >>> found = histogram(np.array([1., 4., 5., 6., 6., 6., 9., 12., 15., 20.]))
    >>> found.low.tolist(), found.high.tolist(), found.density.round(1).tolist()
    ([1.0, 6.0, 9.0], [5.0, 6.0, 20.0], [0.1, inf, 0.0])
    """
    count = len(ordered)
    bins = isqrt(count)
    first = np.arange(bins) * (count // bins)
    last = np.append(first[1:], count) - 1
    low, high = ordered[first], ordered[last]
    sizes, widths = last - first + 1, high - low
    density = np.full(bins, np.inf)
    np.divide(sizes / count, widths, out=density, where=widths > 0)
    return Histogram(low, high, density, 2 * isqrt(bins))


@functools.lru_cache(TABLES)
def _bins(row_counts: tuple[int, ...]) -> tuple[Integers, Integers]:
    """Find where the bins that may hold the mode begin and end (inclusive), of r rows.

    Result: first and last, both (r, k); a row that has fewer such bins repeats its bin 0, which
    changes nothing, since the first of equals counts.
    """
    counts = np.array(row_counts)[:, None]
    bins = bin_count(counts)
    size = counts // bins
    candidates = 2 * bin_count(bins)
    k = np.arange(candidates.max())
    k = np.where(k < candidates, k, 0)
    first = k * size
    last = np.where(k == bins - 1, counts, first + size) - 1
    return first, last


def usage_by_mode(delays: Floats) -> list[float | None]:
    """Compute the usage of each row of `delays`, (r, n), in any order; None with n < 4.

    >>> usage_by_mode(np.array([[1., 4., 5., 6., 6., 6., 9., 12., 15., 20.]]))   # mode 6, from 7.5
    [1.0]
    >>> usage_by_mode(np.full((1, 9), 3.)), usage_by_mode(np.ones((1, 3)))
    ([0.0], [None])
    >>> ramp = np.arange(100.)[None]   # ten bins of ten: mode 4, threshold 14
    >>> usage_by_mode(ramp) == [85 / 95]
    True
    """
    rows, count = delays.shape
    if count < MIN_VALUES:
        return [None] * rows
    return list(usage_of_ordered(np.sort(delays), np.full(rows, count)).tolist())


def usage_of_ordered(ordered: Floats, counts: Integers) -> Floats:
    """Compute the usage of sorted rows, padded as for `mode_and_threshold`; shape (r,)."""
    mode, threshold = mode_and_threshold(ordered, counts)
    padding = ordered.shape[1] - counts
    above_mode = np.count_nonzero(ordered > mode[:, None], axis=1) - padding
    above_threshold = np.count_nonzero(ordered > threshold[:, None], axis=1) - padding
    return np.where(above_mode > 0, above_threshold / np.maximum(above_mode, 1), 0.0)
