"""Read the two tables of the original service's database; the only user of pymysql.

The URL is `mysql://user[:password]@host[:port]/database`. Rows are fetched as they come, so a full
table is not held twice. No message shows the password.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql
from pymysql.cursors import Cursor, SSCursor

from tixd import errors
from tixd.asn.formats import FORMATS, FormatName
from tixd.asn.sources import Entries, Progress

#: Default port of MySQL and MariaDB.
PORT = 3306

#: Longest time to connect.
CONNECT_SECONDS = 10

#: Longest silence of the server.
SILENCE_SECONDS = 300

#: Rows between two reports of progress.
_ROWS_BETWEEN_REPORTS = 20_000

#: The two tables: name, columns, and the format whose fields these are.
_TABLES: tuple[tuple[str, str, FormatName], ...] = (
    ("routerviews", "ip_router, mask, noderouter", "pfx2as"),
    ("namenodes", "noden, name", "names"),
)


def read_database(entries: Entries, url: str, password: str, progress: Progress) -> None:
    """Add what the database holds; `password` goes before the one in the URL.

    progress: called with the rows read so far and in all. Raises BadSource.
    """
    parts = urlsplit(url)
    where = f"mysql://{parts.hostname}{parts.path}"
    try:
        with contextlib.closing(_connect(parts, password)) as connection:
            for table, columns, kind in _TABLES:
                with contextlib.closing(_rows(connection, table, columns, progress)) as rows:
                    entries.add(f"{where}, table {table}", rows, FORMATS[kind])
    except (pymysql.MySQLError, OSError, RuntimeError, OverflowError, ValueError) as error:
        raise errors.BadSource(f"{where}: {error.args[-1] if error.args else error}") from error


def _connect(parts: Any, password: str) -> pymysql.Connection[SSCursor]:
    try:
        port = parts.port or PORT
    except ValueError:
        port = 0
    if parts.scheme != "mysql" or not parts.hostname or len(parts.path) < 2 or not port:
        raise ValueError("expected mysql://user@host:port/database")
    return pymysql.connect(
        host=parts.hostname,
        port=port,
        user=unquote(parts.username or ""),
        password=password or unquote(parts.password or ""),
        database=unquote(parts.path[1:]),
        charset="utf8mb4",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=SILENCE_SECONDS,
        cursorclass=SSCursor,
    )


def _rows(
    connection: pymysql.Connection[SSCursor], table: str, columns: str, progress: Progress
) -> Generator[list[str], None, None]:
    """Fetch the rows of a table as texts, in the server's order."""
    with connection.cursor(Cursor) as counter:
        counter.execute(f"SELECT COUNT(*) FROM {table}")  # noqa: S608 - names of ours
        total = int((counter.fetchone() or (0,))[0])
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table}")  # noqa: S608
        for number, row in enumerate(cursor):
            if number % _ROWS_BETWEEN_REPORTS == 0:
                progress(number, total)
            yield ["" if value is None else str(value) for value in row]
    progress(total, total)
