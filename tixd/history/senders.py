"""Senders in the history of a collector: who sent what when, and what was not taken, and why.

Rules: senders choose their names, so a name is stored cut and escaped, and at most MAX_SENDERS are
kept: those go first of which no bundle was ever taken, then those that were seen longest ago. One
that gives no name is told by its address. Counts are by hour, and in all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tixd import bounded
from tixd.history.store import HOUR_SECONDS, Part, value

#: Most senders in the file.
MAX_SENDERS = 100_000

#: Most senders that are seen between two commits.
MAX_UNWRITTEN = 10_000

#: Longest name that is stored, characters.
MAX_NAME = 300

#: Longest reason that is stored, characters.
MAX_REASON = 300

#: A sender that sent nothing for so long is silent, where nobody says otherwise.
SILENT_SECONDS = 2 * HOUR_SECONDS

#: Most senders that status names, of each kind.
MAX_NAMED = 3

#: Longest name that it shows, characters.
MAX_SHOWN = 60

#: Records and handshakes that are counted by type.
TYPES = ("JobUsageRecord", "StorageElement", "StorageElementRecord", "ProbeDetails")

#: Answers that are counted each by itself; 0: the sender disconnected.
CODES = (0, 200, 400, 408, 413, 415, 500, 503)

#: Answers after which a bundle comes again; after the others its sender must correct it.
REPEATED = (0, 408, 500, 503)

#: Names of these counts.
_ANSWERS = {code: f"code_{code}" for code in CODES}

#: What is counted by hour.
HOURLY = ("taken", "refused", "not_taken", *TYPES)

#: What is counted in all.
IN_ALL = ("pings", *_ANSWERS.values(), "code_other", *TYPES)


@dataclass(slots=True)
class _Seen:
    """A sender since the last commit; times are epoch seconds."""

    address: str = ""
    first: float = 0.0
    last: float = 0.0
    taken_at: float | None = None
    failed_at: float | None = None
    code: int | None = None
    reason: str | None = None
    counts: dict[str, int] = field(default_factory=dict)


#: A sender in one hour: the hour since the epoch, its name, and its address where it gives no name.
_Key = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class Batch:
    """What was seen since the last commit, and how many senders were dropped."""

    seen: Mapping[_Key, _Seen]
    dropped: int = 0


class SenderLog:
    """Counts what senders send until the history takes it."""

    def __init__(self) -> None:
        self._seen: dict[_Key, _Seen] = {}
        self._dropped = 0

    def add(
        self,
        name: str,
        address: str,
        code: int,
        reason: str,
        records: Mapping[str, int],
        *,
        is_ping: bool,
        now: float,
    ) -> None:
        """Count a request that was answered with this code; reason: why not with 200."""
        now = round(now, 3)
        key = int(now) // HOUR_SECONDS, _plain(name, MAX_NAME), "" if name else address
        seen = self._seen.pop(key, None) or _Seen(first=now)
        self._seen[key] = seen  # the latest is the last
        seen.address = address
        seen.last = now
        outcome = _outcome(code, is_ping=is_ping)
        counted = {_ANSWERS.get(code, "code_other"): 1, outcome: 1}
        if outcome == "taken":
            seen.taken_at = now
            counted |= records
        elif code != 200:
            seen.failed_at = now
            seen.code = code
            seen.reason = _plain(reason, MAX_REASON)
        for what, number in counted.items():
            seen.counts[what] = seen.counts.get(what, 0) + number
        if len(self._seen) > MAX_UNWRITTEN:
            bounded.forget_oldest(self._seen, MAX_UNWRITTEN)
            self._dropped += 1

    def take(self) -> Batch | None:
        """Return what was seen since the last call; None: nothing."""
        if not self._seen:
            return None
        batch = Batch(self._seen, self._dropped)
        self._seen = {}
        self._dropped = 0
        return batch


def _outcome(code: int, *, is_ping: bool) -> str:
    if code == 200:
        return "pings" if is_ping else "taken"
    return "not_taken" if code in REPEATED else "refused"


def _plain(text: str, most: int) -> str:
    """Return a text from outside that neither terminal nor editor obeys, and that is not long."""
    return bounded.printable(text[:most])[:most]


def _entry(hour: int, name: str, host: str, seen: _Seen) -> Mapping[str, Any]:
    return {
        **dict.fromkeys((*HOURLY, *IN_ALL), 0),
        **seen.counts,
        "hour": hour,
        "name": name,
        "host": host,
        "address": seen.address,
        "first": seen.first,
        "last": seen.last,
        "taken_at": seen.taken_at,
        "failed_at": seen.failed_at,
        "failed_code": seen.code,
        "reason": seen.reason,
    }


# --- in the file ---------------------------------------------------------------------------------


def _each(names: Iterable[str], form: str) -> str:
    return ", ".join(form.format(name) for name in names)


#: Columns in which the latest value that there is stays.
_LATEST = ("taken_at", "failed_at", "failed_code", "failed_reason")

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS senders (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, host TEXT, address TEXT,
  first_seen REAL, last_seen REAL, taken_at REAL,
  failed_at REAL, failed_code INTEGER, failed_reason TEXT,
  {_each(IN_ALL, "{} INTEGER")}, UNIQUE (name, host)
);
CREATE TABLE IF NOT EXISTS sender_hours (
  sender INTEGER, hour INTEGER, {_each(HOURLY, "{} INTEGER")}, PRIMARY KEY (sender, hour)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sender_hours_by_hour ON sender_hours (hour);
CREATE INDEX IF NOT EXISTS senders_seen ON senders (last_seen) WHERE taken_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS senders_failing ON senders (last_seen) WHERE failed_at > taken_at;
CREATE TABLE IF NOT EXISTS senders_dropped (id INTEGER PRIMARY KEY, count INTEGER);
"""

_SENDER = f"""
INSERT INTO senders (name, host, address, first_seen, last_seen, taken_at, failed_at, failed_code,
  failed_reason, {_each(IN_ALL, "{}")})
VALUES (:name, :host, :address, :first, :last, :taken_at, :failed_at, :failed_code, :reason,
  {_each(IN_ALL, ":{}")})
ON CONFLICT (name, host) DO UPDATE SET address = excluded.address,
  first_seen = min(first_seen, excluded.first_seen),
  last_seen = max(last_seen, excluded.last_seen),
  {_each(_LATEST, "{0} = coalesce(excluded.{0}, {0})")},
  {_each(IN_ALL, "{0} = {0} + excluded.{0}")}
"""

_HOUR = f"""
INSERT INTO sender_hours (sender, hour, {_each(HOURLY, "{}")})
SELECT id, :hour, {_each(HOURLY, ":{}")} FROM senders WHERE name = :name AND host = :host
ON CONFLICT (sender, hour) DO UPDATE SET {_each(HOURLY, "{0} = {0} + excluded.{0}")}
"""

_SURPLUS = "SELECT id FROM senders ORDER BY taken_at IS NOT NULL, last_seen LIMIT ?"

_DROPPED = """
INSERT INTO senders_dropped VALUES (0, ?)
ON CONFLICT (id) DO UPDATE SET count = count + excluded.count
"""


def _write(connection: sqlite3.Connection, batches: Sequence[Batch]) -> None:
    entries = [_entry(*key, seen) for batch in batches for key, seen in batch.seen.items()]
    connection.executemany(_SENDER, entries)
    connection.executemany(_HOUR, entries)
    surplus = value(connection, "SELECT count(*) FROM senders") - MAX_SENDERS
    if surplus > 0:
        _delete(connection, connection.execute(_SURPLUS, [surplus]).fetchall())
    dropped = sum(batch.dropped for batch in batches) + max(0, surplus)
    if dropped:
        connection.execute(_DROPPED, [dropped])


def _delete(connection: sqlite3.Connection, ids: Sequence[Sequence[int]]) -> None:
    connection.executemany("DELETE FROM sender_hours WHERE sender = ?", ids)
    connection.executemany("DELETE FROM senders WHERE id = ?", ids)


def _expire(connection: sqlite3.Connection, before: int) -> None:
    _delete(
        connection,
        connection.execute("SELECT id FROM senders WHERE last_seen < ?", [before]).fetchall(),
    )
    connection.execute("DELETE FROM sender_hours WHERE hour < ?", [before // HOUR_SECONDS])


def _make_room(connection: sqlite3.Connection) -> bool:
    """Delete the oldest hour; senders themselves are few enough to stay."""
    oldest = value(connection, "SELECT min(hour) FROM sender_hours")
    if oldest is None or oldest == value(connection, "SELECT max(hour) FROM sender_hours"):
        return False
    connection.execute("DELETE FROM sender_hours WHERE hour = ?", [oldest])
    return True


#: What status says: senders of which a bundle was taken once, and that are silent since ?1, or
#: whose last bundle was not taken.
_ATTENTION = {
    "senders_silent": "FROM senders WHERE taken_at IS NOT NULL AND last_seen < ?1",
    "senders_failing": "FROM senders WHERE failed_at > taken_at AND last_seen >= ?1",
}


def _summary(connection: sqlite3.Connection, now: int) -> Mapping[str, Any]:
    """Return how many senders need attention, with the names of those that were seen last."""
    found: dict[str, Any] = {}
    for name, which in _ATTENTION.items():
        before = [now - SILENT_SECONDS]
        found[name] = value(connection, f"SELECT count(*) {which}", *before)
        last = f"SELECT name, address {which} ORDER BY last_seen DESC LIMIT {MAX_NAMED}"
        rows = connection.execute(last, before).fetchall()
        found[f"{name}_first"] = [bounded.text(row[0] or row[1], MAX_SHOWN) for row in rows]
    return found


SENDERS = Part("senders", _SCHEMA, _write, _expire, make_room=_make_room, summary=_summary)


# --- what commands and pages show ----------------------------------------------------------------

#: What is wrong with a sender: it sent nothing since :silent, or its last bundle was not taken.
_STATE = """
CASE WHEN last_seen < :silent THEN 'silent'
  WHEN coalesce(failed_at, 0) > coalesce(taken_at, 0) THEN 'failing' ELSE '' END
"""

#: What needs attention first: failing, then silent, those first that stopped last; then by name.
#: Among them those go behind of which nothing was ever taken, because anybody can be one.
_ORDER = """
state = '', state, taken_at IS NULL, iif(state = 'silent', -last_seen, 0), name
"""

#: Counts of a sender that `read` yields: by hour, and in all.
COUNTS = (*HOURLY, *IN_ALL[: -len(TYPES)])

#: What `read` yields of a sender.
COLUMNS = (
    *("sender", "address", "state", "first_seen", "last_seen", "taken_at"),
    *("failed_at", "failed_code", "failed_reason"),
    *COUNTS,
)

#: Senders of `which`, with their counts from :hour on.
_READ = f"""
SELECT name, address, {", ".join(COLUMNS[2 : -len(COUNTS)])},
  {_each(HOURLY, "coalesce(sum(hours.{0}), 0)")}, {", ".join(COUNTS[len(HOURLY) :])}
FROM (SELECT *, {_STATE} AS state FROM senders WHERE {{which}} {{first}})
  LEFT JOIN sender_hours AS hours ON sender = id AND hour >= :hour
GROUP BY id ORDER BY {_ORDER}
"""

#: Senders in whose name or address :search stands, in capitals or not.
_FOUND = "(:search = '' OR instr(lower(name), lower(:search)) OR instr(address, :search))"

#: The sender of this name, or without a name that of this address.
_ONE = "name = :name AND host = iif(:name = '', :address, '')"


def read(
    connection: sqlite3.Connection,
    since: float,
    silent_before: float,
    most: int | None = None,
    *,
    skip: int = 0,
    search: str = "",
) -> list[dict[str, Any]]:
    """Return senders as COLUMNS name it, those first that need attention, at most so many.

    Times are epoch seconds. Counts are those since the hour of `since`; `pings` and `code_...` are
    those since the sender was first seen. search: a part of the name or the address; skip: how many
    of the first are left out.
    """
    first = f"ORDER BY {_ORDER} LIMIT {most} OFFSET {skip}" if most is not None else ""
    values = {"hour": _hour(since), "silent": silent_before, "search": search}
    return _rows(connection, _READ.format(which=_FOUND, first=first), values)


def read_one(
    connection: sqlite3.Connection, name: str, address: str, since: float, silent_before: float
) -> dict[str, Any] | None:
    """Return the sender of this name, or that without a name at this address; None: not known.

    As `read` does.
    """
    values = {"hour": _hour(since), "silent": silent_before, "name": name, "address": address}
    found = _rows(connection, _READ.format(which=_ONE, first=""), values)
    return found[0] if found else None


def _rows(
    connection: sqlite3.Connection, statement: str, values: Mapping[str, object]
) -> list[dict[str, Any]]:
    cursor = connection.cursor()
    cursor.row_factory = None
    found = cursor.execute(statement, values)
    return [dict(zip(COLUMNS, row, strict=True)) for row in found]


def _hour(moment: float) -> int:
    return int(moment) // HOUR_SECONDS


def states(
    connection: sqlite3.Connection, silent_before: float, search: str = ""
) -> dict[str, int]:
    """Return how many senders that `search` finds are in each state; "": nothing is wrong."""
    statement = f"SELECT {_STATE} AS state, count(*) FROM senders WHERE {_FOUND} GROUP BY state"
    values = {"silent": silent_before, "search": search}
    return dict(map(tuple, connection.execute(statement, values)))


def hours(
    connection: sqlite3.Connection, since: float, sender: tuple[str, str] | None = None
) -> dict[int, dict[str, int]]:
    """Return the counts of HOURLY of all senders, by the epoch second of their hour.

    since: from the hour of this epoch second on; an hour without requests is missing. sender: name
    and address of one, as `read_one` takes them.
    """
    one = f"AND sender = (SELECT id FROM senders WHERE {_ONE})" if sender else ""
    statement = (
        f"SELECT hour, {_each(HOURLY, 'sum({})')} FROM sender_hours"
        f" WHERE hour >= :hour {one} GROUP BY hour ORDER BY hour"
    )
    name, address = sender or ("", "")
    values = {"hour": _hour(since), "name": name, "address": address}
    found = connection.execute(statement, values)
    return {hour * HOUR_SECONDS: dict(zip(HOURLY, counts, strict=True)) for hour, *counts in found}


def answers(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how often each of `code_...` was answered, since the senders were first seen."""
    names = tuple(name for name in IN_ALL if name.startswith("code_"))
    found = connection.execute(f"SELECT {_each(names, 'coalesce(sum({}), 0)')} FROM senders")
    return dict(zip(names, found.fetchone(), strict=True))


def dropped(connection: sqlite3.Connection) -> int:
    """Return how many senders were dropped because there were too many."""
    return int(value(connection, "SELECT count FROM senders_dropped") or 0)
