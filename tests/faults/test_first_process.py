"""tixd as the first process of a container: of a PID namespace of its own here."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.collector import Collector
from tests.support.program import PATIENCE_SECONDS, ROOT, until
from tests.support.service import Service
from tests.support.stand_in_api import closed_port

#: Put before a command: it is process 1, and ends with whoever started it.
FIRST = ("unshare", "--pid", "--fork", "--kill-child", "--")

#: A child of process 1 and a child of its own have ended, in the order of the arguments; it buries
#: before and after it asks how its own has ended, and says who could be asked.
BURIAL = """
import contextlib, os, sys
from tixd.runtime import signal_masks
children = {name: os.spawnlp(os.P_NOWAIT, "true", "true") for name in sys.argv[1:]}
for pid in children.values():
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
for name in ("own", "orphan"):
    signal_masks.reap_orphans({children["own"]})
    with contextlib.suppress(ChildProcessError):
        os.waitpid(children[name], 0)
        print(name)
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="a PID namespace needs root"
)


def inner(outer: subprocess.Popen[bytes]) -> psutil.Process:
    """Process 1, as it is known out here."""
    until(lambda: psutil.Process(outer.pid).children())
    return psutil.Process(outer.pid).children()[0]


def has_open(process: psutil.Process, path: Path) -> bool:
    """Whether the process has this file open."""
    links = list(Path(f"/proc/{process.pid}/fd").iterdir())
    return any(os.path.realpath(link) == str(path) for link in links)


def adopt(first: psutil.Process, hold: Path) -> None:
    """Leave to process 1 a child that ends when there is no such file."""
    orphan = ("sh", "-c", 'while [ -e "$0" ]; do sleep 0.02; done & exit', str(hold))
    subprocess.run(["nsenter", "-t", f"{first.pid}", "--pid", *orphan], check=True)


def workers(first: psutil.Process) -> list[psutil.Process]:
    """Its children that are workers and alive."""
    found = []
    for child in first.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "--multiprocessing-fork" in child.cmdline():
                found.append(child)
    return found


def test_sigterm_ends_a_first_process_that_is_no_service_or_not_yet(tmp_path):
    fifo = tmp_path / "tixd.toml"
    os.mkfifo(fifo)
    keeper = os.open(fifo, os.O_RDWR)  # so that reading it never ends
    words = (*FIRST, sys.executable, "-m", "tixd", "-c", str(fifo), "check-config")
    with subprocess.Popen(words, cwd=ROOT) as command:
        until(lambda: has_open(inner(command), fifo))
        inner(command).send_signal(signal.SIGTERM)
        assert command.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
    os.close(keeper)


def test_a_first_process_asks_how_orphans_have_ended(tmp_path):
    to_file = {"AMQP": {"enable": False}, "file": {"path": str(tmp_path / "records")}}
    with Collector(tmp_path, to_file, before=FIRST) as collector:
        collector.runs()
        first, hold = inner(collector), tmp_path / "hold"
        hold.touch()
        adopt(first, hold)
        until(first.children)
        hold.unlink()
        until(lambda: not first.children())
        first.send_signal(signal.SIGTERM)
        assert collector.wait(PATIENCE_SECONDS) == 0


def test_a_first_process_replaces_a_killed_worker_and_asks_how_orphans_have_ended(tmp_path):
    with Service(tmp_path, tmp_path, closed_port(), before=FIRST) as daemon:
        until(lambda: daemon.get("/readyz")[0] == 200)
        first, hold = inner(daemon), tmp_path / "hold"
        [worker] = workers(first)
        hold.touch()
        adopt(first, hold)
        until(lambda: len(first.children()) == 3)  # one is multiprocessing's own
        hold.unlink()
        worker.kill()
        adopt(first, hold)
        until(lambda: daemon.log("worker_ended"))
        [ended] = daemon.log("worker_ended")
        assert (ended["cause"], ended["code"]) == ("signal", "SIGKILL")
        until(lambda: workers(first) and daemon.get("/readyz")[0] == 200)
        until(lambda: len(first.children()) == 2)
        first.send_signal(signal.SIGTERM)
        assert daemon.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("order", [("own", "orphan"), ("orphan", "own")], ids=" ".join)
def test_a_first_process_leaves_its_own_children_to_those_who_started_them(order):
    words = [sys.executable, "-c", BURIAL, *order]
    as_first = subprocess.run([*FIRST, *words], cwd=ROOT, capture_output=True, text=True)
    assert as_first.stdout.split() == ["own"], as_first.stderr
    as_other = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert as_other.stdout.split() == ["own", "orphan"], as_other.stderr
