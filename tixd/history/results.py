"""Results in the history: raw rows, hourly means, and the latest state of each installation.

Rules: a result's row lies in the hour of its window's end (of its processing, where a client's
clock is ahead), so that the oldest go first; numbers are stored as whole ten-thousandths, and views
show them as they were; a mean is made when the raw rows of its hour go; lists read only the table
with a row for each installation.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from tixd import errors, logs
from tixd.history.cycles import count_done
from tixd.history.job_record import SCALE, STATE, JobRecord, parse_message
from tixd.history.store import DAY_SECONDS, HOUR_SECONDS, Part, value
from tixd.logs import RateLimiter

#: An installation without a result for this long is silent, if it had one before.
SILENT_SECONDS = 1800

#: Or for this many periods, where that is longer.
SILENT_PERIODS = 3

#: One that no job has visited for this long is gone: each has a job at least once an hour.
GONE_SECONDS = 3 * HOUR_SECONDS

#: Windows of an installation in an hour: how many raw rows become one mean.
WINDOWS_AN_HOUR = 6

#: At most this many installations are named where they are counted.
MAX_NAMED = 3

#: How many times of reports being set aside are remembered of an installation.
MAX_SET_ASIDE = 5

#: Columns of numbers, in the order of job_record.RESULT.
NUMBERS = tuple(
    f"{direction}_{name}"
    for direction in ("up", "down")
    for name in ("usage", "quality", "hurst_rs", "hurst_wavelet", "usage_alt")
)

_COLUMNS = ", ".join(NUMBERS)

_SHOWN = ", ".join(f"{name} / {SCALE}.0 AS {name}" for name in NUMBERS)

_OUTCOME = "CASE outcome WHEN 0 THEN 'posted' WHEN 1 THEN 'kept' WHEN 2 THEN 'rejected' END"

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS result_rows (
  hour INTEGER, user INTEGER, installation INTEGER, timestamp INTEGER,
  at INTEGER, outcome INTEGER, words TEXT, asn INTEGER, {_COLUMNS},
  PRIMARY KEY (hour, user, installation, timestamp)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hour_rows (
  hour INTEGER, user INTEGER, installation INTEGER, results INTEGER, {_COLUMNS},
  PRIMARY KEY (hour, user, installation)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS installation_rows (
  user INTEGER, installation INTEGER,
  seen_at INTEGER, reports INTEGER, newest INTEGER,
  kept INTEGER, next_try INTEGER, reason TEXT,
  set_aside INTEGER DEFAULT 0, set_aside_at INTEGER, set_aside_reason TEXT, trouble TEXT,
  timestamp INTEGER, result_at INTEGER, posted_at INTEGER, outcome INTEGER, words TEXT,
  asn INTEGER, {_COLUMNS},
  PRIMARY KEY (user, installation)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS kept_rows ON installation_rows (kept) WHERE kept > 0;
CREATE INDEX IF NOT EXISTS rejected_rows ON result_rows (user, installation) WHERE outcome = 2;
CREATE TABLE IF NOT EXISTS set_aside_rows (
  user INTEGER, installation INTEGER, at INTEGER, count INTEGER, reason TEXT,
  PRIMARY KEY (user, installation, at)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS networks (asn INTEGER PRIMARY KEY, name TEXT);
CREATE VIEW IF NOT EXISTS results AS
  SELECT hour, user, installation, timestamp, datetime(timestamp, 'unixepoch') AS until, at,
    {_OUTCOME} AS outcome, words, asn, networks.name AS as_name, {_SHOWN}
  FROM result_rows LEFT JOIN networks USING (asn);
CREATE VIEW IF NOT EXISTS hours AS
  SELECT hour * {HOUR_SECONDS} AS begin, datetime(hour * {HOUR_SECONDS}, 'unixepoch') AS since,
    user, installation, results, {_SHOWN}
  FROM hour_rows;
CREATE VIEW IF NOT EXISTS set_aside AS
  SELECT user, installation, at, count AS reports, reason FROM set_aside_rows;
CREATE VIEW IF NOT EXISTS installations AS
  SELECT user, installation, seen_at, reports, newest, kept, next_try, reason, set_aside,
    set_aside_at, set_aside_reason, trouble, timestamp, result_at, posted_at,
    {_OUTCOME} AS outcome, words, asn,
    networks.name AS as_name, {_SHOWN}
  FROM installation_rows LEFT JOIN networks USING (asn);
"""

_VALUES = ", ".join(f"?{at}" for at in range(9, 9 + len(NUMBERS)))

#: user, installation, timestamp, at, outcome, words, again, asn, numbers.
_INSERT = f"""
INSERT INTO result_rows (hour, user, installation, timestamp, at, outcome, words, asn, {_COLUMNS})
VALUES (min(?3, ?4) / {HOUR_SECONDS}, ?1, ?2, ?3, ?4, ?5, nullif(?6, ''), ?8, {_VALUES})
ON CONFLICT (hour, user, installation, timestamp)
DO UPDATE SET at = excluded.at, outcome = excluded.outcome, words = excluded.words
"""

#: The row of a result that was kept before lies in an earlier hour if its client's clock is ahead.
_MOVED = f"""
UPDATE OR REPLACE result_rows SET hour = min(?3, ?4) / {HOUR_SECONDS}
WHERE hour IN ({", ".join(f"min(?3, ?4) / {HOUR_SECONDS} - {n}" for n in range(1, 25))})
AND user = ?1 AND installation = ?2 AND timestamp = ?3
"""

#: The same as _INSERT of the last result of an installation that was not kept before.
_LATEST = f"""
INSERT INTO installation_rows
  (user, installation, seen_at, timestamp, result_at, posted_at, outcome, words, asn, {_COLUMNS})
VALUES (?1, ?2, ?4, ?3, ?4, iif(?5 = 0, ?4, NULL), ?5, ?6, ?8, {_VALUES})
ON CONFLICT (user, installation) DO UPDATE SET
  seen_at = max(coalesce(seen_at, 0), excluded.seen_at), result_at = excluded.result_at,
  posted_at = coalesce(excluded.posted_at, posted_at),
  {", ".join(f"{n} = excluded.{n}" for n in ("timestamp", "outcome", "words", "asn", *NUMBERS))}
"""

#: A kept result was posted.
_POSTED = "UPDATE installation_rows SET posted_at = ?4 WHERE user = ?1 AND installation = ?2"

#: user, installation, job_record.STATE.
_STATE = """
INSERT INTO installation_rows (user, installation, seen_at, reports, newest, kept, next_try, reason,
  set_aside, set_aside_at, set_aside_reason, trouble)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, coalesce(?9, 0), iif(?9 > 0, ?3, NULL), ?10, ?11)
ON CONFLICT (user, installation) DO UPDATE SET seen_at = excluded.seen_at,
  reports = coalesce(excluded.reports, reports), newest = coalesce(excluded.newest, newest),
  kept = coalesce(excluded.kept, kept), next_try = excluded.next_try, reason = excluded.reason,
  set_aside = set_aside + excluded.set_aside,
  set_aside_at = coalesce(excluded.set_aside_at, set_aside_at),
  set_aside_reason = coalesce(excluded.set_aside_reason, set_aside_reason),
  trouble = excluded.trouble
"""

#: user, installation, at, count and last reason of what a job has set aside.
_SET_ASIDE = """
INSERT INTO set_aside_rows VALUES (?, ?, ?, ?, ?)
ON CONFLICT (user, installation, at) DO UPDATE SET count = count + excluded.count
"""

#: Forget all but the last ones of an installation.
_SET_ASIDE_LONG_AGO = f"""
DELETE FROM set_aside_rows WHERE user = ?1 AND installation = ?2 AND at <= (
  SELECT at FROM set_aside_rows WHERE user = ?1 AND installation = ?2
  ORDER BY at DESC LIMIT 1 OFFSET {MAX_SET_ASIDE})
"""

_NETWORK = """
INSERT INTO networks VALUES (?1, ?2)
ON CONFLICT (asn) DO UPDATE SET name = excluded.name WHERE name IS NOT excluded.name
"""

#: Places in a row of _INSERT.
_OUTCOME_AT, _AGAIN_AT = 4, 6


def _write(
    limiter: RateLimiter, connection: sqlite3.Connection, entries: Sequence[str | bytes]
) -> None:
    """Write records of worker processes (text), and messages of other hosts (bytes)."""
    jobs = _jobs(entries, limiter)
    rows, latest, posted = [], [], []
    networks: dict[tuple[int, str], None] = {}
    for job in jobs:
        fresh = None
        for result in job.results:
            row = (job.user, job.installation, *result[:6], *result[7:])
            rows.append(row)
            if result[5]:
                networks[result[5], result[6]] = None
            if not row[_AGAIN_AT]:
                fresh = row
            elif row[_OUTCOME_AT] == 0:
                posted.append(row[:4])
        if fresh:
            latest.append(fresh)
    connection.executemany(_MOVED, [row[:4] for row in rows if row[_AGAIN_AT]])
    connection.executemany(_INSERT, rows)
    connection.executemany(_NETWORK, networks)
    states = [(job.user, job.installation, *job.state) for job in jobs if job.state]
    connection.executemany(_STATE, states)
    _write_set_aside(connection, jobs)
    connection.executemany(_LATEST, latest)
    connection.executemany(_POSTED, posted)
    windows = sum(not row[_AGAIN_AT] for row in rows)
    failures = sum(bool(state[-1]) for state in states)
    if windows or failures:
        count_done(connection, windows, failures)


def _write_set_aside(connection: sqlite3.Connection, jobs: Iterable[JobRecord]) -> None:
    found = []
    for job in jobs:
        told = dict(zip(STATE, job.state or (), strict=False))
        if told.get("setAside"):
            row = (told["at"], told["setAside"], told["setAsideReason"])
            found.append((job.user, job.installation, *row))
    if found:
        connection.executemany(_SET_ASIDE, found)
        connection.executemany(_SET_ASIDE_LONG_AGO, {row[:2] for row in found})


def _jobs(entries: Iterable[str | bytes], limiter: RateLimiter) -> list[JobRecord]:
    """Read the entries; what another host sent and is no message is dropped, with a warning."""
    now = time.time()
    own = ",".join(entry for entry in entries if isinstance(entry, str))
    jobs = [JobRecord(*ids, *rest) for ids, *rest in orjson.loads(f"[{own}]")]
    for entry in entries:
        if isinstance(entry, bytes):
            try:
                jobs.append(parse_message(entry, now))
            except errors.BadMessage as error:
                limiter.log(logs.warning, "history_entry_dropped", now=now, reason=error.detail)
    return jobs


def _expire(connection: sqlite3.Connection, before: int) -> None:
    for table in ("result_rows", "hour_rows"):
        connection.execute(f"DELETE FROM {table} WHERE hour < ?", [before // HOUR_SECONDS])
    connection.execute("DELETE FROM installation_rows WHERE seen_at < ?", [before])
    connection.execute("DELETE FROM set_aside_rows WHERE at < ?", [before])


def _make_room(connection: sqlite3.Connection) -> bool:
    """Make means of the oldest hour of results, or delete the oldest hour of means.

    So that both take about half of the file: an hour of results weighs as much as six of means.
    Where neither is left, the installations go that were visited longest ago.
    """
    oldest, newest = _span(connection, "result_rows")
    oldest_mean, newest_mean = _span(connection, "hour_rows")
    if oldest_mean is not None and (
        oldest is None or WINDOWS_AN_HOUR * (newest - oldest) < newest_mean - oldest_mean
    ):
        connection.execute("DELETE FROM hour_rows WHERE hour = ?", [oldest_mean])
        return True
    if oldest is None:
        gone = connection.execute(_FORGET).rowcount > 0
        connection.execute(_FORGET_SET_ASIDE)
        return gone
    means = ", ".join(f"CAST(round(avg({name})) AS INTEGER)" for name in NUMBERS)
    connection.execute(
        f"INSERT OR IGNORE INTO hour_rows SELECT hour, user, installation, count(*), {means} "
        "FROM result_rows WHERE hour = ? GROUP BY user, installation",
        [oldest],
    )
    connection.execute("DELETE FROM result_rows WHERE hour = ?", [oldest])
    return True


#: Installations that go at a time.
_FORGET = """
DELETE FROM installation_rows WHERE (user, installation) IN
  (SELECT user, installation FROM installation_rows ORDER BY seen_at LIMIT 1000)
"""


#: What was set aside of others than those that are left.
_FORGET_SET_ASIDE = """
DELETE FROM set_aside_rows WHERE (user, installation) NOT IN
  (SELECT user, installation FROM installation_rows)
"""


def _span(connection: sqlite3.Connection, table: str) -> tuple[Any, Any]:
    """Return the first and the last hour of a table; min and max alone use its key."""
    return tuple(value(connection, f"SELECT {end}(hour) FROM {table}") for end in ("min", "max"))


# --- what status and metrics show ----------------------------------------------------------------

#: What installations need attention for, as conditions at the epoch seconds of _TIMES. Silent ones
#: are still visited; one that has been silent for more than a day has probably been given up.
_CONDITIONS = {
    "kept": "kept > 0",
    "silent": "result_at < :silent AND seen_at > :gone",
    "silent_day": "result_at < :silent AND result_at > :day AND seen_at > :gone",
    "set_aside": "set_aside_at > :day",
    "blocked": "trouble IS NOT NULL AND seen_at > :gone",
}

_COUNTS = ", ".join(
    f"count(*) FILTER (WHERE {condition}) AS {name}" for name, condition in _CONDITIONS.items()
)


def _summary(silent_seconds: float, connection: sqlite3.Connection, now: int) -> Mapping[str, Any]:
    """Return how many installations need attention, by reason, and the first few.

    Members: installations, results_kept, NAME and NAME_first for each name in _CONDITIONS.
    """
    times = {"silent": now - silent_seconds, "gone": now - GONE_SECONDS, "day": now - DAY_SECONDS}
    row = connection.execute(
        f"SELECT count(*), coalesce(sum(kept), 0), {_COUNTS} FROM installation_rows", times
    ).fetchone()
    found: dict[str, Any] = {"installations": row[0], "results_kept": row[1]}
    for (name, condition), count in zip(_CONDITIONS.items(), row[2:], strict=True):
        found[name] = count
        found[f"{name}_first"] = _first(connection, condition, times) if count else []
    return found


def _first(connection: sqlite3.Connection, condition: str, times: Mapping[str, float]) -> list[str]:
    rows = connection.execute(
        f"SELECT user, installation FROM installation_rows WHERE {condition} LIMIT {MAX_NAMED}",
        times,
    )
    return [f"{user}/{installation}" for user, installation in rows]


def silent_seconds(period_seconds: float) -> float:
    """Return after which time without a result an installation is silent."""
    return max(SILENT_SECONDS, SILENT_PERIODS * period_seconds)


def results_part(period_seconds: float, base: str) -> Part:
    """Return the part of a role whose cycles are this far apart, over the reports in `base`."""
    summary = partial(_summary, silent_seconds(period_seconds))
    facts = {"period_seconds": f"{period_seconds:g}", "reports_base_path": base}
    write = partial(_write, RateLimiter())
    return Part(
        "results", _SCHEMA, write, _expire, make_room=_make_room, summary=summary, facts=facts
    )
