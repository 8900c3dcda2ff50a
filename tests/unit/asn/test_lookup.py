"""Origins as workers ask for them: the file may be replaced, missing or damaged at any time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.log_events import heard
from tests.support.tables import foreign, table
from tixd.asn.lookup import OriginLookup
from tixd.asn.origin import UNKNOWN

ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path):
    """A table, in place."""
    return table(tmp_path / "asn.mmdb")


def test_without_a_table_nothing_has_an_origin():
    assert OriginLookup().lookup("8.8.8.8") is None
    assert OriginLookup().built() is None


def test_without_a_table_its_library_is_not_imported():
    program = (
        "import tixd.pool.worker_main, sys; from tixd.asn.lookup import OriginLookup\n"
        "OriginLookup('').lookup('8.8.8.8'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "tixd.asn.lookup" in loaded, done.stderr
    assert loaded & {"maxminddb", "mmdb_writer", "netaddr", "pymysql"} == set()


def test_a_worker_with_a_table_imports_the_reader_and_no_writer(path):
    program = (
        "import tixd.pool.worker_main, sys; from tixd.asn.lookup import OriginLookup\n"
        "print(OriginLookup(sys.argv[1]).lookup('8.8.8.8').asn, *sys.modules)"
    )
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    asn, *loaded = done.stdout.split()
    assert (asn, "maxminddb" in loaded) == ("15169", True)
    assert set(loaded) & {"mmdb_writer", "netaddr", "pymysql"} == set()


def test_a_replaced_file_is_taken_up_at_the_next_look_up(path):
    origins = OriginLookup(str(path))
    assert origins.lookup("8.8.8.8").asn == 15169
    table(path, "8.8.8.0/24 64500\n")
    assert origins.lookup("8.8.8.8").asn == 64500


def test_a_file_that_is_overwritten_in_place_is_taken_up_too(path, tmp_path):
    origins = OriginLookup(str(path))
    other = table(tmp_path / "other", "8.8.8.0/24 64500\n9.0.0.0/8 64501\n").read_bytes()
    assert origins.lookup("8.8.8.8").asn == 15169
    with path.open("r+b") as file:
        file.truncate(100)
        assert origins.lookup("8.8.8.8") == UNKNOWN
        file.write(other)
        file.truncate()
    assert origins.lookup("8.8.8.8").asn == 64500


def test_a_file_that_is_cut_short_kills_nobody(path):
    origins = OriginLookup(str(path))
    origins.lookup("8.8.8.8")
    for length in (*range(path.stat().st_size - 1, 0, -97), 0):
        os.truncate(path, length)
        assert origins.lookup("8.8.8.8") == UNKNOWN
        assert origins.built() == 0


def test_a_lasting_fault_is_one_warning_and_its_end_one_line(path):
    origins = OriginLookup(str(path))
    whole = path.read_bytes()
    path.unlink()
    with heard() as log:
        assert [origins.lookup("8.8.8.8") for _ in range(5)] == [UNKNOWN] * 5
        path.write_bytes(whole)
        assert [origins.lookup("8.8.8.8").asn for _ in range(5)] == [15169] * 5
    assert log.events == [("warning", "asn_table_unusable"), ("info", "asn_table_read")]


def test_a_file_of_another_kind_gives_nobody_an_as(path):
    foreign(path, {"8.8.8.0/24": {"country": {"iso_code": "US"}}})
    assert OriginLookup(str(path)).lookup("8.8.8.8") == UNKNOWN
    assert OriginLookup(str(path)).built() == 0


def test_a_link_to_the_table_may_be_turned_to_another(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    origins = OriginLookup(str(tmp_path / "link"))
    assert origins.lookup("8.8.8.8").asn == 15169
    table(tmp_path / "next", "8.8.8.0/24 64500\n")
    (tmp_path / "turned").symlink_to(tmp_path / "next")
    shutil.move(tmp_path / "turned", tmp_path / "link")
    assert origins.lookup("8.8.8.8").asn == 64500
