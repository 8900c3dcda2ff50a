"""The daemon as a service manager and an operator see it: start, signals, what systemd is told."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import made
from tests.support.histories import rows
from tests.support.ledger import Ledger, set_back_pauses
from tests.support.program import PATIENCE_SECONDS, until
from tests.support.service import SHORT, Service, service, writes
from tests.support.stand_in_api import Behaviour, StandInApi, closed_port

START = 1_700_000_000

#: An answer that takes about half a second.
SLOW = Behaviour(fault="trickle", trickle_seconds=0.005)


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A stand-in for the tix-api that knows the password."""
    with StandInApi(user="tix", password="secret") as server:
        yield server


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An empty reports folder."""
    (tmp_path / "base").mkdir()
    return tmp_path / "base"


def refused(base: Path, tmp_path: Path, **variables: str) -> str:
    """What a daemon says that cannot start, and ends with 3."""
    with Service(base, tmp_path, 1, **variables) as daemon:
        assert daemon.wait(PATIENCE_SECONDS) == 3
        text = daemon.log_file.read_text()
    assert "Traceback" not in text
    return text


def test_the_first_cycle_comes_at_once_and_a_restart_does_not_repeat_it(tmp_path, base, api):
    made.installation(base, START)
    with service(base, tmp_path, api.port) as daemon:
        until(lambda: len(api.accepted) == 1)
        assert daemon.ends()[0] == 0
    made.installation(base, START, user=2)
    with service(base, tmp_path, api.port) as daemon:
        until(lambda: daemon.told()["volume"]["answered"])
        assert (daemon.log("cycle_scanned")[1:], daemon.ends()[0]) == ([], 0)
    assert len(api.posts) == 1


def test_a_cycle_that_was_missed_is_made_up_for_at_once(tmp_path, base, api):
    with service(base, tmp_path, api.port) as daemon:
        until(lambda: daemon.log("cycle_scanned"))
        daemon.ends()
    state = tmp_path / "schedule" / "tixd-schedule.json"
    last = json.loads(state.read_text())
    last["started"] -= last["period_seconds"]
    state.write_text(json.dumps(last | {"number": last["number"] - 1}))
    made.installation(base, START)
    with service(base, tmp_path, api.port):
        until(lambda: len(api.accepted) == 1)


def test_without_a_reports_folder_it_does_not_start(tmp_path):
    assert "reports folder" in refused(tmp_path / "none", tmp_path)


def test_without_a_schedule_folder_it_does_not_start(tmp_path, base):
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file" / "schedule")
    assert folder in refused(base, tmp_path, CELERY_BEAT_SCHEDULE_DIR=folder)


def test_an_http_address_that_was_asked_for_and_is_taken_stops_the_start(tmp_path, base):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in refused(base, tmp_path, TIX_HTTP_ADDRESS=address)


def test_the_usual_http_address_taken_is_a_warning(tmp_path, base, api):
    with service(base, tmp_path, api.port, TIX_HTTP_ADDRESS="") as one:
        (tmp_path / "other").mkdir()
        with service(base, tmp_path / "other", api.port, TIX_HTTP_ADDRESS="") as other:
            assert other.log("http_address_not_available")[0]["level"] == "warning"
            assert other.ends()[0] == 0
        assert one.ends()[0] == 0


def test_a_password_that_was_mended_is_read_again_without_a_restart(tmp_path, base, api):
    made.installation(base, START)
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    variables = {"TIX_API_PASSWORD": "", "TIX_API_PASSWORD_FILE": str(secret)}
    with service(base, tmp_path, api.port, TIX_PROCESSING_PERIOD=SHORT, **variables) as daemon:
        until(lambda: daemon.told()["counts"].get("windows_stored"))
        before = daemon.pids()
        secret.write_text("secret\n")
        ledger = Ledger(base, api)
        daemon.send_signal(signal.SIGHUP)
        until(lambda: before.isdisjoint(daemon.pids()))
        daemon.runs()
        set_back_pauses(base)  # not before, or a worker with the old password may find it
        until(lambda: api.accepted)
        assert daemon.log("worker_ended") == []
        assert daemon.ends()[0] == 0
    ledger.settled()


def test_status_tells_why_results_are_kept_until_they_are_posted(tmp_path, base):
    made.installation(base, START)
    port = closed_port()
    with service(base, tmp_path, port, TIX_PROCESSING_PERIOD=SHORT) as daemon:
        until(lambda: daemon.told()["api"]["kept_since"])
        status = daemon.told()
        expected = "the tix-api: no connection: Connection refused (TIX_API_HOST, TIX_API_PORT)"
        assert status["api"]["reason"] == expected
        assert status["started"] <= status["api"]["kept_since"] <= status["moment"]
        with StandInApi(port=port) as api:
            set_back_pauses(base)
            until(lambda: api.accepted and not daemon.told()["api"]["kept_since"])
            assert daemon.ends()[0] == 0


def test_workers_are_renewed_without_losing_a_job(tmp_path, base, api):
    for user in range(1, 4):
        made.installation(base, START, 28, user=user)
    ledger = Ledger(base, api)
    api.answer(SLOW)
    with service(base, tmp_path, api.port, TIX_WORKERS="2") as daemon:
        for posts in (1, 3):
            until(lambda posts=posts: len(api.posts) >= posts)
            daemon.send_signal(signal.SIGHUP)
        until(lambda: len(api.accepted) == len(ledger.expected))
        assert daemon.ends()[0] == 0
        assert daemon.log("worker_ended") == []
    ledger.settled()
    assert ledger.duplicates == 0


def test_a_log_that_was_moved_away_goes_on_in_a_new_file(tmp_path, base, api):
    file, moved = tmp_path / "tixd.log", tmp_path / "tixd.log.1"
    variables = {"TIX_PROCESSING_PERIOD": SHORT, "TIX_LOG_FILE": str(file)}
    with service(base, tmp_path, api.port, **variables, CELERY_LOG_LEVEL="DEBUG") as daemon:
        until(lambda: '"cycle_scanned"' in file.read_text())
        file.rename(moved)
        daemon.send_signal(signal.SIGUSR1)
        until(lambda: all(writes(process, file) for process in daemon.workers()))
        (base / "1").mkdir()
        (base / "1" / "odd").symlink_to(tmp_path)
        until(lambda: file.exists() and '"cycle_scanned"' in file.read_text())
        until(lambda: '"folder_ignored"' in file.read_text())
        assert daemon.ends()[0] == 0
    daemon.log_file = tmp_path / "all"
    daemon.log_file.write_text(moved.read_text() + file.read_text())
    scanned = {line["cycle"] for line in daemon.log("cycle_scanned")}
    statement = "SELECT number FROM cycles WHERE seconds IS NOT NULL"
    cycles = {row["number"] for row in rows(tmp_path / "schedule" / "history.sqlite", statement)}
    assert len(cycles) >= 2, "one in each file"
    assert cycles <= scanned, "no line is lost"


def test_debugging_is_turned_on_and_off_in_parent_and_workers(tmp_path, base, api):
    with service(base, tmp_path, api.port, TIX_PROCESSING_PERIOD=SHORT) as daemon:
        api.answer(Behaviour(500))
        daemon.send_signal(signal.SIGUSR2)
        until(lambda: daemon.log("debug_toggled"))
        made.installation(base, START)
        until(lambda: daemon.log("result_stored"))
        assert daemon.log("result_stored")[0]["pid"] == daemon.workers()[0].pid
        daemon.send_signal(signal.SIGUSR2)
        until(lambda: [line["on"] for line in daemon.log("debug_toggled")] == [True, False])
