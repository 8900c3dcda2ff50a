"""Usage of a direction: how much of the delay distribution lies far above its mode.

In: delays in ns, one row for each direction or minute. Out: the raw ratio, 0 and up.
Rules: usage = (number of delays > threshold) / (number of delays > mode), with both from the
histogram of equal counts; 0 when no delay exceeds the mode; undefined with fewer than 4 delays.
It can exceed 1 where delays are negative; the payload limits it, the analysis does not.
"""

from __future__ import annotations

import numpy as np

from tixd.analysis.histogram import MIN_VALUES, mode_and_threshold
from tixd.analysis.observations import Floats, Integers


def usage(delays: Floats) -> list[float | None]:
    """Usage of each row of `delays`, shape (r, n), in any order; None with n < 4.

    >>> usage(np.array([[1., 4., 5., 6., 6., 6., 9., 12., 15., 20.]]))   # mode 6, threshold 7.5
    [1.0]
    >>> usage(np.full((1, 9), 3.)), usage(np.ones((1, 3)))
    ([0.0], [None])
    >>> ramp = np.arange(100.)[None]   # ten bins of ten: mode 4, threshold 14
    >>> usage(ramp) == [85 / 95]
    True
    """
    rows, count = delays.shape
    if count < MIN_VALUES:
        return [None] * rows
    return list(usage_of_ordered(np.sort(delays), np.full(rows, count)).tolist())


def usage_of_ordered(ordered: Floats, counts: Integers) -> Floats:
    """Usage of each sorted row, padded with +inf as for `mode_and_threshold`; shape (r,)."""
    mode, threshold = mode_and_threshold(ordered, counts)
    padding = ordered.shape[1] - counts
    above_mode = np.count_nonzero(ordered > mode[:, None], axis=1) - padding
    above_threshold = np.count_nonzero(ordered > threshold[:, None], axis=1) - padding
    return np.where(above_mode > 0, above_threshold / np.maximum(above_mode, 1), 0.0)
