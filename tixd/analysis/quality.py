"""Quality of a direction: the share of minutes that are not congested, 0..1.

Recent observations are grouped by UTC minute; a minute with fewer than 30 is left out. A minute is
congested if its own usage is below 0.5 and the mean of the direction's two Hurst estimates above
0.7. quality = (minutes - congested) / minutes; undefined with no minute left or a Hurst estimate
undefined. Source: the TiX time processor. By another estimator of usage a minute is congested
where that says so, the rest being the same. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tixd.analysis.mode import usage_of_ordered
from tixd.analysis.observations import Floats, Integers

#: Fewest observations of a minute that counts (TiX).
MIN_PER_MINUTE = 30

#: Length of the groups (TiX).
MINUTE_seconds = 60

#: A minute whose usage is below this is congested, if the line's delays are persistent (TiX).
CONGESTED_USAGE = 0.5

#: Delays are persistent where the mean of the Hurst estimates exceeds this (TiX).
PERSISTENT_HURST = 0.7

#: Values that minutes are judged by, (r, n): delays in ns, or which packets were delayed.
Samples = npt.NDArray[Any]

Booleans = npt.NDArray[np.bool_]

#: Says which minutes of each row are congested by their usage, (r, k), from rows, where minutes
#: begin, and their counts.
Rule = Callable[[Samples, Integers, Integers], Booleans]


def congested_by_mode(delays: Floats, first: Integers, counts: Integers) -> Booleans:
    """Say which minutes of each row of `delays`, (r, n), have a usage too low; (r, k)."""
    return minute_usages_by_mode(delays, first, counts) < CONGESTED_USAGE


def minute_usages_by_mode(delays: Floats, first: Integers, counts: Integers) -> Floats:
    """Compute the usage of each minute of each row of `delays`, (r, n); (r, k)."""
    rows, within = len(delays), np.arange(counts.max())
    minute = delays.take(first[:, None] + within, axis=1, mode="clip")
    minute[:, within >= counts[:, None]] = np.inf
    minute.sort(axis=2)
    each = usage_of_ordered(minute.reshape(-1, len(within)), np.tile(counts, rows))
    return each.reshape(rows, -1)


def persistent(hurst: list[float | None]) -> list[bool]:
    """Say of each mean Hurst estimate whether delays are persistent, so that minutes may count."""
    return [h is not None and h > PERSISTENT_HURST for h in hurst]


def quality(
    samples: Samples,
    second: Integers,
    hurst: list[float | None],
    congested: Rule = congested_by_mode,
) -> list[float | None]:
    """Compute the quality of each row of `samples`, shape (r, n).

    second: epoch seconds, shape (n,), never falling; hurst: mean estimate of each row, length r.

    >>> second, flat = np.arange(120, 240), np.ones((2, 120))   # two minutes, usage 0 in each
    >>> quality(flat, second, [0.71, 0.69])
    [0.0, 1.0]
    >>> quality(flat, second, [None, 0.5]), quality(flat[:, :29], second[:29], [0.5, 0.5])
    ([None, 1.0], [None, None])
    """
    first, counts = minutes(second)
    if not len(counts):
        return [None] * len(samples)
    rows = persistent(hurst)
    uncongested = np.full(len(samples), len(counts))
    if any(rows):
        uncongested[rows] -= congested(samples[rows], first, counts).sum(axis=1)
    shares = (uncongested / len(counts)).tolist()
    return [None if h is None else share for h, share in zip(hurst, shares, strict=True)]


def minutes(second: Integers) -> tuple[Integers, Integers]:
    """Find where minutes with enough observations begin, and how many each has; both (k,).

    >>> [each.tolist() for each in minutes(np.array([0] * 40 + [60] * 29 + [179] * 30))]
    [[0, 69], [40, 30]]
    """
    begin = np.arange(second[0] // MINUTE_seconds, second[-1] // MINUTE_seconds + 2)
    edges = np.searchsorted(second, begin * MINUTE_seconds)
    first = edges[:-1]
    counts = edges[1:] - first
    enough = counts >= MIN_PER_MINUTE
    return first[enough], counts[enough]
