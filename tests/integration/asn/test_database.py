"""The original service's database, in the MariaDB or MySQL that runs here, else skipped."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tests.support import tables
from tests.support.stand_in_api import closed_port
from tests.support.tables import (
    HOST,
    NAMES,
    PREFIXES,
    SMALL,
    USER,
    csv_ranges,
    database,
    files_of,
    quiet,
    table,
)
from tixd import errors
from tixd.asn.mysql import read_database
from tixd.asn.sources import Entries
from tixd.asn.table import Table
from tixd.commands import Invocation
from tixd.commands.asn import command


def content(path):
    """Every network of a table with its origin."""
    with Table(str(path)) as opened:
        return list(opened)


def built(path, *database_options):
    words = ["build", "--table", str(path), *SMALL, *database_options]
    return CliRunner().invoke(command, words, obj=Invocation({}, None))


def test_a_table_out_of_the_database_equals_the_one_out_of_the_files(tmp_path):
    prefixes, names = files_of(csv_ranges(100).splitlines())
    prefixes += PREFIXES.splitlines()
    by_files = table(tmp_path / "files.mmdb", "\n".join(prefixes), "\n".join(names))
    with database(prefixes, names) as url:
        done = built(tmp_path / "database.mmdb", "--mysql", url)
    assert done.exit_code == 0, done.output
    assert content(tmp_path / "database.mmdb") == content(by_files)
    assert len(content(by_files)) > 1000


def test_the_database_and_files_can_be_taken_together(tmp_path):
    (tmp_path / "names").write_text(NAMES)
    with database(PREFIXES.splitlines(), ["13335\tCloudflare, Inc."]) as url:
        done = built(tmp_path / "asn.mmdb", "--mysql", url, str(tmp_path / "names"))
    assert done.exit_code == 0, done.output
    names = {origin.asn: origin.name for origin in content(tmp_path / "asn.mmdb")}
    assert (names[13335], names[15169]) == ("Cloudflare, Inc.", "Google LLC")


def test_names_of_all_scripts_come_through(tmp_path):
    with database(PREFIXES.splitlines(), ["7303\tTelefónica 東京 🌐"]) as url:
        built(tmp_path / "asn.mmdb", "--mysql", url)
    assert "Telefónica 東京 🌐" in {origin.name for origin in content(tmp_path / "asn.mmdb")}


def test_a_database_with_other_tables_is_refused_and_the_old_table_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_fill", lambda *_: None)
    path = table(tmp_path / "asn.mmdb")
    before = path.read_bytes()
    with database([], []) as url:
        done = built(path, "--mysql", url)
    assert isinstance(done.exception, errors.BadSource)
    assert "routerviews' doesn't exist" in str(done.exception)
    assert path.read_bytes() == before


def test_a_wrong_password_is_refused_and_never_shown(tmp_path):
    (tmp_path / "password").write_text("geheim2\n")
    with database([], []) as url:
        wrong = url.replace(f"{USER}@", "nobody:geheim1@")
        done = built(
            tmp_path / "a", "--mysql", wrong, "--password-file", str(tmp_path / "password")
        )
    assert isinstance(done.exception, errors.BadSource)
    assert "Access denied for user 'nobody'" in str(done.exception)
    assert "geheim" not in str(done.exception) + done.output


@pytest.mark.parametrize(
    "url",
    [
        *("mysql://root@127.0.0.1", "mysql:///iptoas", "postgres://root@127.0.0.1/iptoas", "x"),
        *("mysql://root@127.0.0.1:port/iptoas", "mysql://root@127.0.0.1:{closed}/iptoas"),
    ],
)
def test_a_url_that_leads_nowhere_is_a_bad_source(url):
    with pytest.raises(errors.BadSource):
        read_database(Entries(), url.format(closed=closed_port()), "", quiet)


def test_how_far_the_reading_is_can_be_told():
    told = []
    with database(PREFIXES.splitlines(), NAMES.splitlines()) as url:
        read_database(Entries(), url, "", lambda done, total: told.append((done, total)))
    assert told == [(0, 5), (5, 5), (0, 2), (2, 2)]
    assert HOST in url
