"""The AS table may be missing, damaged or replaced at any time: posting goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import pools
from tests.support.ledger import set_back_pauses
from tests.support.program import once, until
from tests.support.service import SHORT, Service, service
from tests.support.stand_in_api import Behaviour, StandInApi
from tests.support.tables import table

#: A line of Telecom Argentina, and one of nobody.
SOURCE, PRIVATE = "181.165.9.9:4501", "192.168.1.1:4501"

TELECOM = (7303, "Telecom Argentina S.A.")
NOBODY = (None, None)


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A stand-in for the tix-api."""
    with StandInApi() as server:
        yield server


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An empty reports folder."""
    (tmp_path / "base").mkdir()
    return tmp_path / "base"


def origins(api: StandInApi) -> list[tuple[int | None, str | None]]:
    """AS number and name of every post, in order; fails where a post has none of them."""
    return [(post.body["asn"], post.body["asName"]) for post in api.accepted]


def metric(daemon: Service, name: str) -> float | None:
    """A gauge of /metrics; None where it is not there."""
    lines = dict(line.rsplit(" ", 1) for line in daemon.get("/metrics")[1].splitlines() if line)
    return float(lines[name]) if name in lines else None


@contextlib.contextmanager
def posting(base: Path, state: Path, api: StandInApi, path: Path) -> Iterator[Service]:
    """A service with a short period and this table."""
    variables = {"TIX_PROCESSING_PERIOD": SHORT, "TIX_ASN_TABLE": str(path)}
    with service(base, state, api.port, **variables) as daemon:
        yield daemon


def test_without_the_setting_no_post_names_an_as(base, api):
    pools.window(base, 1, source=SOURCE)
    assert once(base, api.port).code == 0
    assert {"asn", "asName"} & api.accepted[0].body.keys() == set()


def test_with_the_setting_every_post_names_its_as_or_null(base, tmp_path, api):
    pools.window(base, 1, source=SOURCE)
    pools.window(base, 2, source=PRIVATE)
    once(base, api.port, TIX_ASN_TABLE=str(table(tmp_path / "asn.mmdb")))
    assert {post.user: post.body["asn"] for post in api.accepted} == {1: 7303, 2: None}
    assert set(origins(api)) == {TELECOM, NOBODY}


def test_a_result_that_waited_is_posted_with_its_as(base, tmp_path, api):
    pools.window(base, 1, source=SOURCE)
    path = table(tmp_path / "asn.mmdb")
    api.answer(Behaviour(500))
    once(base, api.port, TIX_ASN_TABLE=str(path))
    (kept,) = base.glob("1/1/failed-results/*.json")
    assert b"asn" not in kept.read_bytes()
    api.answer(Behaviour())
    set_back_pauses(base)
    once(base, api.port, TIX_ASN_TABLE=str(path))
    assert origins(api) == [TELECOM]


@pytest.mark.parametrize("content", [None, b"", b"8.8.8.0/24 15169\n", "half"])
def test_a_table_that_cannot_be_used_is_one_warning_and_all_is_posted(base, tmp_path, api, content):
    path = table(tmp_path / "asn.mmdb")
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    for user in (1, 2, 3):
        pools.window(base, user, windows=2, source=SOURCE)
    done = once(base, api.port, TIX_ASN_TABLE=str(path))
    assert origins(api) == [NOBODY] * 6
    assert (done.code, len(done.events("asn_table_unusable"))) == (0, 1)


def test_a_service_takes_up_a_table_that_comes_goes_and_changes(base, tmp_path, api):
    path = tmp_path / "asn.mmdb"
    with posting(base, tmp_path, api, path) as daemon:
        until(lambda: metric(daemon, "tixd_asn_table_usable") == 0)
        assert metric(daemon, "tixd_asn_table_age_seconds") is None
        pools.window(base, 1, source=SOURCE)
        until(lambda: origins(api) == [NOBODY])
        table(path)
        pools.window(base, 2, source=SOURCE)
        until(lambda: origins(api)[1:] == [TELECOM])
        table(path, "181.165.0.0/16 64500\n")
        pools.window(base, 3, source=SOURCE)
        until(lambda: origins(api)[2:] == [(64500, None)])
        until(lambda: metric(daemon, "tixd_asn_table_usable") == 1)
        assert 0 <= metric(daemon, "tixd_asn_table_age_seconds") < 600
        assert daemon.ends()[0] == 0
    assert len(daemon.log("asn_table_unusable")) == 1
    assert len(daemon.log("asn_table_read")) == 2


def test_a_table_that_is_cut_short_under_the_service_kills_no_worker(base, tmp_path, api):
    path = table(tmp_path / "asn.mmdb")
    with posting(base, tmp_path, api, path) as daemon:
        pools.window(base, 1, source=SOURCE)
        until(lambda: origins(api) == [TELECOM])
        with path.open("r+b") as file:
            file.truncate(50)
        pools.window(base, 2, source=SOURCE)
        until(lambda: origins(api)[1:] == [NOBODY])
        assert daemon.log("worker_ended") == []
        assert daemon.ends()[0] == 0
    assert len(daemon.log("asn_table_unusable")) == 1
