"""Compare networks: medians and quartiles of the last results of the installations in each AS."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from statistics import quantiles
from typing import Any, NamedTuple

from tixd.history.lists import as_posted
from tixd.history.store import DAY_SECONDS

#: With fewer installations than this an AS is not compared: a few lines say nothing of a network.
MIN_INSTALLATIONS = 5

#: What is compared.
COMPARED = ("down_usage", "up_usage", "down_quality", "up_quality")


class Quartiles(NamedTuple):
    """Lowest value, quartiles and highest value of a number."""

    low: float
    q1: float
    median: float
    q3: float
    high: float


class Network(NamedTuple):
    """An AS: its installations with a result in a day, and a Quartiles for each of COMPARED.

    None where fewer than two of its installations have a value.
    """

    asn: int
    name: str
    installations: int
    values: Sequence[Quartiles | None]


_STATEMENT = f"""
SELECT asn, coalesce(as_name, ''), {as_posted("down_usage")}, {as_posted("up_usage")},
  down_quality, up_quality
FROM installations
WHERE asn IS NOT NULL AND result_at >= ?
"""


def quartiles(values: Sequence[float]) -> Quartiles | None:
    """Return the quartiles of at least two values, interpolated between them; else None.

    >>> quartiles([0.0, 0.5, 1.0])
    Quartiles(low=0.0, q1=0.25, median=0.5, q3=0.75, high=1.0)
    """
    if len(values) < 2:
        return None
    ordered = sorted(values)
    q1, median, q3 = quantiles(ordered, n=4, method="inclusive")
    return Quartiles(ordered[0], q1, median, q3, ordered[-1])


def networks(history: sqlite3.Connection, now: float) -> list[Network]:
    """Return the networks with at least MIN_INSTALLATIONS, the worst first.

    The worst has the lowest median of quality, of the worse direction; of equal ones the busiest.
    """
    rows = history.execute(_STATEMENT, [now - DAY_SECONDS])
    rows.row_factory = None
    found: dict[int, list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    compared = [_network(lines) for lines in found.values() if len(lines) >= MIN_INSTALLATIONS]
    return sorted(compared, key=_badness)


def _network(rows: Sequence[tuple[Any, ...]]) -> Network:
    [asn, *_], [name, *_], *columns = zip(*rows, strict=True)
    values = [quartiles([v for v in column if v is not None]) for column in columns]
    return Network(asn, name, len(rows), values)


def _badness(network: Network) -> tuple[float, float, int]:
    medians = [each.median if each else None for each in network.values]
    by_name = dict(zip(COMPARED, medians, strict=True))
    qualities = [by_name["down_quality"], by_name["up_quality"]]
    known = [quality for quality in qualities if quality is not None]
    busiest = max(by_name["down_usage"] or 0.0, by_name["up_usage"] or 0.0)
    return min(known, default=2.0), -busiest, network.asn
