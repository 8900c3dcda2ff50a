"""The observations of a window: one numpy structured array from a report's bytes to the result.

Rows are used as they stand in the messages, so decoding copies nothing. Only kind S counts, exact
duplicates count once, the order is (second, t1, t2, t3, t4, size). Rows nearly always come in that
order already, which is cheaper to check than to sort. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: One packet's record on the wire, 45 bytes, big-endian (client log format of TiX).
#: second: epoch second of reception; kind: b"S" or b"L"; size: bytes of the packet;
#: t1 client sends, t2 server receives, t3 server sends back, t4 client receives: nanoseconds
#: since local midnight of the host that takes the time.
OBSERVATION = np.dtype(
    [
        ("second", ">i8"),
        ("kind", "u1"),
        ("size", ">i4"),
        ("t1", ">i8"),
        ("t2", ">i8"),
        ("t3", ">i8"),
        ("t4", ">i8"),
    ]
)

#: Kind of a short packet.
SHORT = ord("S")

#: Kind of a long packet.
LONG = ord("L")

#: Usage, quality and Hurst are of observations later than this before the last one (TiX).
MEANINGFUL_SECONDS = 600

#: The columns that order observations, the most important first.
_ORDER = ("second", "t1", "t2", "t3", "t4", "size")

#: An array of OBSERVATION rows, shape (n,).
Observations = npt.NDArray[np.void]

#: Native arrays as the analysis uses them.
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The short packets of a window, once each and in order.

    second: epoch seconds, shape (n,), never falling; times: t1, t2, t3, t4 in ns, shape (4, n);
    duplicates: how many exact duplicates were left out.
    """

    second: Integers
    times: Integers
    duplicates: int = 0


def concatenate(parts: Iterable[Observations]) -> Observations:
    """Join the rows of all `parts`; each part's rows lie together in memory.

    By their bytes: numpy.concatenate works out a common dtype for each pair, at 25 times the cost.
    """
    return np.frombuffer(b"".join(part.data for part in parts), OBSERVATION)


def short_packets(observations: Observations) -> Columns:
    """Select the short packets of `observations`, (n,) of OBSERVATION, once each and in order.

    >>> rows = [(7, SHORT, 64, 5, 6, 7, 8), (6, LONG, 64, 4, 5, 6, 7), (6, SHORT, 64, 4, 5, 6, 7)]
    >>> columns = short_packets(np.array([*rows, *rows], OBSERVATION))
    >>> columns.second.tolist(), columns.times.tolist()
    ([6, 7], [[4, 5], [5, 6], [6, 7], [7, 8]])
    """
    short = observations["kind"] == SHORT
    rows = observations if short.all() else observations[short]
    columns = _columns(rows)
    return columns if _in_order(columns) else _sorted_once_each(rows)


def _columns(rows: Observations) -> Columns:
    """Return the native columns of `rows`, in their order."""
    times = np.empty((4, len(rows)), np.int64)
    for column, name in zip(times, ("t1", "t2", "t3", "t4"), strict=True):
        column[:] = rows[name]
    return Columns(second=rows["second"].astype(np.int64), times=times)


def _in_order(columns: Columns) -> bool:
    """Return whether (second, t1) rises from each row to the next: nothing to sort then."""
    second, t1 = columns.second, columns.times[0]
    later = second[1:] > second[:-1]
    tied = second[1:] == second[:-1]
    return bool((later | (tied & (t1[1:] > t1[:-1]))).all())


def _sorted_once_each(rows: Observations) -> Columns:
    """Return the columns of `rows` in order, without exact duplicates."""
    table = np.array([rows[name] for name in _ORDER], np.int64)
    table = table[:, np.lexsort(table[::-1])]
    differs = np.ones(table.shape[1], bool)
    differs[1:] = (table[:, 1:] != table[:, :-1]).any(axis=0)
    second, *times, _ = table[:, differs]
    duplicates = len(rows) - len(second)
    return Columns(second=second, times=np.stack(times), duplicates=duplicates)
