"""Hurst exponent of a series, by rescaled range and by wavelets.

Estimates are returned as they come, also below 0 or above 1; None where undefined. The exponent is
0.5 for independent values and nears 1 for persistent ones. The estimators and their constants are
those of Taqqu, Teverovsky and Willinger ("Estimators for long-range dependence: an empirical
study", Fractals 1995), as in R's fArma. Pure.

Means over 50 series of white noise, and of fractional Gaussian noise of H = 0.8 (made from it by
Cholesky from the covariance); single series of this length scatter by about 0.1:

>>> white = np.random.default_rng(1).standard_normal((50, 1024))
>>> [round(float(np.mean(estimate(white))), 2) for estimate in (rescaled_range, wavelet)]
[0.55, 0.46]
>>> k = np.arange(1024.0)
>>> covariance = ((k + 1) ** 1.6 - 2 * k**1.6 + abs(k - 1) ** 1.6) / 2
>>> root = np.linalg.cholesky(covariance[abs(np.subtract.outer(range(1024), range(1024)))])
>>> [round(float(np.mean(estimate(white @ root.T))), 2) for estimate in (rescaled_range, wavelet)]
[0.74, 0.77]
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import pywt

from tixd.analysis.observations import Floats
from tixd.analysis.segments import TABLES, Segments, all_equal, segments_of, slope_weights

#: Daubechies' wavelet with two vanishing moments (fArma).
WAVELET = pywt.Wavelet("db2")

#: Fewest values for the wavelet estimate (TiX).
MIN_WAVELET_VALUES = 64

#: First octave of the slope, the finest being 1 (fArma).
FIRST_OCTAVE = 2

#: Last octave of the slope (fArma).
LAST_OCTAVE = 8

#: A mean square below this share of all values' squares is rounding of a 0: transforming values of
#: size 1 errs by less than 1e-14 (measured; a ramp of 65,536 values has 8e-11).
ROUNDING = 1e-28


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Points that an estimate comes from, both (s,), and the slope of the line through them.

    slope: the estimate; None where it is undefined.
    """

    x: Floats
    y: Floats
    slope: float | None

    def line(self, x: Floats) -> Floats:
        """Return the heights of the fitted line, which goes through the mean of the points."""
        slope = math.nan if self.slope is None else self.slope
        line: Floats = self.y.mean() + slope * (x - self.x.mean())
        return line


def rescaled_range_fits(series: Floats) -> list[Fit]:
    """Return log10(R / S) over log10(d) of each row of `series`, (r, n), as `rescaled_range`."""
    segments = segments_of(series.shape[1])
    if segments is None:
        return [Fit(np.empty(0), np.empty(0), None) for _ in series]
    fits = []
    slopes = rescaled_range(series)
    for r, v, slope in zip(*_range_and_variance(series, segments), slopes, strict=True):
        varied = r > 0
        fits.append(Fit(segments.x[varied], _log_ratio(r[varied], v[varied]), slope))
    return fits


def rescaled_range(series: Floats) -> list[float | None]:
    """Estimate H of each row of `series`, shape (r, n), by R/S.

    For lags d spread evenly on a logarithmic scale, R = range of the cumulative deviation from
    the segment's mean, S = standard deviation; H = least-squares slope of log10(R / S) on
    log10(d) over all segments. A segment of R = 0 is dropped. None: a constant series, or fewer
    than two different lags.

    >>> ramp, alternating = np.arange(512.0), np.arange(512) % 2
    >>> [round(h, 3) for h in rescaled_range(np.array([ramp, alternating]))]
    [0.959, 0.057]
    >>> rescaled_range(np.ones((1, 512))), rescaled_range(np.ones((1, 7)))
    ([None], [None])
    """
    segments = segments_of(series.shape[1])
    if segments is None:
        return [None] * len(series)
    spread, variance = _range_and_variance(series, segments)
    if spread.all():
        return list((_log_ratio(spread, variance) @ segments.weights).tolist())
    return [_slope(r, v, segments) for r, v in zip(spread, variance, strict=True)]


def _range_and_variance(series: Floats, segments: Segments) -> tuple[Floats, Floats]:
    """Compute R and S^2 of each segment of each row, both (r, s).

    The value at a segment's start is subtracted first. So a constant segment has R = 0 and
    S^2 = 0 exactly, any other has S^2 > 0 however far from 0 its values lie, and the case of
    R > 0 with S^2 <= 0 (y = log10 R), which the original has from rounding, cannot come up.
    """
    rows = len(series)
    values = series.take(segments.windows, axis=1)
    values -= values[:, :, :1].copy()
    sums = _sums(values).reshape(rows, -1)
    squares = _sums(values * values).reshape(rows, -1)
    mean = sums.take(segments.end, axis=1) / segments.lag
    variance = squares.take(segments.end, axis=1) / segments.lag - mean * mean
    deviation, trend = _work_arrays(rows, len(segments.inner))
    sums.take(segments.inner, axis=1, out=deviation, mode="clip")
    deviation -= np.multiply(mean.repeat(segments.lag, axis=1), segments.step, out=trend)
    highest = np.maximum.reduceat(deviation, segments.first, axis=1)
    lowest = np.minimum.reduceat(deviation, segments.first, axis=1)
    return highest - lowest, variance


@functools.lru_cache(TABLES)
def _work_arrays(rows: int, length: int) -> tuple[Floats, Floats]:
    """Cache two arrays to work in: new ones of this size cost more than the work in them."""
    return np.empty((rows, length)), np.empty((rows, length))


def _sums(values: Floats) -> Floats:
    """Sum the first 0, 1.. n of `values`, (r, 5, n), along the last axis; (r, 5, n + 1)."""
    sums = np.zeros((*values.shape[:2], values.shape[2] + 1))
    np.cumsum(values, axis=2, out=sums[:, :, 1:])
    return sums


def _log_ratio(spread: Floats, variance: Floats) -> Floats:
    """Compute log10(R / S)."""
    return np.log10(spread) - np.log10(variance) / 2


def _slope(spread: Floats, variance: Floats, segments: Segments) -> float | None:
    """Fit the slope of one row's log10(R / S) over its segments with R > 0; each (s,)."""
    varied = spread > 0
    x = segments.x[varied]
    if all_equal(x):
        return None
    return float(slope_weights(x) @ _log_ratio(spread[varied], variance[varied]))


def wavelet(series: Floats) -> list[float | None]:
    """Estimate H of each row of `series`, shape (r, n), by wavelets of its first 2^floor(log2 n).

    H = slope of (log2(mean square of the details of octave j) + j) / 2 on j.
    None: fewer than 64 values, or an octave without any detail, as constant series have.

    >>> ramp, alternating = np.arange(512.0), np.arange(512) % 2   # no detail but in octave 1
    >>> [h and round(h, 3) for h in wavelet(np.array([ramp, alternating]))]
    [1.901, None]
    >>> wavelet(np.ones((1, 512))), wavelet(np.ones((1, 63)))
    ([None], [None])
    """
    length = 1 << (series.shape[1].bit_length() - 1)
    if length < MIN_WAVELET_VALUES:
        return [None] * len(series)
    heights = (_octave_heights(row[:length]) for row in series)
    return [_octave_slope(each) if each else None for each in heights]


def wavelet_fits(series: Floats) -> list[Fit]:
    """Return the heights of the octaves of each row of `series`, (r, n), as `wavelet`."""
    length = 1 << (series.shape[1].bit_length() - 1)
    enough = length >= MIN_WAVELET_VALUES
    found = [_octave_heights(row[:length]) if enough else [] for row in series]
    return [
        Fit(FIRST_OCTAVE + np.arange(0.0, len(each)), np.array(each), slope)
        for each, slope in zip(found, wavelet(series), strict=True)
    ]


def _octave_heights(row: Floats) -> list[float]:
    """Return (log2(mean square of the details) + j) / 2 of each octave j that is used.

    row: of 64 values or more, their number a power of 2. Empty where an octave has no detail.
    """
    octaves = len(row).bit_length() - 2
    last = min(LAST_OCTAVE, octaves - 2)
    used = range(FIRST_OCTAVE, last + 1)
    values = row - row[0]  # what they all share is no detail
    details = pywt.wavedec(values, WAVELET, mode="periodic", level=last)[:0:-1]
    energy = [_mean_square(details[j - 1], octaves - j) for j in used]
    if min(energy) <= ROUNDING * float(values @ values):
        return []
    return [(math.log2(each) + j) / 2 for j, each in zip(used, energy, strict=True)]


def _octave_slope(heights: list[float]) -> float:
    """Fit the slope of the heights of octaves on their numbers."""
    return float(_octave_weights(FIRST_OCTAVE + len(heights) - 1) @ heights)


@functools.lru_cache(LAST_OCTAVE)
def _octave_weights(last: int) -> Floats:
    """Return the weights of the octaves that are used, up to `last`."""
    return slope_weights(np.arange(FIRST_OCTAVE, last + 1.0))


def _mean_square(details: Floats, scale: int) -> float:
    """Compute the mean square of the details that the series' ends do not touch."""
    inner = details[1 : 2 ** (scale + 1) - 2]
    return float(inner @ inner) / len(inner)
