"""Where an address lies in CSV ranges, by plain search: the outside truth for AS tables."""

from __future__ import annotations

import csv
import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from random import Random
from typing import NamedTuple

from tixd.asn.origin import routable
from tixd.asn.table import Table

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
