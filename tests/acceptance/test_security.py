"""What the manual's page on security claims of files, addresses and rights, seen in a service."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import made
from tests.support.collector import Collector
from tests.support.manual_pages import page, rows, section
from tests.support.program import until
from tests.support.service import SHORT, Service, service
from tests.support.stand_in_api import Behaviour, StandInApi
from tixd.config.collector_settings import CollectorSettings
from tixd.config.settings import Settings

#: Names in the page's table of files, by what the table calls them.
FILES = {
    "`.tixd.lock`": "base/1/2/.tixd.lock",
    "failed-results": "base/1/2/failed-results",
    "failed-results file": "base/1/2/failed-results/failed-report-*.json",
    "bad-reports": "base/1/2/bad-reports",
    "reason": "base/1/2/bad-reports/*.reason",
    "tixd-schedule.json": "schedule/tixd-schedule.json",
    "tixd-leader.lock": "schedule/tixd-leader.lock",
    "history": "schedule/history.sqlite",
    "log": "tixd.log",
    "control socket": "run/standalone.sock",
    "worker sockets": "run/tixd-workers-*",
}

#: Modes as the page gives them.
MODES = {
    "`.tixd.lock`": 0o640,
    "failed-results": 0o750,
    "failed-results file": 0o640,
    "bad-reports": 0o750,
    "reason": 0o640,
    "tixd-schedule.json": 0o640,
    "tixd-leader.lock": 0o644,
    "history": 0o640,
    "log": 0o640,
    "control socket": 0o600,
    "worker sockets": 0o700,
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service at a umask of 022 that has made every file there is."""
    state = tmp_path_factory.mktemp("s")
    folder = made.installation(state / "base", made.START)
    (folder / "tix-report-7.json").write_bytes(b"{")
    os.utime(folder / "tix-report-7.json", (1, 1))
    variables = {"TIX_PROCESSING_PERIOD": SHORT, "TIX_LOG_FILE": str(state / "tixd.log")}
    before = ("sh", "-c", 'umask 022; exec "$@"', "sh")
    with StandInApi() as api:
        api.answer(Behaviour(500))
        with service(state / "base", state, api.port, before=before, **variables) as daemon:
            until(lambda: all(list(state.glob(pattern)) for pattern in FILES.values()))
            yield daemon


@pytest.mark.parametrize("name", FILES)
def test_each_file_of_a_service_has_the_mode_that_the_page_says(running, name):
    found = {stat.S_IMODE(path.stat().st_mode) for path in running.state.glob(FILES[name])}
    assert found == {MODES[name]}


def test_the_page_says_these_modes():
    told = "\n".join(" ".join(row) for row in rows(section("security", "Files")))
    shown = {f"{mode:04o}" for name, mode in MODES.items() if name != "worker sockets"}
    assert shown == set(re.findall(r"\b0[0-7]{3}\b", told))


def test_a_service_listens_where_it_is_told_and_nowhere_else(running):
    listening = [
        (c.laddr.ip, c.laddr.port)
        for process in (psutil.Process(running.pid), *running.workers())
        for c in process.net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    ]
    host, _, port = running.http.rpartition(":")
    assert listening == [(host, int(port))]


def test_a_collector_listens_where_it_is_told_and_nowhere_else(tmp_path: Path):
    settings = {"AMQP": {"enable": False}, "file": {"path": str(tmp_path / "records")}}
    with Collector(tmp_path, settings) as collector:
        collector.becomes_ready()
        found = psutil.Process(collector.pid).net_connections("inet")
        listening = [(c.laddr.ip, c.laddr.port) for c in found if c.status == psutil.CONN_LISTEN]
        assert listening == [("127.0.0.1", collector.port)]


def test_addresses_are_loopback_unless_somebody_sets_another():
    assert (CollectorSettings().address, CollectorSettings().port) == ("localhost", 8888)
    standalone, worker = (
        Settings(role=role).http_address_used for role in ("standalone", "worker")
    )
    usual = set(re.findall(r"localhost:88[89][0-9]", page("security")))
    assert usual == {"localhost:8888", standalone, worker}


def test_no_program_that_is_started_gets_new_rights(running):
    """Root keeps two capabilities where it owns the reports, as here."""
    if os.geteuid() != 0:
        pytest.skip("not run: not root")
    status = Path(f"/proc/{running.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    (effective,) = re.findall(r"CapEff:\t([0-9a-f]+)", status)
    assert int(effective, 16) == 1 << 1 | 1 << 3
