"""One worker process as its parent sees it.

In: where the ROUTER is, the settings. Out: a Seat: the process, the job that it has in hand, the
phase that it last named, and, once it has ended, how. Rules: a spawned process gets nothing but
what is handed to it here; nothing in this module blocks.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess
from typing import Self

from tixd import logs
from tixd.dispatch import worker
from tixd.dispatch.deaths import Death
from tixd.dispatch.job import Done, Job, Phase
from tixd.settings import Settings

#: Clock ticks of /proc/<pid>/stat in a second.
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, eq=False)
class Task:
    """A job that is waiting or in hand, and who is told when it is done."""

    job: Job
    done: asyncio.Future[Done]


@dataclass(slots=True, eq=False)
class Seat:
    """A worker process and what it has in hand; since: monotonic seconds of its phase's begin."""

    identity: bytes
    process: SpawnProcess
    ready: bool = False
    task: Task | None = None
    phase: Phase | None = None
    since: float = field(default_factory=time.monotonic)
    overdue_cpu_ns: int | None = None

    @classmethod
    def start(cls, endpoint: str, identity: bytes, settings: Settings) -> Self:
        """Spawn a worker process that will connect to `endpoint`."""
        process = multiprocessing.get_context("spawn").Process(
            target=worker.main, args=(endpoint, identity, settings), name=identity.decode()
        )
        process.start()
        return cls(identity, process)

    def kill_overdue(self) -> None:
        """Kill the process because its time is up; remember how much of it was CPU time."""
        if self.overdue_cpu_ns is None:
            self.overdue_cpu_ns = self._cpu_ns()
            self.process.kill()

    def _cpu_ns(self) -> int:
        """CPU time that the process has used since its phase began; 0 where nobody can tell."""
        try:
            with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as file:
                words = file.read().rpartition(")")[2].split()
        except OSError:
            return 0
        used_ns = (int(words[11]) + int(words[12])) * 10**9 // _TICKS_PER_SECOND
        return used_ns - (self.phase.cpu_ns if self.phase else 0)

    def death(self) -> Death:
        """How the process, which has ended, ended."""
        code = self.process.exitcode or 0
        if self.overdue_cpu_ns is not None:
            return Death("time", 0, self.phase, self.overdue_cpu_ns)
        return Death("signal", -code, self.phase) if code < 0 else Death("exit", code, self.phase)

    def report(self, death: Death) -> None:
        """The line that tells who died, of what, and what it was doing."""
        logs.error(
            "worker_ended",
            worker=self.process.pid,
            cause=death.cause,
            number=death.number,
            phase=self.phase.name if self.phase else "",
            window=self.phase.window if self.phase else "",
            job=repr(self.task.job) if self.task else "",
        )
