"""`tixd asn`: tables made, asked and described."""

from __future__ import annotations

import gzip
import json
import sys

import pytest
from click.testing import CliRunner

from tests.support.tables import NAMES, PREFIXES, SMALL, foreign, table
from tixd import errors
from tixd.commands import Invocation
from tixd.commands.asn import command


def run(*arguments):
    obj = Invocation({}, None)
    return CliRunner().invoke(command, [str(argument) for argument in arguments], obj=obj)


@pytest.fixture
def path(tmp_path):
    """Where the table belongs."""
    return tmp_path / "asn.mmdb"


@pytest.fixture
def sources(tmp_path):
    """The original's two files, one of them packed."""
    (tmp_path / "prefixes.gz").write_bytes(gzip.compress(PREFIXES.encode()))
    (tmp_path / "names").write_text(NAMES)
    return tmp_path / "prefixes.gz", tmp_path / "names"


def test_a_table_is_made_of_the_originals_files_and_can_be_asked(path, sources):
    built = run("build", *sources, "--table", path, *SMALL)
    assert built.exit_code == 0, built.output
    assert built.stdout.splitlines() == [
        f"{sources[0]}: prefixes",
        f"{sources[1]}: names",
        f"{path}: 6 networks, {path.stat().st_size:,} bytes, the first one",
    ]
    asked = run("lookup", "--table", path, "181.164.1.1", "8.8.8.8", "::ffff:1.1.1.1", "10.0.0.1")
    assert asked.stdout.splitlines() == [
        "181.164.1.1  AS7303 Telecom Argentina S.A.  181.164.0.0/15",
        "8.8.8.8      AS15169 Google LLC  8.8.8.0/24",
        "1.1.1.1      AS13335  1.1.1.0/24",
        "10.0.0.1     no AS",
    ]


def test_the_table_of_the_settings_is_meant_where_none_is_named(path, monkeypatch):
    monkeypatch.setenv("TIX_ASN_TABLE", str(table(path)))
    assert "AS15169" in run("lookup", "8.8.8.8").stdout
    monkeypatch.delenv("TIX_ASN_TABLE")
    refused = run("lookup", "8.8.8.8")
    assert (refused.exit_code, "TIX_ASN_TABLE" in refused.stderr) == (2, True)


def test_a_look_up_can_be_read_by_programs(path):
    foreign(path, {"8.8.8.0/24": {"asn": "AS15169", "as_name": "Google", "country_code": "US"}})
    done = run("lookup", "--format", "json", "--table", path, "8.8.8.8", "127.0.0.1")
    first, second = map(json.loads, done.stdout.splitlines())
    known = {"asn": 15169, "name": "Google", "prefix": "8.8.8.0/24", "country": "US"}
    assert first == {"address": "8.8.8.8", **known}
    assert second == {"address": "127.0.0.1", **dict.fromkeys(known)}


def test_info_says_what_the_table_is_and_how_old(path):
    table(path)
    lines = run("info", "--table", path).stdout.splitlines()
    assert lines[:2] == [f"table    {path}", "kind     tixd-ASN, IPv4 and IPv6"]
    assert " UTC, " in lines[2]
    facts = json.loads(run("info", "--table", path, "--format", "json").stdout)
    assert facts["table"] == str(path)
    assert facts["size_bytes"] == path.stat().st_size


def test_a_table_of_an_impossible_time_is_shown_all_the_same(path):
    content = table(path).read_bytes()
    at = content.rindex(b"build_epoch") + len(b"build_epoch")
    length = content[at] & 0x1F or content[at + 1]
    first = at + (2 if content[at] >> 5 == 0 else 1)
    path.write_bytes(content[:first] + b"\xff" * length + content[first + length :])
    done = run("info", "--table", path)
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 4)


@pytest.mark.parametrize("words", [["info"], ["lookup", "8.8.8.8"]])
def test_a_table_that_cannot_be_used_ends_with_one(path, words):
    done = run(*words, "--table", path)
    assert isinstance(done.exception, errors.BadTable)
    assert done.exception.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build"], "name a FILE, or a database"),
        (["build", "x", "--known", "8.8.8.8"], "'8.8.8.8' is not ADDRESS=ASN"),
        (["build", "x", "--known", "8.8.8=1"], "is not an IPv4 or IPv6 address"),
        (["build", "x", "--least", "0"], "Invalid value for '--least'"),
        (["lookup", "host"], "'host' is not an IPv4 or IPv6 address"),
        (["lookup"], "Missing argument"),
    ],
)
def test_a_mistake_on_the_command_line_ends_with_two(path, arguments, message):
    done = run(*arguments, "--table", path)
    assert done.exit_code == 2
    assert message in done.stderr


def test_names_without_addresses_make_no_table(path, sources):
    done = run("build", sources[1], "--table", path)
    assert isinstance(done.exception, errors.BadSource)
    assert not path.exists()


def test_what_is_demanded_of_a_table_can_be_told(path, sources):
    small = run("build", *sources, "--table", path)
    assert isinstance(small.exception, errors.TableRefused)
    known = run("build", *sources, "--table", path, *SMALL, "--known", "8.8.8.8=AS7303")
    assert "8.8.8.8 has AS 15169, where 7303 is expected" in str(known.exception)
    table(path, "8.0.0.0/6 64500\n")
    assert "--any-change" in str(run("build", *sources, "--table", path, *SMALL).exception)
    forced = run("build", *sources, "--table", path, *SMALL, "--any-change")
    assert forced.stdout.endswith("% changed\n")


def test_lines_that_were_left_out_are_counted(path, tmp_path):
    (tmp_path / "source").write_text(PREFIXES + PREFIXES * 99 + "nonsense\n")
    done = run("build", tmp_path / "source", "--table", path, *SMALL)
    assert done.stdout.endswith("1 lines left out that make no sense\n")


def test_a_database_needs_an_extra_and_says_so(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymysql", None)
    monkeypatch.delitem(sys.modules, "tixd.asn.mysql", raising=False)
    done = run("build", "--mysql", "mysql://x@localhost/iptoas", "--table", path)
    ways = "EXTRAS=mysql scripts/install, or beside tixd: pip install pymysql"
    assert ways in str(done.exception)


def test_a_password_file_that_is_missing_is_named(path, tmp_path):
    database = ["--mysql", "mysql://x@localhost/iptoas", "--password-file", tmp_path / "none"]
    done = run("build", *database, "--table", path)
    assert str(tmp_path / "none") in str(done.exception)
