"""The AS table: a memory-mapped MMDB file in which addresses are looked up; the user of maxminddb.

In: the path of a file of GeoLite2-ASN, GeoIP2-Enterprise, DB-IP ASN Lite, IPinfo Lite or `tixd asn
build`. Out: an Origin. Rules: nothing is asked over the network; all processes share the file's
pages; whatever is wrong with the file is BadTable.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import chain, islice
from typing import Self

import maxminddb

from tixd import errors
from tixd.asn.formats import BITS
from tixd.asn.origin import GLOBAL_V6, UNKNOWN, Address, Origin, clean, origin_in, routable

#: Of so many blocks of each IP version, or of the well-known addresses, one must have an AS.
BLOCKS_LOOKED_AT = 1000

#: Addresses whose AS has been the same for many years: Google's and Cloudflare's resolvers.
KNOWN = (("8.8.8.8", 15169), ("1.1.1.1", 13335), ("2001:4860:4860::8888", 15169))

#: What is said of a file that the library cannot read.
_DAMAGED = "is no MMDB file, or is damaged"

#: What the library raises for a damaged file.
_ERRORS = (ValueError, TypeError, KeyError, OverflowError, maxminddb.InvalidDatabaseError)

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
            facts = self._reader.metadata()
            self.facts = TableFacts(
                clean(facts.database_type) or "table without a name",
                int(facts.build_epoch),
                int(facts.ip_version),
                int(facts.node_count),
                self._file[2],
            )
        except OSError as error:
            raise errors.BadTable(f"{path}: {error.strerror or _DAMAGED}") from error
        except _ERRORS as error:
            raise errors.BadTable(f"{path}: {_DAMAGED}") from error
        if not self._names_an_as():
            self.close()
            raise errors.BadTable(f"{path}: {self.facts.kind} names no AS")

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

    def _names_an_as(self) -> bool:
        """Whether a table has what it is for, which may stand behind much that has no AS."""
        known = (self.origin(text) for text, _ in KNOWN)
        walked = (islice(self._walk(version), BLOCKS_LOOKED_AT) for version in (4, 6))
        return any(found and found.asn for found in chain(known, *walked))

    def __iter__(self) -> Iterator[Origin]:
        """Every network with its origin; raises BadTable where the file is damaged."""
        return (found for found in chain(self._walk(4), self._walk(6)) if found is not None)

    def _walk(self, version: int) -> Iterator[Origin | None]:
        """The origins of all blocks of addresses in their order; None for one without a record.

        By look-ups: the library's own iterator overruns its memory in a damaged tree.
        """
        at = 0 if version == 4 else int(GLOBAL_V6.network_address)
        while version <= self.facts.ip_version and at < 1 << BITS[version]:
            address = IPv4Address(at) if version == 4 else IPv6Address(at)
            record, bits = self._record(address)
            yield origin_in(record, _network(address, bits)) if record is not None else None
            free = BITS[version] - bits
            at = (at >> free) + 1 << free

    def find(self, address: Address) -> Origin:
        """The origin of an address; raises BadTable where the file is damaged there."""
        if address.version > self.facts.ip_version:
            return UNKNOWN
        record, bits = self._record(address)
        return origin_in(record, _network(address, bits)) if record is not None else UNKNOWN

    def _record(self, address: Address) -> tuple[object, int]:
        """What stands in the table for an address, and how many of its bits led there.

        No bits where a block of IPv6 lies around all of IPv4.
        """
        try:
            record, bits = self._reader.get_with_prefix_len(address)
        except _ERRORS as error:
            raise errors.BadTable(f"{self.path}: {_DAMAGED}") from error
        return record, max(0, bits)

    def origin(self, text: str) -> Origin:
        """The origin of the address in `text`; UNKNOWN where it can have none."""
        address = routable(text)
        return UNKNOWN if address is None else self.find(address)


def _facts(path: str) -> _Facts:
    """What tells this file from another; raises BadTable where it is no file (a FIFO blocks)."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise errors.BadTable(f"{path}: {error.strerror}") from error
    except ValueError:
        raise errors.BadTable(f"{path}: a path has no null character") from None
    if not stat.S_ISREG(found.st_mode):
        raise errors.BadTable(f"{path}: no regular file")
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _network(address: Address, bits: int) -> str:
    """The network of so many bits around an address."""
    host_bits = address.max_prefixlen - bits
    return f"{type(address)(int(address) >> host_bits << host_bits)}/{bits}"
