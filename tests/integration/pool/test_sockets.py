"""Where the socket of the workers lies: in the runtime folder, if it can be, and not for ever."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from tixd.pool.sockets import PoolSocket, WorkerSocket


def test_the_socket_lies_in_the_runtime_folder_and_goes_with_it(tmp_path):
    line = PoolSocket(str(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert line.endpoint == f"ipc://{folder}/jobs.sock"
    assert folder.stat().st_mode & 0o777 == 0o700
    line.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_has_left_is_removed_and_no_more(tmp_path):
    for name in ("tixd-workers-dead", "strange"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "jobs.sock").touch()
    with contextlib.closing(PoolSocket(str(tmp_path))) as living:
        PoolSocket(str(tmp_path)).close()
        kept = {Path(living.endpoint.removeprefix("ipc://")).parent, tmp_path / "strange"}
        assert set(tmp_path.iterdir()) == kept


def test_a_runtime_folder_that_cannot_have_a_socket_is_done_without(tmp_path):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    for folder in (long, tmp_path / "none"):
        line = PoolSocket(str(folder))
        assert not line.endpoint.startswith(f"ipc://{tmp_path}")
        line.close()
    assert list(long.iterdir()) == []


def test_a_worker_whose_parent_has_ended_waits_for_its_posts_and_does_not_spin(
    tmp_path, monkeypatch
):
    sentinel, end_of_parent = os.pipe()
    os.close(end_of_parent)
    ended = SimpleNamespace(pid=0, sentinel=sentinel)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: ended)
    outcome = os.eventfd(0)
    with contextlib.closing(PoolSocket(str(tmp_path))) as parent:
        worker = WorkerSocket(parent.endpoint, b"worker-1", outcome)
        threading.Timer(0.3, os.eventfd_write, (outcome, 1)).start()
        waits = 0
        while not select.select([outcome], [], [], 0)[0]:
            worker.wait(60.0)
            waits += 1
        worker.close()
    os.close(sentinel)
    os.close(outcome)
    assert waits < 5


def test_a_worker_learns_of_its_parents_end_although_the_kernel_tells_it_in_two_steps(
    tmp_path, monkeypatch
):
    """A process that ends closes its files first, and only then its children get another parent."""
    sentinel, end_of_parent = os.pipe()
    os.close(end_of_parent)
    parent = SimpleNamespace(pid=os.getppid(), sentinel=sentinel)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
    with contextlib.closing(PoolSocket(str(tmp_path))) as pool:
        worker = WorkerSocket(pool.endpoint, b"worker-1")
        worker.wait(60.0)
        assert not worker.is_orphaned
        parent.pid = 0
        begun = time.monotonic()
        worker.wait(30.0)
        assert time.monotonic() - begun < 20
        worker.close()
    os.close(sentinel)
