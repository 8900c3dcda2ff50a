"""Every role under something that plays systemd's part: what it is told, and its signals to all."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import made
from tests.support.bundles import form
from tests.support.chosen import few
from tests.support.collector import Collector
from tests.support.program import PATIENCE_SECONDS, until
from tests.support.service import SHORT, Manager, Service, gone, listening, service, writes
from tests.support.stand_in_api import Behaviour, StandInApi, closed_port

START = 1_700_000_000

#: A tix-api that does not answer, and one that takes about half a second.
SILENT = Behaviour(fault="silent")
SLOW = Behaviour(fault="trickle", trickle_seconds=0.005)

#: tixd, whose loop hangs from one signal to the next while its other threads go on.
HANG, GO_ON = signal.SIGRTMAX, signal.SIGRTMAX - 1
HANGING = """
import signal, sys
from tixd.__main__ import main
def hang(*_):
    print("hangs", file=sys.stderr, flush=True)
    signal.pause()
signal.signal(signal.SIGRTMAX, hang)
signal.signal(signal.SIGRTMAX - 1, lambda *_: None)
del sys.argv[1:4]  # the usual python -m tixd
main()
"""
CAN_HANG = (sys.executable, "-c", HANGING)

#: With these a worker waits longer for the tix-api than any test.
PATIENT = {"TIX_API_READ_SECONDS": "60", "TIX_API_TOTAL_SECONDS": "60", "TIX_STOP_SECONDS": "5"}


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A service manager of which all that the test starts is told."""
    with listening(tmp_path / "notify") as heard:
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield heard


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An empty reports folder."""
    (tmp_path / "base").mkdir()
    return tmp_path / "base"


def away() -> dict[str, str]:
    """Variables of a RabbitMQ that is away."""
    return {"TIX_RABBITMQ_HOST": "127.0.0.1", "TIX_RABBITMQ_PORT": str(closed_port())}


def to_all(daemon: subprocess.Popen[bytes], number: int) -> list[psutil.Process]:
    """Signal every process, the main one first, as `systemctl kill` does; its children."""
    children = psutil.Process(daemon.pid).children(recursive=True)
    for process in (psutil.Process(daemon.pid), *children):
        with contextlib.suppress(psutil.NoSuchProcess):  # a reload may have ended a worker
            process.send_signal(number)
    return children


def test_systemd_is_told_of_the_whole_life(tmp_path, base, manager):
    with service(base, tmp_path, closed_port()) as daemon:
        until(lambda: manager.fed() and "last scan under 1 min ago" in manager.status())
        daemon.send_signal(signal.SIGHUP)
        until(lambda: manager.states()[1:] == ["RELOADING=1", "READY=1"])
        assert daemon.ends()[0] == 0
    assert manager.states() == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    assert "STATUS=starting" in manager.said()
    assert manager.status() == "stopping: 0 windows in progress"


def test_the_status_follows_what_is_in_hand_and_the_stop(tmp_path, base, manager):
    made.installation(base, START)
    with StandInApi() as api:
        api.answer(SILENT)
        with service(base, tmp_path, api.port, **PATIENT) as daemon:
            until(lambda: api.posts)
            until(lambda: "leading; 1 of 1 worker busy, 0 jobs waiting;" in manager.status())
            daemon.terminate()
            until(lambda: manager.status() == "stopping: 1 window in progress")
            assert daemon.ends()[0] == 0


@pytest.mark.long
def test_an_idle_service_says_nothing_new(tmp_path, base, manager):
    with service(base, tmp_path, closed_port()):
        until(lambda: "last scan" in manager.status())
        fed, said = manager.fed(), len(manager.said())
        until(lambda: manager.fed() >= fed + 6)
        assert len(manager.said()) - said - (manager.fed() - fed) <= 1


def test_a_reload_that_failed_stays_in_the_status(tmp_path, base, manager):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    named = {"TIX_API_PASSWORD": "", "TIX_API_PASSWORD_FILE": str(secret)}
    with service(base, tmp_path, closed_port(), **named) as daemon:
        secret.unlink()
        daemon.send_signal(signal.SIGHUP)
        until(lambda: "secrets not reloaded: " in manager.status())
        secret.write_text("secret")
        daemon.send_signal(signal.SIGHUP)
        until(lambda: "secrets" not in manager.status())


def test_one_that_stands_by_is_ready_and_says_for_whom(tmp_path, base, manager):
    with (
        service(base, tmp_path, closed_port()) as leader,
        Service(base, tmp_path, closed_port(), name="second") as second,
    ):
        words = f"STATUS=standing by for pid {leader.pid} on "  # both tell the same manager
        until(lambda: any(words in said for said in manager.said()))
        assert second.ends()[0] == 0


def test_a_collector_tells_what_it_has_taken(tmp_path, manager):
    output = {"AMQP": {"enable": False}, "file": {"path": str(tmp_path / "records")}}
    with Collector(tmp_path, output) as collector:
        collector.becomes_ready()
        assert collector.post(form(range(3))) == 200
        until(lambda: manager.status() == "collecting; 3 records, 0 requests in progress")
        until(lambda: manager.fed() >= 2)
        assert collector.ends()[0] == 0
    assert manager.states() == ["READY=1", "STOPPING=1"]


def started(role: str, tmp_path: Path, base: Path) -> Service | Collector:
    """A service of this role that can hang; what it would speak to is away."""
    if role == "COLLECTOR":
        output = {"AMQP": {"enable": False}, "file": {"path": str(tmp_path / "records")}}
        return Collector(tmp_path, output, before=CAN_HANG)
    return Service(base, tmp_path, closed_port(), before=CAN_HANG, PROCESSOR_TYPE=role, **away())


#: What each role says of itself there, as the variable of the original names the role.
STATES = {
    "STANDALONE": "leading; 0 of 1 worker busy",
    "BEAT": "NOT READY: amqp://",
    "WORKER": "NOT READY: amqp://",
    "COLLECTOR": "collecting; 0 records",
}


@pytest.mark.parametrize("role", few(STATES, "STANDALONE", "WORKER", "COLLECTOR"))
def test_every_role_feeds_the_watchdog_until_its_loop_hangs(tmp_path, base, manager, role):
    with started(role, tmp_path, base) as daemon:
        until(lambda: manager.fed() >= 2 and re.match(STATES[role], manager.status()))
        daemon.send_signal(HANG)
        until(lambda: "hangs\n" in daemon.log_file.read_text())
        fed, ends = manager.fed(), time.monotonic() + 2
        until(lambda: time.monotonic() > ends or manager.fed() > fed)
        assert manager.fed() == fed
        daemon.send_signal(GO_ON)
        until(lambda: manager.fed() > fed)
        assert daemon.ends()[0] == 0
    assert manager.states() == ["READY=1", "STOPPING=1"]


def test_signals_to_every_process_act_once_and_kill_nobody(tmp_path, base):
    log = tmp_path / "tixd.log"
    variables = {"TIX_PROCESSING_PERIOD": SHORT, "TIX_LOG_FILE": str(log), "TIX_WORKERS": "2"}
    with StandInApi() as api, service(base, tmp_path, api.port, **variables) as daemon:
        daemon.log_file = log
        children = to_all(daemon, signal.SIGUSR2)
        assert len(children) == 3, "two workers, and multiprocessing's own helper"
        until(lambda: daemon.log("debug_toggled"))
        api.answer(Behaviour(500))
        made.installation(base, START)
        until(lambda: daemon.log("result_stored"))
        assert daemon.log("result_stored")[0]["level"] == "debug"
        assert [line["on"] for line in daemon.log("debug_toggled")] == [True]
        log.rename(tmp_path / "moved")
        to_all(daemon, signal.SIGUSR1)
        until(lambda: all(writes(process, log) for process in daemon.workers()))
        assert not any(gone(process) for process in children)
        assert daemon.log("worker_ended") == []


def test_sighup_to_every_process_renews_workers_and_kills_nobody(tmp_path, base):
    with service(base, tmp_path, closed_port(), TIX_WORKERS="2") as daemon:
        before = daemon.pids()
        to_all(daemon, signal.SIGHUP)
        until(lambda: daemon.log("secrets_reloaded"))
        until(lambda: not before & daemon.pids())
        daemon.runs()
        assert daemon.log("worker_ended") == []


def test_signals_to_workers_that_start_kill_none_of_them(tmp_path, base):
    with Service(base, tmp_path, closed_port(), TIX_WORKERS="2") as daemon:
        until(lambda: daemon.log("started"))
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            to_all(daemon, number)
        daemon.runs()
        assert daemon.log("worker_ended") == []


def test_sigterm_to_every_process_ends_it_tidily(tmp_path, base):
    made.installation(base, START)
    with StandInApi() as api:
        api.answer(SLOW)
        with service(base, tmp_path, api.port, TIX_WORKERS="2") as daemon:
            until(lambda: api.posts)
            children = to_all(daemon, signal.SIGTERM)
            assert daemon.wait(PATIENCE_SECONDS) == 0
            until(lambda: all(gone(process) for process in children))
        assert (len(api.accepted), daemon.log("worker_ended")) == (1, [])
        assert daemon.leftovers() == []
