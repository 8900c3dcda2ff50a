"""A new AS table: from ranges to an MMDB file; the user of mmdb_writer.

In: a Harvest. Out: a file in the format that `asn.py` and every other MMDB reader takes, with the
members that GeoLite2-ASN has, and country_code. Rules: IPv4 stands below ::/96, as in all such
files; each value is written once; the tree is laid here, because inserting network by network
costs mmdb_writer minutes for a full table.
"""

from __future__ import annotations

from mmdb_writer import MMDBWriter, SearchTreeLeaf, SearchTreeNode

from tixd import errors
from tixd.asn.formats import BITS
from tixd.asn.ranges import disjoint, networks
from tixd.asn.sources import Entries, Progress

#: The kind of database that a built file says it is.
DATABASE_TYPE = "tixd-ASN"

#: Most nodes of the search tree, of 216 bytes each: three times what a full table needs.
MOST_NODES = 6_000_000

#: After so many pieces the progress is told.
_PIECES_BETWEEN_REPORTS = 5_000

Tree = SearchTreeNode


def write_table(harvest: Entries, path: str, progress: Progress) -> int:
    """Write the table to `path`; returns how many networks it has.

    progress: told ranges laid so far and in all. Raises OSError, BadSource for too large a tree.
    """
    writer = MMDBWriter(
        ip_version=6,
        database_type=DATABASE_TYPE,
        languages=["en"],
        description="Autonomous systems of addresses, made by tixd asn build",
        ipv4_compatible=True,
        int_type="u32",
    )
    count = _lay(writer.tree, harvest, progress)
    writer.to_db_file(path)
    return count


def _lay(tree: Tree, harvest: Entries, progress: Progress) -> int:
    """Hang every network into the tree; the networks do not overlap."""
    leaves = _leaves(harvest)
    total, count = sum(map(len, harvest.ranges.values())), 0
    done, free = 0, [MOST_NODES]
    for version, ranges in harvest.ranges.items():
        bits = BITS[version]
        root = _below(tree, 0, BITS[6], BITS[6] - BITS[4], free) if version == 4 else tree
        for piece in disjoint(ranges):
            if done % _PIECES_BETWEEN_REPORTS == 0:
                progress(min(done, total), total)
            done += 1
            for first, length in networks(piece, bits):
                parent = _below(root, first, bits, length - 1, free)
                parent[first >> bits - length & 1] = leaves[piece.value]
                count += 1
    progress(total, total)
    return count


def _leaves(harvest: Entries) -> list[SearchTreeLeaf]:
    """What hangs in the tree, by the number of its value."""
    found = []
    for asn, name, country in harvest.values:
        record: dict[str, int | str] = {"autonomous_system_number": asn}
        if text := name or harvest.names.get(asn):
            record["autonomous_system_organization"] = text
        if country:
            record["country_code"] = country
        found.append(SearchTreeLeaf(record))
    return found


def _below(node: Tree, address: int, bits: int, depth: int, free: list[int]) -> Tree:
    """The node that the first `depth` bits of the address lead to, made where it is missing.

    free: holds how many more may be made; raises BadSource when it is none.
    """
    for shift in range(bits - 1, bits - 1 - depth, -1):
        bit = address >> shift & 1
        child = node.right if bit else node.left
        if not isinstance(child, Tree):
            if not free[0]:
                raise errors.BadSource(f"the networks need more than {MOST_NODES} nodes of a tree")
            free[0] -= 1
            child = node[bit] = Tree()
        node = child
    return node
