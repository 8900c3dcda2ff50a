"""The file of the history: opened, checked, set aside where it is damaged, kept within its limits.

Rules: SQLite in WAL mode, so that a kill loses at most what was not committed and readers wait for
nobody; no file of another program is touched; of damaged files the last one is kept.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tixd import errors

#: An open history.
Connection = sqlite3.Connection

#: What a history's name ends in; no other file is ever set aside.
SUFFIX = ".sqlite"

#: The name of the processing roles' file in the state folder.
FILE_NAME = f"history{SUFFIX}"

#: The name of the collector's.
COLLECTOR_FILE_NAME = f"collector{SUFFIX}"

#: What is added to the name of a damaged file.
SET_ASIDE = ".damaged"

#: Files that SQLite keeps beside a database in WAL mode.
_COMPANIONS = ("-wal", "-shm")

#: PRAGMA application_id of our files: "tixd".
APPLICATION_ID = 0x74697864

#: PRAGMA user_version: version of the tables.
FORMAT = 1

#: How long a lock of another process is waited for, seconds.
BUSY_SECONDS = 1.0

#: Steps of SQLite's machine after which it is seen whether a statement takes too long.
CHECKED_STEPS = 10_000

#: Page cache, KiB.
CACHE_KIB = 8192

#: Largest log (WAL) that is left after a checkpoint, bytes.
MAX_LOG_BYTES = 16 * 2**20

#: Share of the size limit from which on the oldest goes: the rest is for the log and free pages.
FULL_SHARE = 0.9

#: At most this many pieces are deleted at a time, so that new entries get their turn.
MAX_PIECES = 4

#: Pages that are given back to the file system at a time, where the limit was lowered.
MAX_PAGES_RETURNED = 2000

#: Seconds of an hour and of a day.
HOUR_SECONDS, DAY_SECONDS = 3600, 86_400

#: Results of SQLite that mean damage.
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

#: What an operator reads of the others.
_WORDS = {
    sqlite3.SQLITE_FULL: "no space is left on the volume; free some",
    sqlite3.SQLITE_BUSY: "another process has locked it; end that process",
    sqlite3.SQLITE_LOCKED: "another process has locked it; end that process",
    sqlite3.SQLITE_READONLY: "it cannot be written to; make file and folder writable",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; make its folder, or make file and folder usable",
    sqlite3.SQLITE_IOERR: "the volume fails; see the kernel's log",
    sqlite3.SQLITE_INTERRUPT: "it takes too long to read; the volume is slow, or the host is busy",
    sqlite3.SQLITE_PERM: "it may not be used; correct the rights of file and folder",
}


@dataclass(frozen=True, slots=True)
class Part:
    """Tables of the history, and what is done with them, in the writer's thread.

    schema: statements that make what is missing; write: puts entries into the tables; expire:
    deletes what is older than an epoch second; make_room: deletes its oldest piece, returns whether
    there was one; summary: what status and metrics show, at an epoch second; facts: about the
    writer, for readers, by name.
    """

    name: str
    schema: str
    write: Callable[[sqlite3.Connection, Sequence[Any]], None]
    expire: Callable[[sqlite3.Connection, int], None]
    make_room: Callable[[sqlite3.Connection], bool] = lambda _: False
    summary: Callable[[sqlite3.Connection, int], Mapping[str, Any]] = lambda *_: {}
    facts: Mapping[str, str] = field(default_factory=dict)


#: The table of the facts of all parts.
_FACTS = "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT)"


@dataclass(frozen=True, slots=True)
class Limits:
    """How many days of history are kept, and how large its file may be, bytes."""

    days: float
    max_bytes: int


def path_of(setting: str, folder: str, name: str = FILE_NAME) -> str:
    """Return the file that the setting names, else the one in the folder; "": there is none.

    >>> path_of("", "/var/lib/tixd"), path_of("/srv/h.sqlite", "/var/lib/tixd"), path_of("", "")
    ('/var/lib/tixd/history.sqlite', '/srv/h.sqlite', '')
    """
    if setting == "off" or not (setting or folder):
        return ""
    return setting or os.path.join(folder, name)


def open_for_writing(path: str, parts: Sequence[Part]) -> sqlite3.Connection:
    """Open the file, made if missing, with the tables of all parts; raises sqlite3.Error.

    Raises errors.Unusable where it belongs to another program or a later tixd, and OSError.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_WRONLY, 0o640))
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _set_up(connection, path)
        for part in parts:
            connection.executescript(f"BEGIN IMMEDIATE; {_FACTS}; {part.schema}; COMMIT")
            with transaction(connection):
                connection.executemany(
                    "INSERT OR REPLACE INTO facts VALUES (?, ?)", part.facts.items()
                )
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, path: str) -> None:
    is_new = not value(connection, "SELECT count(*) FROM sqlite_master")
    if is_new:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    elif value(connection, "PRAGMA application_id") != APPLICATION_ID:
        raise errors.Unusable(f"{path} is a database of another program; name another file")
    elif value(connection, "PRAGMA user_version") > FORMAT:
        raise errors.Unusable(f"{path} was made by a later tixd; name another file or update tixd")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {MAX_LOG_BYTES}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")


def open_for_reading(path: str, busy_seconds: float = 5.0) -> sqlite3.Connection:
    """Open the file as it is, also while a tixd writes to it; rows have names.

    busy_seconds: how long a lock is waited for. Raises errors.NotDone where it cannot be read.
    """
    if not os.path.exists(path):
        raise errors.NotDone(f"{path}: there is no history yet")
    failure: sqlite3.Error | None = None
    # Without a writer, and without rights in the folder, SQLite cannot make the files of its log;
    # where the log is empty, the file alone is all there is.
    modes = ("mode=ro",) if _has_log(path) else ("mode=ro", "mode=ro&immutable=1")
    for mode in modes:
        try:
            connection = sqlite3.connect(
                f"file:{_quoted(path)}?{mode}", uri=True, timeout=busy_seconds
            )
            connection.row_factory = sqlite3.Row
            if value(connection, "PRAGMA application_id") == APPLICATION_ID:
                return connection
            raise errors.NotDone(f"{path} is not a history of tixd")
        except sqlite3.Error as error:
            failure = failure or error
    raise errors.NotDone(f"{path}: {reason(failure or sqlite3.Error())}")


def _has_log(path: str) -> bool:
    try:
        return os.stat(path + "-wal").st_size > 0
    except OSError:
        return False


@contextlib.contextmanager
def reading_briefly(path: str, seconds: float) -> Iterator[Connection]:
    """Open the file for the block, whose statements may take so long; raises errors.NotDone."""
    ends = time.monotonic() + seconds
    with reading(path, BUSY_SECONDS) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > ends, CHECKED_STEPS)
        yield connection


@contextlib.contextmanager
def reading(path: str, busy_seconds: float = 5.0) -> Iterator[Connection]:
    """Open the file for the block; raises errors.NotDone for what is wrong with it."""
    with contextlib.closing(open_for_reading(path, busy_seconds)) as connection:
        try:
            yield connection
        except sqlite3.Error as error:
            raise errors.NotDone(f"{path}: {reason(error)}") from error


def _quoted(path: str) -> str:
    """Return the path as a URI has it."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def value(connection: sqlite3.Connection, statement: str, *arguments: object) -> Any:
    """Return the first value of a statement's first row; None where there is no row."""
    row = connection.execute(statement, arguments).fetchone()
    return row[0] if row else None


# --- what goes wrong -----------------------------------------------------------------------------


def is_damage(error: BaseException) -> bool:
    """Return whether the file is damaged, or holds something else than a database."""
    return isinstance(error, sqlite3.Error) and _code(error) in _DAMAGE


def is_of_the_file(error: BaseException) -> bool:
    """Return whether the file, its folder or its volume has failed, not an entry."""
    if isinstance(error, sqlite3.Error):
        return _code(error) in _WORDS or _code(error) in _DAMAGE
    return isinstance(error, OSError | errors.Unusable)


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def reason(error: BaseException) -> str:
    """Return what went wrong, and what to do, in words."""
    if isinstance(error, errors.Unusable):
        return error.detail
    if isinstance(error, OSError):
        missing = "; make that folder" if error.errno == errno.ENOENT else ""
        return f"{os.strerror(error.errno or 0)}{missing}"
    if is_damage(error):
        return "it is damaged, or no database"
    code = _code(error) if isinstance(error, sqlite3.Error) else 0
    return _WORDS.get(code, str(error))


def set_aside(path: str) -> str:
    """Give a damaged file another name, and return that; raises OSError.

    Raises errors.Unusable for a file that may not be a history at all.
    """
    if not path.endswith(SUFFIX) or not os.path.isfile(path) or os.path.islink(path):
        raise errors.Unusable(f"{path} is not a history; name another file, ending in {SUFFIX}")
    aside = path + SET_ASIDE
    os.replace(path, aside)
    for companion in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            os.replace(path + companion, aside + companion)
    return aside


# --- its size ------------------------------------------------------------------------------------


def size_bytes(path: str) -> int:
    """Return what the file takes on its volume, with its log; 0 where there is none."""
    total = 0
    for name in (path, path + "-wal"):
        with contextlib.suppress(OSError):
            total += os.stat(name).st_size
    return total


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return how much of the file is in use; what was deleted is used again."""
    pages = value(connection, "PRAGMA page_count") - value(connection, "PRAGMA freelist_count")
    return int(pages * value(connection, "PRAGMA page_size"))


def keep_within(
    connection: sqlite3.Connection, parts: Sequence[Part], limits: Limits, now: int
) -> None:
    """Delete what is too old, and the oldest while the file is too large, a few pieces a time."""
    before = now - int(limits.days * DAY_SECONDS)
    for part in parts:
        with transaction(connection):
            part.expire(connection, before)
    full = int(limits.max_bytes * FULL_SHARE)
    for _ in range(MAX_PIECES):
        if used_bytes(connection) <= full or not _make_room(connection, parts):
            break
    if value(connection, "PRAGMA page_count") * value(connection, "PRAGMA page_size") > full:
        connection.execute(f"PRAGMA incremental_vacuum({MAX_PAGES_RETURNED})").fetchall()


def _make_room(connection: sqlite3.Connection, parts: Sequence[Part]) -> bool:
    with transaction(connection):
        return any(part.make_room(connection) for part in parts)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
