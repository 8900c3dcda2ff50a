"""Ranges: disjoint pieces and the networks that they are made of, against plain counting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tixd.asn.mmdb import disjoint, networks
from tixd.asn.sources import Range

#: Prefixes of a space of 8 bits, which may lie in one another, each with a value of its own.
PREFIXES = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 8)).map(
        lambda pair: (pair[0] >> pair[1] << pair[1], pair[1])
    ),
    max_size=30,
)


@given(PREFIXES)
def test_the_longest_prefix_has_an_address_and_of_equal_ones_the_first(prefixes):
    ranges = [Range(at, at + (1 << size) - 1, n) for n, (at, size) in enumerate(prefixes)]
    pieces = list(disjoint(ranges))
    for address in range(256):
        around = [r for r in ranges if r.first <= address <= r.last]
        narrowest = min(around, key=lambda r: (r.last - r.first, r.value), default=None)
        holding = [piece.value for piece in pieces if piece.first <= address <= piece.last]
        assert holding == ([narrowest.value] if narrowest else [])


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=20))
def test_ranges_that_overlap_in_part_become_disjoint_and_lose_no_address(pairs):
    ranges = [Range(min(pair), max(pair), n) for n, pair in enumerate(pairs)]
    pieces = list(disjoint(ranges))
    covered = {a for r in ranges for a in range(r.first, r.last + 1)}
    found = [a for piece in pieces for a in range(piece.first, piece.last + 1)]
    assert found == sorted(covered)
    by_value = {r.value: r for r in ranges}
    assert all(
        by_value[p.value].first <= p.first <= p.last <= by_value[p.value].last for p in pieces
    )


@given(st.integers(0, 255), st.integers(0, 255))
def test_networks_make_up_a_range_exactly_and_are_as_few_as_can_be(one, other):
    first, last = min(one, other), max(one, other)
    found = list(networks(Range(first, last, 0), 8))
    addresses = [a for at, length in found for a in range(at, at + (1 << 8 - length))]
    assert addresses == list(range(first, last + 1))
    assert all(at % (1 << 8 - length) == 0 for at, length in found)
    assert len(found) <= 14


def test_all_of_ipv6_is_one_network():
    assert list(networks(Range(0, 2**128 - 1, 0), 128)) == [(0, 0)]
