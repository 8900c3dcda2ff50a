"""`tixd asn build` on a full table of the Internet, against a plain search over its ranges."""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program import ROOT, TIXD
from tests.support.tables import PlainSearch, database, files_of, full_table
from tixd.asn.table import Table

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

#: Addresses whose AS is known, in the order of the families.
KNOWN = {
    "8.8.8.8": 15169,
    "1.1.1.1": 13335,
    "2001:4860:4860::8888": 15169,
    "181.167.39.126": 7303,
}


def build(path: Path, *sources: str | Path) -> Path:
    """A table at `path`, made by the program with all its checks."""
    command = [*TIXD, "asn", "build", "--table", path, *sources]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> tuple[Path, Path]:
    """The CSV ranges of both families."""
    return full_table(tmp_path_factory.mktemp("npm"))


@pytest.fixture(scope="module")
def table(sources, tmp_path_factory) -> Iterator[Table]:
    """The table made of them."""
    path = build(tmp_path_factory.mktemp("table") / "asn.mmdb", *sources)
    with Table(str(path)) as opened:
        yield opened


def test_known_addresses_have_the_as_that_everybody_knows(table):
    assert {address: table.origin(address).asn for address in KNOWN} == KNOWN


@pytest.mark.parametrize("family", [ipaddress.IPv4Address, ipaddress.IPv6Address])
def test_the_table_agrees_with_a_plain_search_at_every_edge_and_by_chance(sources, table, family):
    lines = sources[family is ipaddress.IPv6Address].read_text(encoding="utf-8").splitlines()
    search = PlainSearch(family, lines)
    assert len(search.lines) == len(lines) > 50_000
    assert search.disagreements(table, search.edges())[:5] == []
    assert search.disagreements(table, search.by_chance(100_000))[:5] == []


def test_the_table_out_of_the_originals_database_equals_the_one_out_of_its_files(sources, tmp_path):
    lines = [line for path in sources for line in path.read_text(encoding="utf-8").splitlines()]
    prefixes, names = files_of(lines)
    (tmp_path / "prefixes").write_text("\n".join(prefixes) + "\n", encoding="utf-8")
    (tmp_path / "names").write_text("\n".join(names) + "\n", encoding="utf-8")
    files = build(tmp_path / "files.mmdb", tmp_path / "prefixes", tmp_path / "names")
    with database(prefixes, names) as url:
        rows = build(tmp_path / "rows.mmdb", "--mysql", url)
    assert content(rows) == content(files)
    assert len(content(files)) > 5_000_000


def content(path: Path) -> bytes:
    """Everything in a table but its own description, which holds the time it was made."""
    whole = path.read_bytes()
    return whole[: whole.rindex(b"MaxMind.com")]
