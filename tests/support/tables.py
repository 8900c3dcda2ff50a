"""AS tables: made of lines, or as providers and the original shape theirs, and searched plainly.

`PlainSearch` is the outside truth. A full table of the Internet's ranges is the npm package
@ip-location-db/asn, installed into a folder of the test where npm and its registry can be reached;
else the test is reported as not run.
"""

from __future__ import annotations

import contextlib
import csv
import ipaddress
import random
import secrets
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pymysql
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from tixd.asn.formats import FORMATS, cut, recognised
from tixd.asn.mmdb import write_table
from tixd.asn.origin import routable
from tixd.asn.sources import Entries
from tixd.asn.table import Table

#: Networks and names that most tests are content with, as the original's two files have them.
PREFIXES = """\
8.8.8.0/24 15169
1.1.1.0/24 13335
181.164.0.0/14 7303
181.167.0.0/16 64500
2001:4860::/32 15169
"""
NAMES = "15169\tGoogle LLC\n7303\tTelecom Argentina S.A.\n"

#: Options under which such a table is accepted.
SMALL = ["--least", "1"]


def quiet(_done: int, _total: int) -> None:
    """A progress that nobody looks at."""


def entries(*texts: str) -> Entries:
    """What files of these contents say."""
    found = Entries()
    for number, text in enumerate(texts):
        lines = text.splitlines()
        kind = recognised(lines[0])
        assert kind, lines[0]
        form = FORMATS[kind]
        found.add(f"text {number}", [cut(line, form) for line in lines], form)
    return found


def table(path: Path, *texts: str) -> Path:
    """A table made of these contents, by default PREFIXES and NAMES, put there at once."""
    beside = path.with_suffix(".new")
    write_table(entries(*(texts or (PREFIXES, NAMES))), str(beside), quiet)
    return beside.replace(path)


def foreign(path: Path, records: Mapping[str, Any], ip_version: int = 6) -> Path:
    """A file as another program writes it: records by network."""
    writer = MMDBWriter(ip_version, "Somebodys-ASN", ipv4_compatible=ip_version == 6)
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


def csv_ranges(count: int, seed: int = 1) -> str:
    """Made-up CSV ranges of both IP versions, in order, none in another, with gaps and without."""
    chance = random.Random(seed)
    lines = [
        *_ranges(ipaddress.IPv4Address, 11 << 24, 14, count // 2, chance),
        *_ranges(ipaddress.IPv6Address, 0x24 << 120, 90, count // 2, chance),
    ]
    return "\n".join(lines) + "\n"


def _ranges(
    kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address],
    start: int,
    span: int,
    count: int,
    chance: random.Random,
) -> Iterator[str]:
    """Lines from the address `start` on; gaps and ranges of up to `span` bits."""
    at = start
    for _ in range(count):
        first = at + chance.choice([0, 0, chance.getrandbits(span)])
        last = first + chance.getrandbits(chance.randint(1, span))
        asn = chance.randint(1, 400_000)
        yield f'{kind(first)},{kind(last)},{asn},"Company {asn}, Inc."'
        at = last + 1


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


#: AS number and name of an address that nobody has.
NONE = (None, None)


class Line(NamedTuple):
    """A line of the CSV file; addresses as integers, both included."""

    first: int
    last: int
    asn: int
    name: str


class PlainSearch:
    """CSV lines "first,last,number,name" of one IP version, in order, none in another."""

    def __init__(self, kind: type[Address], lines: Iterable[str]) -> None:
        self._kind = kind
        rows = [(int(kind(a)), int(kind(b)), int(n), name) for a, b, n, name in csv.reader(lines)]
        self.lines = [Line(*row) for row in sorted(rows)]
        self._firsts = [line.first for line in self.lines]

    def find(self, address: int) -> Line | None:
        """The line that holds the address."""
        index = bisect_right(self._firsts, address) - 1
        line = self.lines[index] if index >= 0 else None
        return line if line and address <= line.last else None

    def edges(self) -> Iterator[int]:
        """Both ends of every line, one below, one above."""
        for line in self.lines:
            yield from (max(0, line.first - 1), line.first, line.last, line.last + 1)

    def by_chance(self, count: int) -> Iterator[int]:
        """Random addresses: half anywhere, half in a line."""
        chance, bits = Random(count), self._kind(0).max_prefixlen
        for _ in range(count // 2):
            line = chance.choice(self.lines)
            yield chance.getrandbits(bits)
            yield chance.randint(line.first, line.last)

    def disagreements(self, table: Table, addresses: Iterable[int]) -> list[str]:
        """Addresses of which the table says something else; special ones must have no AS."""
        wrong = []
        for number in addresses:
            address, line = str(self._kind(number)), self.find(number)
            found = table.origin(address)
            same = (found.asn, _bare(found.name)) == (
                (line.asn, _bare(line.name)) if line else NONE
            )
            if not same and (found.asn or routable(address)):
                wrong.append(f"{address}: {found} instead of {line}")
        return wrong


def _bare(name: str | None) -> str | None:
    """A name's letters alone: tables hold no blanks at its ends, and no soft hyphens."""
    return None if name is None else "".join(filter(str.isalnum, name))


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
    """The tables of the original, with its kinds of columns."""
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


PACKAGE = "@ip-location-db/asn"

#: How long npm may take.
_INSTALL_SECONDS = 180


def full_table(folder: Path) -> tuple[Path, Path]:
    """Its CSV ranges of IPv4 and of IPv6; skips the test where they cannot be had."""
    npm = shutil.which("npm")
    if not npm:
        pytest.skip(f"not run: no npm here to install {PACKAGE}")
    words = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        done = subprocess.run(
            [*words, PACKAGE], capture_output=True, text=True, timeout=_INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"not run: npm did not install {PACKAGE} within {_INSTALL_SECONDS} s")
    if done.returncode:
        pytest.skip(f"not run: npm cannot install {PACKAGE}: {done.stderr.strip()[-200:]}")
    package = folder / "node_modules" / PACKAGE
    return package / "asn-ipv4.csv", package / "asn-ipv6.csv"
