"""Series of results for charts: each result, or means of hours, of a few installations.

Rules: hour by hour through the key of the tables, so what is read grows with the time shown, not
with the number of installations; of an hour whose results became a mean, the mean is taken.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tixd.history.job_record import OUTCOMES, SCALE
from tixd.history.lists import as_posted
from tixd.history.results import NUMBERS
from tixd.history.store import HOUR_SECONDS

#: How many results of an installation that are not posted are listed.
MAX_WITHHELD = 100

#: The end of a window is so long after the middle of its ten minutes, seconds.
MIDDLE_SECONDS = 300

#: Numbers of a series: those of a result but for the other estimate of usage.
SERIES = tuple(name for name in NUMBERS if not name.endswith("usage_alt"))

_Numbers = tuple[float | None, ...]

#: User and installation.
_Key = tuple[int, int]


class Sample(NamedTuple):
    """Results of one installation at one time; numbers in the order of SERIES, None: undefined.

    at: middle of the time, epoch seconds; results: how many; means, lows, highs: of these results,
    with usage as the tix-api gets it; lows and highs are () where only a mean was kept.
    """

    at: float
    results: int
    means: _Numbers
    lows: _Numbers
    highs: _Numbers


def _rows(
    history: sqlite3.Connection,
    columns: str,
    table: str,
    keys: Sequence[_Key],
    begin: float,
    end: float,
    condition: str = "true",
) -> list[tuple[Any, ...]]:
    """Return user, installation and columns of the rows of these keys in the hours of a time."""
    found = history.execute(
        f"WITH RECURSIVE keys (user, installation) AS (VALUES {','.join(['(?,?)'] * len(keys))}),"
        " hours (hour) AS (SELECT ? UNION ALL SELECT hour + 1 FROM hours WHERE hour < ?)"
        f" SELECT keys.user, keys.installation, {columns}"
        f" FROM keys CROSS JOIN hours CROSS JOIN {table} AS r ON r.hour = hours.hour"
        f" AND r.user = keys.user AND r.installation = keys.installation AND {condition}",
        [*itertools.chain(*keys), int(begin) // HOUR_SECONDS, int(end) // HOUR_SECONDS],
    )
    found.row_factory = None
    return found.fetchall()


def _shown(name: str) -> str:
    value = f"r.{name} / {SCALE}.0"
    return as_posted(value) if name.endswith("usage") else value


def series_of(
    history: sqlite3.Connection,
    keys: Sequence[_Key],
    begin: float,
    end: float,
    names: Sequence[str] = SERIES,
) -> dict[_Key, list[Sample]]:
    """Return the samples of installations between two epoch seconds, in order, for each key.

    One for each result, and one for each hour of which only the mean is left.
    """
    if not keys:
        return {}
    columns = ", ".join(map(_shown, names))
    found: dict[_Key, list[Sample]] = {key: [] for key in keys}
    means = set()
    span = keys, begin, end
    for user, number, hour, count, *values in _rows(
        history, f"r.hour, r.results, {columns}", "hour_rows", *span
    ):
        means.add((user, number, hour))
        at = (hour + 0.5) * HOUR_SECONDS
        found[user, number].append(Sample(at, count, tuple(values), (), ()))
    for user, number, hour, second, *values in _rows(
        history, f"r.hour, min(r.timestamp, r.at), {columns}", "result_rows", *span
    ):
        if (user, number, hour) not in means:
            each = tuple(values)
            found[user, number].append(Sample(second - MIDDLE_SECONDS, 1, each, each, each))
    return {
        key: sorted((s for s in samples if begin <= s.at <= end), key=lambda sample: sample.at)
        for key, samples in found.items()
    }


def in_steps(samples: Iterable[Sample], seconds: int) -> list[Sample]:
    """Return one sample for each step of so many seconds in which there are any."""
    found: dict[int, list[Sample]] = {}
    for sample in samples:
        found.setdefault(int(sample.at // seconds), []).append(sample)
    return [_together((step + 0.5) * seconds, inside) for step, inside in found.items()]


def _together(at: float, samples: Sequence[Sample]) -> Sample:
    counts = [sample.results for sample in samples]
    means = (_mean(counts, column) for column in zip(*(s.means for s in samples), strict=True))
    lows: _Numbers = ()
    highs: _Numbers = ()
    if all(sample.lows for sample in samples):
        lows = _of_columns(min, (sample.lows for sample in samples))
        highs = _of_columns(max, (sample.highs for sample in samples))
    return Sample(at, sum(counts), tuple(means), lows, highs)


def _of_columns(of: Callable[..., float | None], rows: Iterable[_Numbers]) -> _Numbers:
    return tuple(of(_known(column), default=None) for column in zip(*rows, strict=True))


def _known(numbers: Iterable[float | None]) -> Iterator[float]:
    return (number for number in numbers if number is not None)


def _mean(counts: Sequence[int], numbers: Sequence[float | None]) -> float | None:
    weighed = [(n, number) for n, number in zip(counts, numbers, strict=True) if number is not None]
    total = sum(count for count, _ in weighed)
    return sum(count * number for count, number in weighed) / total if total else None


class Withheld(NamedTuple):
    """A result that the tix-api does not have: end of its window, when that was known, and why.

    timestamp, at: epoch seconds; outcome: one of job_record.OUTCOMES; words: with the tix-api's.
    """

    timestamp: int
    at: int
    outcome: str
    words: str


def withheld(
    history: sqlite3.Connection, user: int, installation: int, begin: float, end: float
) -> list[Withheld]:
    """Return the results between two epoch seconds that are not posted, the newest first."""
    columns = "r.timestamp, r.at, r.outcome, coalesce(r.words, '')"
    key = [(user, installation)]
    rows = _rows(history, columns, "result_rows", key, begin, end, "r.outcome <> 0")
    found = [Withheld(second, at, OUTCOMES[n], words) for _, _, second, at, n, words in rows]
    return sorted(found, reverse=True)[:MAX_WITHHELD]


class SetAside(NamedTuple):
    """Reports that a job has set aside: when (epoch seconds), how many, and why the last one."""

    at: int
    reports: int
    reason: str


def set_aside(history: sqlite3.Connection, user: int, installation: int) -> list[SetAside]:
    """Return the last times at which reports of an installation were set aside, newest first."""
    rows = history.execute(
        "SELECT at, reports, coalesce(reason, '') FROM set_aside"
        " WHERE user = ? AND installation = ? ORDER BY at DESC",
        [user, installation],
    )
    return [SetAside(*row) for row in rows]
