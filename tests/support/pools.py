"""Pools of real worker processes for tests: run them, look at them, hold them, wait for them."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.support import odd_workers
from tests.support.made import lively, minute
from tests.support.waiting import until
from tixd.commands import once
from tixd.dispatch.scheduler import queue_installations
from tixd.jobs import ListInstallations, ProcessInstallation
from tixd.pool import process
from tixd.pool.pool import Pool
from tixd.pool.process import WorkerProcess
from tixd.queues.base import JobSink
from tixd.queues.local import LocalQueue

#: Second of the first observation of made installations.
BEGIN = 1_505_082_000

#: Observations in each of the four reports that make the smallest window.
QUARTER = 271

Test = Callable[..., Coroutine[Any, Any, None]]


def in_loop(test: Test) -> Callable[..., None]:
    """Run an asynchronous test; an exception that the loop would only log fails it."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(_watched(test(*args, **kwargs)))

    return run


async def _watched(test: Coroutine[Any, Any, None]) -> None:
    lost: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
    await test
    assert lost == []


def odd(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """Let workers run a function of tests/support/odd_workers."""
    monkeypatch.setattr(process, "run_worker", getattr(odd_workers, function))


async def ready(pool: Pool) -> list[WorkerProcess]:
    """Every worker, once all have started."""
    await until(lambda: sum(w.ready for w in pool.workers) == pool.size)
    return pool.workers


async def busy(pool: Pool, phase: str) -> WorkerProcess:
    """A worker that is in this phase, once there is one."""
    await until(lambda: in_phase(pool, phase))
    return in_phase(pool, phase)[0]


def in_phase(pool: Pool, phase: str) -> list[WorkerProcess]:
    """The workers that are in this phase now. It is read once: it changes meanwhile."""
    return [w for w in pool.workers if getattr(w.phase, "name", "") == phase]


def job(base: Path, user: int) -> ProcessInstallation:
    """The job of a user's only installation."""
    return ProcessInstallation(str(base / str(user) / "1"), user, 1)


def window(base: Path, user: int, windows: int = 1, **members: Any) -> ProcessInstallation:
    """An installation of so many windows, each of the fewest reports; returns its job."""
    folder = base / str(user) / "1"
    folder.mkdir(parents=True)
    for i in range(4 + 2 * (windows - 1)):
        first = BEGIN + i * QUARTER
        content = minute(first, QUARTER, userId=user, installationId=1, **members)
        (folder / f"tix-report-{first}.json").write_bytes(content)
    lively(folder)
    return job(base, user)


def left(base: Path, user: int, folder: str = "") -> int:
    """How many reports, or files of that folder, the installation holds."""
    return len(list((base / str(user) / "1" / folder).glob("[a-z]*.json")))


def children(parent: int | None = None) -> dict[int, str]:
    """Processes whose parent this one (or that one) is, with their state: R, S, T, Z …"""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, ppid = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(ppid) == (parent or os.getpid()):
            found[int(folder.name)] = state
    return found


def alive(pid: int) -> bool:
    """Whether there is such a process, zombies not counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def block_the_loop(seconds: float) -> None:
    """Hold up the loop that this is called in, as a stopped process is held up."""
    time.sleep(seconds)


async def find_installations(pool: Pool, base: str) -> list[ProcessInstallation]:
    """A job for each installation under the base, as a scan finds them."""
    queue = LocalQueue()
    await queue_installations(pool, ListInstallations(base, ()), queue)
    return [(await queue.take()).job for _ in range(queue.waiting)]


async def work_off(pool: Pool, *jobs: ProcessInstallation) -> Counter[str]:
    """Do these jobs to their end; the counts of what happened."""
    counts: Counter[str] = Counter()

    async def fill(queue: JobSink) -> Counter[str]:
        for job in jobs:
            await queue.put(job)
        return Counter()

    await once.drain(pool, fill, counts, lambda _done, _found: None)
    return +counts
