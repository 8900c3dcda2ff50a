"""One worker process as its parent sees it.

In: where the ROUTER is, the settings. Out: a Seat: the process, the job that it has in hand, the
phase that it last named, and, once it has ended, how. Rules: a spawned process gets nothing but
what is handed to it here; nothing in this module blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from typing import Self

from tixd import logs
from tixd.config.settings import Settings
from tixd.jobs import Job, Phase, ProcessInstallation
from tixd.pool import spawned
from tixd.pool.failures import WorkerExit
from tixd.pool.pending import Task
from tixd.pool.sockets import REOPEN_LOG, TOGGLE_DEBUG

#: Signals that the parent alone hears, although terminals and `systemctl kill` send them to every
#: process: they stay blocked in workers, and in the helper of multiprocessing, which inherit that.
FOR_THE_PARENT = frozenset({signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})

#: Those of the parent wait until a worker that starts has handlers for them.
BLOCKED_AT_START = FOR_THE_PARENT | {REOPEN_LOG, TOGGLE_DEBUG}

#: How often a process is looked at that has closed its files but is not dead: stuck in the kernel.
REAP_SECONDS = 0.05

#: How long a worker that must end may tidy up before it is killed.
TIDY_SECONDS = 0.5

#: How long killed workers are waited for; one stuck in the kernel is left behind.
KILLED_SECONDS = 2.0

#: Clock ticks of /proc/<pid>/stat in a second.
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class WorkerNow:
    """What a worker does now.

    phase: None while it starts, waits, or has not named one; since: monotonic seconds when that
    began.
    """

    pid: int
    ready: bool
    job: Job | None
    phase: Phase | None
    since: float


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """A worker process and what it has in hand; since: monotonic seconds of its phase's begin.

    missed: signals for a process that cannot hear yet.
    """

    identity: bytes
    process: SpawnProcess
    pid: int
    ready: bool = False
    task: Task | None = None
    phase: Phase | None = None
    since: float = field(default_factory=time.monotonic)
    condemned: bool = False
    retired: bool = False
    overdue_cpu_ns: int | None = None

    @classmethod
    def start(cls, endpoint: str, identity: bytes, settings: Settings) -> Self:
        """Spawn a worker process that will connect to `endpoint`; raises OSError.

        It is a daemon in the sense of multiprocessing: were the parent to end without stopping its
        pool, it would tell the process to stop instead of waiting for it.
        """
        process = multiprocessing.get_context("spawn").Process(
            target=spawned.main,
            args=(endpoint, identity, settings),
            name=identity.decode(),
            daemon=True,
        )
        _leave_removed_folder()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_AT_START)
        try:
            resource_tracker.ensure_running()  # where it has to begin it, it unblocks SIGINT
            signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_AT_START)
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        seat = cls(identity, process, process.pid or 0)
        if logs.is_debugging() != (settings.log_level == "DEBUG"):
            seat.signal(TOGGLE_DEBUG)
        return seat

    @property
    def free(self) -> bool:
        """Whether it can be given a job."""
        return self.ready and self.task is None and not self.condemned

    @property
    def now(self) -> WorkerNow:
        """What it does, for whoever looks on."""
        job = self.task.job if self.task else None
        return WorkerNow(self.pid, self.ready, job, self.phase, self.since)

    @property
    def careful(self) -> bool:
        """Whether it waits, at each Phase, until that has been heard."""
        job = self.task.job if self.task else None
        return isinstance(job, ProcessInstallation) and job.isolated

    @property
    def deletes_spent(self) -> bool:
        """Whether the last that it said is that it deletes what a finished window has used up."""
        last = self.phase
        return last is not None and last.name == "delete" and last.window is not None

    def take(self, task: Task | None) -> None:
        """This task is in its hands from now on, or none."""
        self.task, self.phase, self.since = task, None, time.monotonic()

    def begin(self, phase: Phase) -> None:
        """It has said what it does next."""
        self.phase, self.since = phase, time.monotonic()

    def signal(self, number: int) -> None:
        """Send a signal, to which a process that is not ready must be deaf, or of which it dies."""
        if self.process.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once; nothing is said to it or heard of it any more."""
        self.condemned = True
        self.process.kill()

    def end(self) -> None:
        """Let the process drop what it has in hand, and kill it where that takes long."""
        self.condemned = True
        self.signal(signal.SIGALRM)
        asyncio.get_running_loop().call_later(TIDY_SECONDS, self._kill_if_there)

    def _kill_if_there(self) -> None:
        with contextlib.suppress(ValueError):  # it has ended, and is closed
            self.process.kill()

    def give_up(self) -> None:
        """It hears nothing, so it is ending: it gets no job, and is killed if that takes long."""
        self.condemned = True
        self.take(None)

    def kill_if_over(self, limit_seconds: float) -> None:
        """Kill the process where its time is up; remember how much of it was CPU time."""
        if not self.free and time.monotonic() - self.since > limit_seconds:
            self.overdue_cpu_ns = self._cpu_ns()
            self.kill()

    def _cpu_ns(self) -> int:
        """CPU time that the process has used since its phase began; 0 where nobody can tell."""
        try:
            with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as file:
                words = file.read().rpartition(")")[2].split()
        except OSError:
            return 0
        used_ns = (int(words[11]) + int(words[12])) * 10**9 // _TICKS_PER_SECOND
        return used_ns - (self.phase.cpu_ns if self.phase else 0)

    def death(self) -> WorkerExit:
        """How the process, which has ended, ended."""
        code = self.process.exitcode or 0
        if self.overdue_cpu_ns is not None:
            return WorkerExit("time", 0, self.phase, self.overdue_cpu_ns)
        return (
            WorkerExit("signal", -code, self.phase)
            if code < 0
            else WorkerExit("exit", code, self.phase)
        )

    def report(self, death: WorkerExit) -> None:
        """The line that tells who died, of what, and what it was doing."""
        job = self.task.job if self.task else None
        who = (
            {"user": job.user_id, "installation": job.installation_id}
            if isinstance(job, ProcessInstallation)
            else {"job": type(job).__name__ if job else ""}
        )
        logs.error(
            "worker_ended",
            worker=self.pid,
            cause=death.cause,
            code=_code(death),
            **who,
            phase=self.phase.name if self.phase else "",
            window=self.phase.window if self.phase else "",
        )


def _leave_removed_folder() -> None:
    """Go to / where the working folder was removed: no process can be started from there."""
    try:
        os.getcwd()
    except OSError:
        os.chdir("/")
        logs.warning("working_folder_removed", now="/")


def _code(death: WorkerExit) -> str:
    """The exit code as a number, a signal by its name."""
    if death.cause != "signal":
        return str(death.number)
    try:
        return signal.Signals(death.number).name
    except ValueError:  # a real-time signal
        return str(death.number)
