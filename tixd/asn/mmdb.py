"""Write an MMDB file from ranges of addresses; the only user of mmdb_writer.

The file has the members of GeoLite2-ASN, and country_code, so every MMDB reader accepts it. IPv4 is
below ::/96, as in all such files, and each value is written once. The tree is built here, because
mmdb_writer needs minutes to insert the networks of a full table one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mmdb_writer import MMDBWriter, SearchTreeLeaf, SearchTreeNode

from tixd import errors
from tixd.asn.formats import BITS
from tixd.asn.sources import Entries, Progress, Range

#: The kind of database that a built file names.
DATABASE_TYPE = "tixd-ASN"

#: Most nodes of the search tree, of 216 bytes each: three times what a full table needs.
MAX_NODES = 6_000_000

#: Pieces between two reports of progress.
_PIECES_BETWEEN_REPORTS = 5_000

Tree = SearchTreeNode


def write_table(entries: Entries, path: str, progress: Progress) -> int:
    """Write the table to `path`; return how many networks it has.

    progress: called with the ranges inserted so far and in all. Raises OSError, and BadSource for
    too large a tree.
    """
    writer = MMDBWriter(
        ip_version=6,
        database_type=DATABASE_TYPE,
        languages=["en"],
        description="Autonomous systems of addresses, made by tixd asn build",
        ipv4_compatible=True,
        int_type="u32",
    )
    count = _insert_all(writer.tree, entries, progress)
    writer.to_db_file(path)
    return count


class _TreeBuilder:
    """Lays networks into a search tree, which has a largest size."""

    def __init__(self, tree: Tree) -> None:
        self._roots = {6: tree}
        self._free_nodes = MAX_NODES
        self._roots[4] = self._node_at(tree, 0, BITS[6], BITS[6] - BITS[4])

    def insert(self, version: int, first: int, length: int, leaf: SearchTreeLeaf) -> None:
        """Put a leaf at a network; raises BadSource where the tree would be too large."""
        bits = BITS[version]
        parent = self._node_at(self._roots[version], first, bits, length - 1)
        parent[first >> bits - length & 1] = leaf

    def _node_at(self, node: Tree, address: int, bits: int, depth: int) -> Tree:
        """Return the node that the first `depth` bits of the address lead to, made if missing."""
        for shift in range(bits - 1, bits - 1 - depth, -1):
            bit = address >> shift & 1
            child = node.right if bit else node.left
            if not isinstance(child, Tree):
                if not self._free_nodes:
                    raise errors.BadSource(
                        f"the networks need more than {MAX_NODES} nodes of a tree"
                    )
                self._free_nodes -= 1
                child = node[bit] = Tree()
            node = child
        return node


def _insert_all(tree: Tree, entries: Entries, progress: Progress) -> int:
    """Put every network into the tree and count them; they do not overlap."""
    builder = _TreeBuilder(tree)
    leaves = _leaves(entries)
    total = sum(map(len, entries.ranges.values()))
    done, count = 0, 0
    for version, ranges in entries.ranges.items():
        for piece in disjoint(ranges):
            if done % _PIECES_BETWEEN_REPORTS == 0:
                progress(min(done, total), total)
            done += 1
            for first, length in networks(piece, BITS[version]):
                builder.insert(version, first, length, leaves[piece.value])
                count += 1
    progress(total, total)
    return count


def _leaves(entries: Entries) -> list[SearchTreeLeaf]:
    """Make the leaves of the tree, by the number of their value."""
    found = []
    for asn, name, country in entries.values:
        record: dict[str, int | str] = {"autonomous_system_number": asn}
        if text := name or entries.names.get(asn):
            record["autonomous_system_organization"] = text
        if country:
            record["country_code"] = country
        found.append(SearchTreeLeaf(record))
    return found


def disjoint(ranges: Iterable[Range]) -> Iterator[Range]:
    """Cut ranges into pieces that do not overlap, in order of address.

    An address belongs to the innermost range that contains it, which for prefixes is the longest
    match; of equal ranges, to the first. Pieces of neighbours are not joined, so that a network is
    never larger than the announced one.

    >>> [tuple(piece) for piece in disjoint([Range(0, 9, 1), Range(2, 3, 2), Range(2, 3, 3)])]
    [(0, 1, 1), (2, 3, 2), (4, 9, 1)]
    """
    open_ranges: list[Range] = []
    at = 0
    last_first = list(ranges)[::-1]  # of equal ranges the first is to be the innermost
    for inner in sorted(last_first, key=lambda r: (r.first, -r.last)):
        while open_ranges and open_ranges[-1].last < inner.first:
            outer = open_ranges.pop()
            if at <= outer.last:
                yield Range(at, outer.last, outer.value)
                at = outer.last + 1
        if open_ranges and at < inner.first:
            yield Range(at, inner.first - 1, open_ranges[-1].value)
        at = inner.first
        open_ranges.append(inner)
    while open_ranges:
        outer = open_ranges.pop()
        if at <= outer.last:
            yield Range(at, outer.last, outer.value)
            at = outer.last + 1


def networks(piece: Range, bits: int) -> Iterator[tuple[int, int]]:
    """Return (first address, prefix length) of the fewest networks that make up the piece.

    bits: of an address, 32 or 128.

    >>> list(networks(Range(1, 4, 0), 32))
    [(1, 32), (2, 31), (4, 32)]
    """
    at, last = piece.first, piece.last
    while at <= last:
        aligned_bits = (at & -at).bit_length() - 1 if at else bits
        size_bits = min(aligned_bits, (last - at + 1).bit_length() - 1)
        yield at, bits - size_bits
        at += 1 << size_bits
