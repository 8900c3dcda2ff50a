"""What the parent of worker processes leaves to them."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tixd.jobs import Phase
from tixd.pool.process import WorkerProcess
from tixd.roles import processing


@pytest.mark.parametrize("first", [0, 1])
def test_a_phase_that_ends_between_two_looks_at_a_worker_is_no_error(monkeypatch, first):
    phases = itertools.cycle([Phase("post", None, (), 0), None])
    looks = itertools.islice(phases, first, None)
    monkeypatch.setattr(WorkerProcess, "phase", property(lambda _: next(looks)))
    monkeypatch.setattr(WorkerProcess, "current", property(lambda _: None))
    worker = WorkerProcess(b"1", None, os.getpid(), SimpleNamespace(read=lambda: None))
    for _ in range(4):
        assert processing._worker_view(worker, 0.0).phase in ("post", "")
        assert worker._cpu_ns() > 0
        next(looks)


def test_the_parent_of_workers_loads_no_numbers_and_tixd_once_no_server():
    program = "import tixd.commands.once, tixd.pool.pool, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "tixd.pool.process" in loaded, done.stderr
    unwanted = {"numpy", "pywt", "urllib3", "aiohttp", "pika", "tixd.pool.worker_main"}
    assert loaded & unwanted == set()
