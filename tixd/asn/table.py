"""The AS table: a memory-mapped MMDB file; the only user of maxminddb.

It reads the files of GeoLite2-ASN, GeoIP2-Enterprise, DB-IP ASN Lite, IPinfo Lite and `tixd asn
build`. All processes share the file's pages. Every fault of the file is BadTable.
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

#: Blocks of each IP version of which one must have an AS, unless a well-known address has.
BLOCKS_LOOKED_AT = 1000

#: Well-known addresses, whose AS has been the same for many years: Google's, Cloudflare's.
KNOWN = (("8.8.8.8", 15169), ("1.1.1.1", 13335), ("2001:4860:4860::8888", 15169))

#: Error for a file that the library cannot read.
_DAMAGED = "is not an MMDB file, or is damaged"

#: What the library raises for a damaged file.
_ERRORS = (ValueError, TypeError, KeyError, OverflowError, maxminddb.InvalidDatabaseError)

#: Identity of a file: device, inode, bytes, time.
_Identity = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class TableFacts:
    """Metadata of a table; built: epoch second, nodes: of its search tree."""

    kind: str
    built: int
    ip_version: int
    nodes: int
    size_bytes: int


class Table:
    """An open table; use as a context manager, or close it."""

    def __init__(self, path: str) -> None:
        """Open the file; raises BadTable where it cannot be used."""
        self.path = path
        self._identity = _identity(path)
        try:
            self._reader = maxminddb.open_database(path)
            facts = self._reader.metadata()
            self.facts = TableFacts(
                clean(facts.database_type) or "table without a name",
                int(facts.build_epoch),
                int(facts.ip_version),
                int(facts.node_count),
                self._identity[2],
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
        """Return whether the file at the path is still the one that was opened."""
        try:
            return self._identity == _identity(self.path)
        except errors.BadTable:
            return False

    def close(self) -> None:
        """Unmap the file."""
        self._reader.close()

    def _names_an_as(self) -> bool:
        """Return whether there is an AS; it may come after many blocks without one."""
        known = (self.origin(text) for text, _ in KNOWN)
        walked = (islice(self._walk(version), BLOCKS_LOOKED_AT) for version in (4, 6))
        return any(found and found.asn for found in chain(known, *walked))

    def __iter__(self) -> Iterator[Origin]:
        """Iterate over the origins of all networks; raises BadTable for a damaged file."""
        return (found for found in chain(self._walk(4), self._walk(6)) if found is not None)

    def _walk(self, version: int) -> Iterator[Origin | None]:
        """Yield the origins of all blocks of addresses in order; None for one without a record.

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
        """Return the origin of an address; raises BadTable where the file is damaged there."""
        if address.version > self.facts.ip_version:
            return UNKNOWN
        record, bits = self._record(address)
        return origin_in(record, _network(address, bits)) if record is not None else UNKNOWN

    def _record(self, address: Address) -> tuple[object, int]:
        """Return the record of an address, and how many of its bits led there.

        No bits did where a block of IPv6 contains all of IPv4.
        """
        try:
            record, bits = self._reader.get_with_prefix_len(address)
        except _ERRORS as error:
            raise errors.BadTable(f"{self.path}: {_DAMAGED}") from error
        return record, max(0, bits)

    def origin(self, text: str) -> Origin:
        """Return the origin of the address in `text`; UNKNOWN where it can have none."""
        address = routable(text)
        return UNKNOWN if address is None else self.find(address)


def _identity(path: str) -> _Identity:
    """Identify a regular file; raises BadTable for anything else, such as a FIFO, which blocks."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise errors.BadTable(f"{path}: {error.strerror}") from error
    except ValueError:
        raise errors.BadTable(f"{path}: a path cannot contain a null character") from None
    if not stat.S_ISREG(found.st_mode):
        raise errors.BadTable(f"{path}: not a regular file")
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _network(address: Address, bits: int) -> str:
    """Format the network around an address whose prefix has this many bits."""
    host_bits = address.max_prefixlen - bits
    return f"{type(address)(int(address) >> host_bits << host_bits)}/{bits}"
