"""The segments that R/S analysis cuts a series into, and least-squares slopes.

A series is cut into five equal blocks. For each lag, one segment of that many values starts at the
beginning of every block from which it does not run past the last one. The lags are evenly spread on
a logarithmic scale. Index tables to work on all segments at once are made once for a length.
Source: fArma's rsFit, after Taqqu, Teverovsky, Willinger (1995). Pure.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tixd.analysis.observations import Floats

#: Blocks of a series; each starts one segment of every lag (fArma).
BLOCKS = 5

#: Equal steps of log10 from 1 to the length of the series (fArma).
LAG_STEPS = 50

#: log10 of the shortest lag, in values (fArma).
MIN_LOG10_LAG = 0.7

#: log10 of the longest lag (fArma).
MAX_LOG10_LAG = 2.5

#: Cached tables, by length of series; lengths are powers of 2, and a line has few of them.
TABLES = 8

_Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Places of the segments of a series: s segments, p values in all of them, 5 starts.

    windows: (5, longest) the values that follow each start; their sums, flattened, are what the
    rest points into. Of each segment, (s,): where it ends; its lag; x = log10 of that, and what it
    weighs in the slope; where it is first among the p. Of each value in it, (p,): where its sum
    lies (inner), and its step 0, 1.. lag - 1.
    """

    windows: _Indices
    end: _Indices
    lag: _Indices
    x: Floats
    weights: Floats
    inner: _Indices
    step: Floats
    first: _Indices


@functools.lru_cache(TABLES)
def segments_of(length: int) -> Segments | None:
    """Find the segments of a series of `length` values; None with fewer than two lags."""
    block = length // BLOCKS
    found = [(j, lag, x) for lag, x in _lags(length) for j in range(_starts(lag, block))]
    x = np.array([x for _, _, x in found])
    if all_equal(x):
        return None
    start, lags = np.array([(j, lag) for j, lag, _ in found]).T
    longest = int(lags.max())
    begin = start * (longest + 1)
    first = np.cumsum(lags) - lags
    owner = np.repeat(np.arange(len(lags)), lags)
    step = np.arange(lags.sum()) - first[owner]
    windows = np.arange(BLOCKS)[:, None] * block + np.arange(longest)
    return Segments(
        windows=np.minimum(windows, length - 1),
        end=begin + lags,
        lag=lags,
        x=x,
        weights=slope_weights(x),
        inner=begin[owner] + step,
        step=step.astype(np.float64),
        first=first,
    )


def _lags(length: int) -> list[tuple[int, float]]:
    """Return the lags of a series of `length` values, and log10 of each for the regression.

    The segments have the lag rounded up, the regression has it rounded down.

    >>> lags = _lags(10)   # from 10^0.70 to 10^0.98
    >>> [(lag, round(10**x)) for lag, x in (lags[0], lags[5], lags[-1])]
    [(6, 5), (7, 6), (10, 9)]
    """
    step = math.log10(length) / LAG_STEPS
    lags = []
    for i in range(1, LAG_STEPS):
        # math.pow is exact where the result is a whole number (16 for 256), numpy's need not be
        lag = math.pow(10, i * step)
        x = math.log10(math.floor(lag))
        if i * step >= MIN_LOG10_LAG and x <= MAX_LOG10_LAG:
            lags.append((math.ceil(lag), x))
    return lags


def _starts(lag: int, block: int) -> int:
    """Count the blocks with room for a segment of `lag` values from their start on.

    >>> [_starts(lag, 100) for lag in (100, 101, 200, 201, 499, 500)]
    [5, 4, 4, 3, 1, 1]
    """
    if lag <= block:
        return BLOCKS
    return BLOCKS - min(BLOCKS - 1, math.ceil((lag - block) / block))


def all_equal(x: Floats) -> bool:
    """Return whether there are no two different values, so that no line has a slope."""
    return not (x != x[:1]).any()


def slope_weights(x: Floats) -> Floats:
    """Return the weights of values at `x` in a least-squares slope: slope = weights @ y.

    >>> slope_weights(np.array([1.0, 2.0, 3.0])).tolist()
    [-0.5, 0.0, 0.5]
    """
    centred: Floats = x - x.mean()
    weights: Floats = centred / (centred @ centred)
    return weights
