"""A new AS table takes the place of the old one, if it makes sense.

In: a Harvest, the path of the table. Out: the table at that path, and what has changed. Rules: the
new file is made beside the old one and looked into before it replaces it at once; where it is too
small, knows well-known addresses by another AS, or differs too much from the old one, the old one
stays.
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
LEAST_NETWORKS = 10_000

#: Largest share of looked up addresses, or of the table's size, that may differ from the old one.
LARGEST_CHANGE = 0.2

#: So many addresses of each IP version are looked up in both tables.
_ADDRESSES_COMPARED = 10_000


@dataclass(frozen=True, slots=True)
class AcceptanceCriteria:
    """What a new table must fulfil; known: pairs of address and AS number."""

    known: tuple[tuple[str, int], ...] = KNOWN
    least_networks: int = LEAST_NETWORKS
    largest_change: float = LARGEST_CHANGE


@dataclass(frozen=True, slots=True)
class Installed:
    """What was put in place; change: share that differs from the old table, None: there was none.

    old_problem: why the old file could not be compared; "" where it could, or where there was none.
    """

    networks: int
    size_bytes: int
    change: float | None
    old_problem: str


def install(
    harvest: Entries, path: str, demands: AcceptanceCriteria, progress: Progress
) -> Installed:
    """Make the table and put it at `path`; raises TableRefused, and then leaves all as it was."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        networks = write_table(harvest, temporary, progress)
        with Table(temporary) as new:
            _check(new, networks, harvest, demands)
            change, problem = _change(new, path, harvest)
            size_bytes = new.facts.size_bytes
        if change is not None and change > demands.largest_change:
            raise errors.TableRefused(
                f"{path}: {change:.0%} differ from the table that is there, more than"
                f" {demands.largest_change:.0%}; --any-change takes it all the same"
            )
        _replace(temporary, path)
    except OSError as error:
        raise errors.TableRefused(f"{path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    return Installed(networks, size_bytes, change, problem)


def _check(new: Table, networks: int, harvest: Entries, demands: AcceptanceCriteria) -> None:
    """Size and well-known addresses; those of an IP version that no source has are left out."""
    if networks < demands.least_networks:
        raise errors.TableRefused(
            f"{networks} networks, fewer than the {demands.least_networks} of --least"
        )
    for address, asn in demands.known:
        found = new.origin(address).asn
        if harvest.ranges[6 if ":" in address else 4] and found != asn:
            raise errors.TableRefused(
                f"{address} has {f'AS {found}' if found else 'no AS'}, where {asn} is expected;"
                " --known names other addresses"
            )


def _change(new: Table, path: str, harvest: Entries) -> tuple[float | None, str]:
    """How much differs from the table at `path`, 0..1, and why that could not be told."""
    if not os.path.exists(path):
        return None, ""
    try:
        with Table(path) as old:
            size = abs(new.facts.nodes - old.facts.nodes) / old.facts.nodes
            pairs = [(old.find(a).asn, new.find(a).asn) for a in _sample(harvest)]
    except errors.BadTable as error:
        return None, error.detail
    told = [was != is_ for was, is_ in pairs if was or is_]
    return min(1.0, max(size, sum(told) / len(told) if told else 0.0)), ""


def _sample(harvest: Entries) -> list[Address]:
    """Addresses to compare: IPv4 by chance, the same ones each time; IPv6 is too large for that."""
    chance = Random(0)  # noqa: S311 - no secret
    addresses: list[Address] = [
        IPv4Address(chance.getrandbits(32)) for _ in range(_ADDRESSES_COMPARED)
    ]
    ranges = harvest.ranges[6]
    step = max(1, len(ranges) // _ADDRESSES_COMPARED)
    return addresses + [IPv6Address(piece.first) for piece in ranges[::step]]


def _replace(temporary: str, path: str) -> None:
    """Let the temporary file take the place of the old one, also across a power cut."""
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
