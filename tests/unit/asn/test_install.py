"""A new table takes the place of the old one only if it makes sense."""

from __future__ import annotations

import ipaddress
import os

import pytest

from tests.support.tables import NAMES, PREFIXES, entries, quiet
from tixd import errors
from tixd.asn import install as module
from tixd.asn import mmdb
from tixd.asn.install import AcceptanceCriteria, install
from tixd.asn.table import Table

SMALL = AcceptanceCriteria(min_networks=1)


def slash_eights(asn):
    """All of IPv4 in prefixes of 8 bits, which `asn` gives an AS, and what is known besides."""
    return "".join(f"{first}.0.0.0/8 {asn(first)}\n" for first in range(1, 224)) + PREFIXES


def put(path, *texts, criteria=SMALL):
    return install(entries(*texts), str(path), criteria, quiet)


@pytest.fixture
def path(tmp_path):
    """Where the table belongs."""
    return tmp_path / "asn.mmdb"


def test_the_first_table_is_put_in_place_and_can_be_read_by_all(path):
    before = os.umask(0o022)
    try:
        done = put(path, PREFIXES, NAMES)
    finally:
        os.umask(before)
    assert (done.networks, done.change, done.old_problem) == (6, None, "")
    assert done.size_bytes == path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["asn.mmdb"]


@pytest.mark.parametrize(
    ("texts", "criteria", "reason"),
    [
        ((PREFIXES,), AcceptanceCriteria(), "networks, fewer than the 10000 of --least"),
        (
            (PREFIXES.replace("15169", "64500"),),
            SMALL,
            r"8\.8\.8\.8 has AS 64500, where 15169 is expected",
        ),
        (("9.0.0.0/8 64500",), SMALL, r"8\.8\.8\.8 has no AS, where 15169 is expected"),
        (
            (PREFIXES,),
            AcceptanceCriteria((("9.9.9.9", 19281),), 1),
            r"9\.9\.9\.9 has no AS, where 19281 is expected",
        ),
    ],
)
def test_a_table_that_is_too_small_or_wrong_is_refused(path, texts, criteria, reason):
    put(path, PREFIXES)
    before = path.read_bytes()
    with pytest.raises(errors.TableRefused, match=reason):
        put(path, *texts, criteria=criteria)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["asn.mmdb"]


def test_known_addresses_of_an_ip_version_without_sources_are_not_asked_for(path):
    put(path, "8.8.8.0/24 15169\n1.1.1.0/24 13335\n")
    put(
        path,
        "2001:4860::/32 15169\n",
        criteria=AcceptanceCriteria(min_networks=1, largest_change=1.0),
    )


def test_a_change_of_up_to_a_fifth_is_taken_and_a_larger_one_is_not(path):
    put(path, slash_eights(lambda _: 64500))
    assert 0.05 < put(path, slash_eights(lambda first: 64500 + (first < 30))).change < 0.2
    with pytest.raises(errors.TableRefused, match="differ from the present table"):
        put(path, slash_eights(lambda first: 64500 + (first < 150)))
    forced = put(
        path,
        slash_eights(lambda first: 64500 + (first < 150)),
        criteria=AcceptanceCriteria(min_networks=1, largest_change=1.0),
    )
    assert forced.change > 0.2


def test_a_loss_of_ipv6_counts_as_a_change(path):
    six = "".join(
        f"{ipaddress.IPv6Address((0x2A00 << 112) + (n << 96))}/32 {n + 1}\n" for n in range(500)
    )
    put(path, slash_eights(lambda _: 64500) + six)
    with pytest.raises(errors.TableRefused, match="differ"):
        put(path, slash_eights(lambda _: 64500))


def test_a_file_that_is_no_table_is_replaced_and_that_is_said(path):
    path.write_text("no table")
    assert str(path) in put(path, PREFIXES).old_problem
    with Table(str(path)) as table:
        assert table.origin("8.8.8.8").asn == 15169


def test_a_full_disk_leaves_the_old_table_and_no_leftover(path, monkeypatch):
    put(path, PREFIXES)
    before = path.read_bytes()

    def full(_entries, temporary, _progress):
        with open(temporary, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_table", full)
    with pytest.raises(errors.TableRefused, match="No space left"):
        put(path, PREFIXES)
    assert (path.read_bytes(), os.listdir(path.parent)) == (before, ["asn.mmdb"])


def test_a_tree_of_more_nodes_than_any_table_needs_is_refused(path, monkeypatch):
    put(path, PREFIXES)
    before = path.read_bytes()
    monkeypatch.setattr(mmdb, "MAX_NODES", 1000)
    scattered = "".join(f"2a00:{n:x}::1/128 64500\n" for n in range(20))
    with pytest.raises(errors.BadSource, match="more than 1000 nodes"):
        put(path, PREFIXES + scattered)
    assert (path.read_bytes(), os.listdir(path.parent)) == (before, ["asn.mmdb"])


def test_a_folder_that_is_missing_is_an_error_of_the_operator(tmp_path):
    with pytest.raises(errors.TableRefused, match="No such file"):
        put(tmp_path / "missing" / "asn.mmdb", PREFIXES)
