"""Files and folders of tixd's own that somebody removes while it runs."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.program import until
from tests.support.service import Service, service
from tests.support.stand_in_api import closed_port


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An empty reports folder."""
    (tmp_path / "base").mkdir()
    return tmp_path / "base"


def remove(folder: Path) -> None:
    """Remove a folder in one step: who uses it may make files in it meanwhile."""
    shutil.rmtree(folder.rename(folder.with_name(f"{folder.name}-removed")), ignore_errors=True)


def replaced_worker(daemon: Service) -> int:
    """Kill a worker; the process id of the one that is ready in its place."""
    (worker,) = daemon.workers()
    worker.kill()
    until(lambda: ready(daemon, but=worker.pid))
    return daemon.workers()[0].pid


def ready(daemon: Service, but: int = 0) -> bool:
    """Whether it can be asked and its worker is ready, another one than that of the pid `but`."""
    workers = daemon.status().get("workers", ())
    return any(worker["ready"] and worker["pid"] != but for worker in workers)


def test_workers_are_replaced_and_questions_answered_after_the_runtime_folder_went(base, tmp_path):
    with service(base, tmp_path / "state", closed_port()) as daemon:
        remove(tmp_path / "state" / "run")
        until(
            lambda: daemon.log("workers_socket_replaced") and daemon.log("control_socket_replaced")
        )
        replaced_worker(daemon)
        assert daemon.get("/readyz") == (200, "ready\n")
        assert daemon.ends()[0] == 0
        assert daemon.leftovers() == []


@pytest.mark.long
def test_where_no_runtime_folder_can_be_made_workers_are_replaced_all_the_same(base, tmp_path):
    run = tmp_path / "state" / "run"
    with service(base, tmp_path / "state", closed_port()) as daemon:
        (worker,) = daemon.workers()
        remove(run)
        run.touch()
        until(lambda: daemon.log("workers_socket_replaced"))
        worker.kill()
        until(lambda: "tixd_workers 1.0" in daemon.get("/metrics")[1])
        until(lambda: daemon.log("control_socket_not_available"))
        run.unlink()
        until(lambda: ready(daemon, but=worker.pid))
        assert daemon.workers()[0].pid != worker.pid


def test_a_worker_that_starts_while_the_socket_is_removed_is_started_again(base, tmp_path):
    with service(base, tmp_path / "state", closed_port()) as daemon:
        (worker,) = daemon.workers()
        remove(tmp_path / "state" / "run")
        worker.kill()
        until(lambda: ready(daemon, but=worker.pid))
        assert daemon.workers()[0].pid != worker.pid


def test_the_leader_leads_on_where_its_schedule_folder_is_removed(base, tmp_path):
    schedule, port = tmp_path / "state" / "schedule", closed_port()
    with service(base, tmp_path / "state", port, TIX_PROCESSING_PERIOD="0.05") as daemon:
        remove(schedule)
        until(lambda: daemon.log("leader_lock_replaced"))
        until((schedule / "tixd-schedule.json").exists)
        with Service(base, tmp_path / "state", port, name="second") as second:
            until(lambda: second.log("standing_by"))
            assert second.ends()[0] == 0
        assert daemon.in_state("running")


def test_one_who_stands_by_does_not_lead_by_a_lock_that_was_removed(base, tmp_path):
    state, port = tmp_path / "state", closed_port()
    with (
        service(base, state, port) as daemon,
        Service(base, state, port, name="second") as second,
    ):
        until(lambda: second.log("standing_by"))
        daemon.send_signal(signal.SIGSTOP)
        os.unlink(state / "schedule" / "tixd-leader.lock")
        until(lambda: second.log("started"))
        daemon.send_signal(signal.SIGCONT)
        assert daemon.wait(60) == 3
        assert second.in_state("running")


def test_a_log_file_that_is_removed_is_made_again_by_parent_and_workers(base, tmp_path):
    log = tmp_path / "tixd.log"
    with service(base, tmp_path / "state", closed_port(), TIX_LOG_FILE=str(log)) as daemon:
        log.unlink()
        until(lambda: log.exists() and "log_file_replaced" in log.read_text())
        until(lambda: str(log) in [file.path for file in daemon.workers()[0].open_files()])


@pytest.mark.long
def test_workers_are_replaced_where_the_working_folder_is_removed(base, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    before = ("env", "-C", str(here))
    with service(base, tmp_path / "state", closed_port(), before=before) as daemon:
        here.rmdir()
        replaced_worker(daemon)
        assert daemon.log("working_folder_removed")
