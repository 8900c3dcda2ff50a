"""Cycles in the history: when each began, what its scan found, and what its jobs did.

The counts of a cycle are those of the results that were written until the next one began.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from tixd.history.store import Part

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cycles (
  begin REAL PRIMARY KEY, number INTEGER, seconds REAL, installations INTEGER, jobs INTEGER,
  reason TEXT, windows INTEGER DEFAULT 0, failures INTEGER DEFAULT 0
);
"""

_WRITE = """
INSERT INTO cycles (begin, number, seconds, installations, jobs, reason) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (begin) DO UPDATE SET seconds = excluded.seconds,
  installations = excluded.installations, jobs = excluded.jobs, reason = excluded.reason
"""


@dataclass(frozen=True, slots=True)
class Cycle:
    """A cycle. begin: epoch seconds; number: as logged; seconds: of its scan.

    installations: those that were due; jobs: how many were given one; reason: why the scan failed.
    None: not known yet.
    """

    begin: float
    number: int
    seconds: float | None = None
    installations: int | None = None
    jobs: int | None = None
    reason: str | None = None


def _write(connection: sqlite3.Connection, entries: Sequence[Cycle]) -> None:
    connection.executemany(_WRITE, map(astuple, entries))


def count_done(connection: sqlite3.Connection, windows: int, failures: int) -> None:
    """Add windows, and jobs that could do nothing, to the cycle that began last."""
    connection.execute(
        "UPDATE cycles SET windows = windows + ?, failures = failures + ?"
        " WHERE begin = (SELECT max(begin) FROM cycles)",
        [windows, failures],
    )


def _expire(connection: sqlite3.Connection, before: int) -> None:
    connection.execute("DELETE FROM cycles WHERE begin < ?", [before])


CYCLES = Part("cycles", _SCHEMA, _write, _expire)


def latest(history: sqlite3.Connection, most: int) -> list[tuple[Any, ...]]:
    """Return the last cycles, the newest first.

    Each: begin, number, seconds of the scan, installations, jobs, installations that were due and
    got no job because theirs was still open, windows, failures, and why the scan failed.
    """
    found = history.execute(
        "SELECT begin, number, seconds, installations, jobs, installations - jobs, windows,"
        " failures, reason FROM cycles ORDER BY begin DESC LIMIT ?",
        [most],
    )
    return [tuple(row) for row in found]


def windows_over_time(
    history: sqlite3.Connection, since: float, step_seconds: float
) -> list[tuple[float, int, int]]:
    """Return windows and failures of the cycles that began in each step since an epoch second.

    Each: the begin of the step, a multiple of it; steps without a cycle are left out.
    """
    found = history.execute(
        "SELECT CAST(begin / ?1 AS INTEGER) * ?1 AS step, sum(windows), sum(failures) FROM cycles"
        " WHERE begin >= ?2 GROUP BY step ORDER BY step",
        [step_seconds, since],
    )
    return [tuple(row) for row in found]
