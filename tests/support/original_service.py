"""What the original localisation service used: two files, or two tables of a database."""

from __future__ import annotations

import contextlib
import csv
import ipaddress
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pymysql
import pytest

#: The server, and its administrator without a password, as test machines have it.
HOST, USER = "127.0.0.1", "root"

#: Rows of one INSERT.
_ROWS = 5000

#: Largest AS number that the original's columns hold (INT).
_LARGEST_INT = 2**31 - 1


def files_of(lines: Iterable[str]) -> tuple[list[str], list[str]]:
    """Lines of prefixes and of names that say what CSV ranges do, as far as INT columns allow."""
    prefixes, names = [], {}
    for first, last, asn, name in csv.reader(lines):
        if int(asn) <= _LARGEST_INT:
            ends = map(ipaddress.ip_address, (first, last))
            prefixes += [f"{net} {asn}" for net in ipaddress.summarize_address_range(*ends)]
            names.setdefault(asn, f"{asn}\t{name}")
    return prefixes, list(names.values())


@contextlib.contextmanager
def database(prefixes: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """The URL of a database with these in its tables; without a server the test is skipped."""
    name = f"tixd_test_{secrets.token_hex(6)}"
    try:
        connection = pymysql.connect(host=HOST, user=USER, connect_timeout=2, charset="utf8mb4")
    except pymysql.MySQLError as error:
        pytest.skip(f"no MySQL or MariaDB at {HOST} for {USER} without a password: {error}")
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            cursor.execute(f"USE {name}")
            _fill(cursor, prefixes, names)
            connection.commit()
            yield f"mysql://{USER}@{HOST}/{name}"
        finally:
            cursor.execute(f"DROP DATABASE {name}")


def _fill(cursor: Any, prefixes: Sequence[str], names: Sequence[str]) -> None:
    """The tables of the original (processor.md 7), with its kinds of columns."""
    cursor.execute("CREATE TABLE routerviews (ip_router VARCHAR(50), noderouter INT, mask INT)")
    cursor.execute("CREATE TABLE namenodes (noden INT, name VARCHAR(255))")
    for lines in _batches(prefixes):
        rows = [(*prefix.split("/"), asn) for prefix, asn in (line.split() for line in lines)]
        cursor.executemany(
            "INSERT INTO routerviews (ip_router, mask, noderouter) VALUES (%s, %s, %s)", rows
        )
    for lines in _batches(names):
        cursor.executemany(
            "INSERT INTO namenodes VALUES (%s, %s)", [line.split("\t", 1) for line in lines]
        )


def _batches(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    return (lines[at : at + _ROWS] for at in range(0, len(lines), _ROWS))
