"""Replace the AS table by a new one that passes the checks.

The new file is written beside the old one and checked before it replaces it atomically. Where it is
too small, has another AS for well-known addresses, or differs too much from the old one, the old
one stays.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from random import Random

from tixd import errors
from tixd.asn.mmdb import write_table
from tixd.asn.origin import Address
from tixd.asn.sources import Entries, Progress
from tixd.asn.table import KNOWN, Table

#: A table of the whole Internet has several hundred thousand networks.
MIN_NETWORKS = 10_000

#: Largest share of compared addresses, or of the table's size, that may differ from the old one.
LARGEST_CHANGE = 0.2

#: Addresses of each IP version that are compared in both tables.
_ADDRESSES_COMPARED = 10_000


@dataclass(frozen=True, slots=True)
class AcceptanceCriteria:
    """Conditions for a new table; known: pairs of address and AS number."""

    known: tuple[tuple[str, int], ...] = KNOWN
    min_networks: int = MIN_NETWORKS
    largest_change: float = LARGEST_CHANGE


@dataclass(frozen=True, slots=True)
class Installed:
    """The installed table; change: share that differs from the old table, None: there was none.

    old_problem: why the old file could not be compared; "" where it could, or where there was none.
    """

    networks: int
    size_bytes: int
    change: float | None
    old_problem: str


def install(
    entries: Entries, path: str, criteria: AcceptanceCriteria, progress: Progress
) -> Installed:
    """Build the table and put it at `path`; raises TableRefused, and then the old one stays."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        networks = write_table(entries, temporary, progress)
        with Table(temporary) as new:
            _check(new, networks, entries, criteria)
            change, problem = _change(new, path, entries)
            size_bytes = new.facts.size_bytes
        if change is not None and change > criteria.largest_change:
            raise errors.TableRefused(
                f"{path}: {change:.0%} differ from the present table, more than"
                f" {criteria.largest_change:.0%}; --any-change accepts it"
            )
        _replace(temporary, path)
    except OSError as error:
        raise errors.TableRefused(f"{path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    return Installed(networks, size_bytes, change, problem)


def _check(new: Table, networks: int, entries: Entries, criteria: AcceptanceCriteria) -> None:
    """Check size and well-known addresses, except those of an IP version without entries."""
    if networks < criteria.min_networks:
        raise errors.TableRefused(
            f"{networks} networks, fewer than the {criteria.min_networks} of --least"
        )
    for address, asn in criteria.known:
        found = new.origin(address).asn
        if entries.ranges[6 if ":" in address else 4] and found != asn:
            raise errors.TableRefused(
                f"{address} has {f'AS {found}' if found else 'no AS'}, where {asn} is expected;"
                " --known names other addresses"
            )


def _change(new: Table, path: str, entries: Entries) -> tuple[float | None, str]:
    """Return the share that differs from the table at `path`, 0..1, or why it is unknown."""
    if not os.path.exists(path):
        return None, ""
    try:
        with Table(path) as old:
            size = abs(new.facts.nodes - old.facts.nodes) / old.facts.nodes
            pairs = [(old.find(a).asn, new.find(a).asn) for a in _sample(entries)]
    except errors.BadTable as error:
        return None, error.detail
    differ = [was != is_ for was, is_ in pairs if was or is_]
    return min(1.0, max(size, sum(differ) / len(differ) if differ else 0.0)), ""


def _sample(entries: Entries) -> list[Address]:
    """Choose addresses: random ones of IPv4, the same each time; of IPv6, those of entries."""
    chance = Random(0)  # noqa: S311 - no secret
    addresses: list[Address] = [
        IPv4Address(chance.getrandbits(32)) for _ in range(_ADDRESSES_COMPARED)
    ]
    ranges = entries.ranges[6]
    step = max(1, len(ranges) // _ADDRESSES_COMPARED)
    return addresses + [IPv6Address(piece.first) for piece in ranges[::step]]


def _replace(temporary: str, path: str) -> None:
    """Replace the old file by the temporary one, safe against a power cut."""
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
