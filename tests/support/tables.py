"""AS tables for tests: made of lines, or as providers shape theirs."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from tixd.asn.formats import FORMATS, cut, recognised
from tixd.asn.mmdb import write_table
from tixd.asn.sources import Entries

#: Networks and names that most tests are content with, as the original's two files have them.
PREFIXES = """\
8.8.8.0/24 15169
1.1.1.0/24 13335
181.164.0.0/14 7303
181.167.0.0/16 64500
2001:4860::/32 15169
"""
NAMES = "15169\tGoogle LLC\n7303\tTelecom Argentina S.A.\n"

#: Demands that such a table fulfils.
SMALL = ["--least", "1"]


def quiet(_done: int, _total: int) -> None:
    """A progress that nobody looks at."""


def harvest(*texts: str) -> Entries:
    """What files of these contents say."""
    found = Entries()
    for number, text in enumerate(texts):
        lines = text.splitlines()
        kind = recognised(lines[0])
        assert kind, lines[0]
        form = FORMATS[kind]
        found.take(f"text {number}", [cut(line, form) for line in lines], form)
    return found


def table(path: Path, *texts: str) -> Path:
    """A table made of these contents, by default PREFIXES and NAMES, put there at once."""
    beside = path.with_suffix(".new")
    write_table(harvest(*(texts or (PREFIXES, NAMES))), str(beside), quiet)
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
