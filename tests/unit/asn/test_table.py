"""AS tables as files: those that tixd makes, those of providers, and those that are none."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import subprocess
import sys

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from tests.support.program import ROOT
from tests.support.tables import PlainSearch, csv_ranges, foreign, table
from tixd import errors
from tixd.asn.origin import UNKNOWN, Origin
from tixd.asn.table import Table


def origin(path, address):
    with Table(str(path)) as opened:
        return opened.origin(address)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("8.8.8.8", Origin(15169, "Google LLC", "8.8.8.0/24")),
        ("1.1.1.1", Origin(13335, None, "1.1.1.0/24")),
        ("181.164.9.9", Origin(7303, "Telecom Argentina S.A.", "181.164.0.0/15")),
        ("181.167.39.126", Origin(64500, None, "181.167.0.0/16")),
        ("2001:4860:4860::8888", Origin(15169, "Google LLC", "2001:4860::/32")),
        ("8.8.9.1", UNKNOWN),
        ("2001:4861::", UNKNOWN),
        ("::8.8.8.8", UNKNOWN),
        ("somewhere", UNKNOWN),
    ],
)
def test_the_longest_prefix_of_the_originals_files_counts(tmp_path, address, found):
    assert origin(table(tmp_path / "asn.mmdb"), address) == found


def test_special_addresses_have_no_as_even_if_a_table_says_so(tmp_path):
    lines = "10.0.0.0/8 64500\n100.64.0.0/10 64500\nfe80::/10 64500\n8.8.8.0/24 15169\n"
    path = table(tmp_path / "asn.mmdb", lines)
    addresses = ("10.0.0.1", "100.64.0.1", "fe80::1")
    assert [origin(path, address) for address in addresses] == [UNKNOWN] * 3


def test_a_default_route_and_as_zero_give_no_address_an_as(tmp_path):
    path = table(
        tmp_path / "asn.mmdb", "0.0.0.0/0 64500\n::/0 64500\n8.8.8.0/24 15169\n9.0.0.0/8 0"
    )
    assert origin(path, "9.9.9.9") == origin(path, "2a00::1") == UNKNOWN
    assert origin(path, "8.8.8.8").asn == 15169


def test_the_country_of_iptoasn_is_kept(tmp_path):
    lines = "8.8.8.0\t8.8.8.255\t15169\tUS\tGOOGLE\n8.8.9.0\t8.8.9.255\t0\tNone\tNot routed\n"
    path = table(tmp_path / "asn.mmdb", lines)
    assert origin(path, "8.8.8.8") == Origin(15169, "GOOGLE", "8.8.8.0/24", "US")
    assert origin(path, "8.8.9.9") == UNKNOWN


def test_made_ranges_agree_with_a_plain_search_at_their_ends_and_by_chance(tmp_path):
    text = csv_ranges(800)
    with Table(str(table(tmp_path / "asn.mmdb", text))) as opened:
        for kind, sign in ((ipaddress.IPv4Address, "."), (ipaddress.IPv6Address, ":")):
            lines = [line for line in text.splitlines() if sign in line.partition(",")[0]]
            search = PlainSearch(kind, lines)
            assert len(search.lines) == 400
            assert search.disagreements(opened, search.edges()) == []
            assert search.disagreements(opened, search.by_chance(2000)) == []


GEOLITE = {"autonomous_system_number": 15169, "autonomous_system_organization": "GOOGLE"}
IPINFO = {"asn": "AS15169", "as_name": "Google LLC", "country": "United States"}


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (GEOLITE, Origin(15169, "GOOGLE", "8.8.8.0/24")),
        (IPINFO | {"country_code": "US"}, Origin(15169, "Google LLC", "8.8.8.0/24", "US")),
    ],
)
@pytest.mark.parametrize("ip_version", [4, 6])
def test_files_of_other_makers_are_read(tmp_path, record, found, ip_version):
    path = foreign(tmp_path / "asn.mmdb", {"8.8.8.0/24": record}, ip_version)
    assert origin(path, "8.8.8.8") == found
    assert origin(path, "2001:4860:4860::8888") == UNKNOWN


def shorter_than_ipv4(path, records):
    """A table of IPv6 that has a block around all of IPv4."""
    writer = MMDBWriter(6, "Somebodys-ASN")
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


def test_a_block_around_all_of_ipv4_does_not_make_a_table_unusable(tmp_path):
    reserved = {"autonomous_system_number": 0, "autonomous_system_organization": "reserved"}
    networks = {"::/64": reserved, "2001:4860::/32": GEOLITE}
    path = shorter_than_ipv4(tmp_path / "asn.mmdb", networks)
    assert origin(path, "2001:4860:4860::8888") == Origin(15169, "GOOGLE", "2001:4860::/32")
    assert origin(path, "8.8.8.8") == UNKNOWN
    with Table(str(path)) as opened:
        assert Origin(15169, "GOOGLE", "2001:4860::/32") in list(opened)


def test_a_block_around_all_of_ipv4_can_have_an_as(tmp_path):
    path = shorter_than_ipv4(tmp_path / "asn.mmdb", {"::/64": GEOLITE})
    assert origin(path, "8.8.8.8") == Origin(15169, "GOOGLE", "0.0.0.0/0")


def test_a_table_whose_first_thousand_networks_have_no_as_is_judged_by_look_ups(tmp_path):
    networks = {f"1.{n >> 8}.{n & 255}.0/24": {"asn": 0} for n in range(1, 1200)}
    path = foreign(tmp_path / "asn.mmdb", {**networks, "8.8.8.0/24": GEOLITE})
    assert origin(path, "8.8.8.8").asn == 15169


def test_the_as_numbers_of_geoip2_enterprise_are_read(tmp_path):
    record = {"country": {"iso_code": "US"}, "traits": GEOLITE}
    path = foreign(tmp_path / "asn.mmdb", {"8.8.8.0/24": record})
    assert origin(path, "8.8.8.8") == Origin(15169, "GOOGLE", "8.8.8.0/24")


def test_what_a_table_says_of_itself_is_one_short_line(tmp_path):
    writer = MMDBWriter(6, "x\n" * 5000, ipv4_compatible=True)
    writer.insert_network(IPSet(["8.8.8.0/24"]), GEOLITE)
    writer.to_db_file(str(tmp_path / "asn.mmdb"))
    with Table(str(tmp_path / "asn.mmdb")) as opened:
        assert opened.facts.kind.startswith("x x x")
        assert len(opened.facts.kind) <= 255


#: What is wrong with what is no table.
REASONS = {
    "Somebodys-ASN names no AS",
    "No such file or directory",
    "Too many levels of symbolic links",
    "a path cannot contain a null character",
    "is not an MMDB file, or is damaged",
    "not a regular file",
}


def test_what_is_no_table_is_a_bad_table_and_blocks_nobody(tmp_path):
    whole = table(tmp_path / "asn.mmdb").read_bytes()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for name, content in (("empty", b""), ("text", b"8.8.8.0/24 15169\n"), ("half", whole[:200])):
        (tmp_path / name).write_bytes(content)
    foreign(tmp_path / "city", {"8.8.8.0/24": {"country": {"iso_code": "US"}}})
    for name in ("missing", "empty", "text", "half", "city", "fifo", "loop", "", "a\0b"):
        with pytest.raises(errors.BadTable) as caught:
            Table(str(tmp_path / name))
        path, _, reason = caught.value.detail.partition(": ")
        assert path == str(tmp_path / name)
        assert reason in REASONS


def test_damage_within_a_table_is_a_bad_table_or_another_answer_and_no_crash(tmp_path):
    content = table(tmp_path / "asn.mmdb", csv_ranges(200)).read_bytes()
    metadata = content.rindex(b"\xab\xcd\xefMaxMind.com")
    addresses = [line.partition(",")[0] for line in csv_ranges(200).splitlines()]
    for at in range(0, metadata, metadata // 50):
        damaged = content[:at] + b"\xff" * 40 + content[at + 40 :]
        (tmp_path / "damaged").write_bytes(damaged[:metadata] + content[metadata:])
        with contextlib.suppress(errors.BadTable), Table(str(tmp_path / "damaged")) as opened:
            for address in addresses:
                with contextlib.suppress(errors.BadTable):
                    opened.origin(address)


def test_a_tree_that_leads_back_to_its_root_is_a_bad_table_and_ends_no_process(tmp_path):
    content = table(tmp_path / "asn.mmdb", csv_ranges(20)).read_bytes()
    (tmp_path / "damaged").write_bytes(b"\0" * 6 + content[6:])
    program = "import sys; from tixd.asn.table import Table; Table(sys.argv[1])"
    words = [sys.executable, "-c", program, str(tmp_path / "damaged")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        f"tixd.errors.BadTable: {tmp_path}/damaged: is not an MMDB file, or is damaged: The AS"
        " table cannot be used; replace it with another (tixd asn build makes one).",
    )


def test_a_table_says_what_it_is(tmp_path):
    path = table(tmp_path / "asn.mmdb")
    with Table(str(path)) as opened:
        facts = opened.facts
        networks = [found.prefix for found in opened]
    assert (facts.kind, facts.ip_version) == ("tixd-ASN", 6)
    assert facts.size_bytes == path.stat().st_size
    assert facts.built > 1_700_000_000
    assert networks[:2] == ["1.1.1.0/24", "8.8.8.0/24"]
