"""Ranges of addresses: from overlapping ones to disjoint networks.

In: (first, last, value) in the order of their sources, addresses as integers. Out: disjoint pieces,
and the networks that they are made of. Rules: the innermost range that holds an address has it,
which for prefixes is the longest match; of equal ranges the first; pieces of neighbours are not
joined, so that a network is never larger than what was announced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Range(NamedTuple):
    """Addresses from `first` to `last`, both included, and the number of their value."""

    first: int
    last: int
    value: int


def disjoint(ranges: Iterable[Range]) -> Iterator[Range]:
    """Pieces that do not overlap, in order of address.

    >>> [tuple(piece) for piece in disjoint([Range(0, 9, 1), Range(2, 3, 2), Range(2, 3, 3)])]
    [(0, 1, 1), (2, 3, 2), (4, 9, 1)]
    """
    around: list[Range] = []
    at = 0
    last_first = list(ranges)[::-1]  # of equal ranges the first is to be the innermost
    for inner in sorted(last_first, key=lambda r: (r.first, -r.last)):
        while around and around[-1].last < inner.first:
            outer = around.pop()
            if at <= outer.last:
                yield Range(at, outer.last, outer.value)
                at = outer.last + 1
        if around and at < inner.first:
            yield Range(at, inner.first - 1, around[-1].value)
        at = inner.first
        around.append(inner)
    while around:
        outer = around.pop()
        if at <= outer.last:
            yield Range(at, outer.last, outer.value)
            at = outer.last + 1


def networks(piece: Range, bits: int) -> Iterator[tuple[int, int]]:
    """(first address, prefix length) of the fewest networks that make up the piece.

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
