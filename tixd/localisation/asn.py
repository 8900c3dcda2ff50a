"""The AS table: a memory-mapped MMDB file in which addresses are looked up; the user of maxminddb.

In: the path of a file of GeoLite2-ASN, DB-IP ASN Lite, IPinfo Lite or `tixd asn build`. Out:
an Origin. Rules: nothing is asked over the network; all processes share the file's pages; whatever
is wrong with the file is BadTable.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Self

import maxminddb

from tixd import errors
from tixd.localisation.origin import UNKNOWN, Address, Origin, origin_in, routable

#: Of so many records of a table at least one must name an AS.
RECORDS_LOOKED_AT = 1000

#: What says that a file is no longer the one that was opened: device, inode, bytes, time.
_Facts = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What a table says of itself; built: epoch second, nodes: of its search tree."""

    kind: str
    built: int
    ip_version: int
    nodes: int
    size_bytes: int


class Table:
    """An open table; use as a context manager, or close it."""

    def __init__(self, path: str) -> None:
        """Open the file; raises BadTable where it cannot be used."""
        self.path, self._file = path, _facts(path)
        try:
            self._reader = maxminddb.open_database(path)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            raise errors.BadTable(f"{path}: {error}") from error
        facts = self._reader.metadata()
        self.facts = TableFacts(
            str(facts.database_type),
            int(facts.build_epoch),
            int(facts.ip_version),
            int(facts.node_count),
            self._file[2],
        )
        if not any(origin.asn for origin in islice(self, RECORDS_LOOKED_AT)):
            self.close()
            raise errors.BadTable(f"{path}: {facts.database_type} names no AS")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_current(self) -> bool:
        """Whether the file at the path is still the one that was opened."""
        try:
            return self._file == _facts(self.path)
        except errors.BadTable:
            return False

    def close(self) -> None:
        """Unmap the file."""
        self._reader.close()

    def __iter__(self) -> Iterator[Origin]:
        """Every network with its origin; raises BadTable where the file is damaged."""
        try:
            for network, record in self._reader:
                yield origin_in(record, str(network))
        except (ValueError, maxminddb.InvalidDatabaseError) as error:
            raise errors.BadTable(f"{self.path}: {error}") from error

    def find(self, address: Address) -> Origin:
        """The origin of an address; raises BadTable where the file is damaged there."""
        if address.version > self.facts.ip_version:
            return UNKNOWN
        try:
            record, bits = self._reader.get_with_prefix_len(address)
        except (ValueError, maxminddb.InvalidDatabaseError) as error:
            raise errors.BadTable(f"{self.path}: {error}") from error
        return origin_in(record, _network(address, bits)) if record is not None else UNKNOWN

    def origin(self, text: str) -> Origin:
        """The origin of the address in `text`; UNKNOWN where it can have none."""
        address = routable(text)
        return UNKNOWN if address is None else self.find(address)


def _facts(path: str) -> _Facts:
    """What tells this file from another; raises BadTable where it is no file (a FIFO blocks)."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise errors.BadTable(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(found.st_mode):
        raise errors.BadTable(f"{path}: no regular file")
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _network(address: Address, bits: int) -> str:
    """The network of so many bits around an address."""
    host_bits = address.max_prefixlen - bits
    return f"{type(address)(int(address) >> host_bits << host_bits)}/{bits}"
