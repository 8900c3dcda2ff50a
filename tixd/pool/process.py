"""One worker process as its parent sees it: started, given a job, signalled, ended.

A spawned process gets nothing but what start() passes to it. Nothing here blocks.
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
from tixd.pool.failures import WorkerExit
from tixd.pool.pending import PendingJob
from tixd.pool.sockets import REOPEN_LOG, TOGGLE_DEBUG

#: Signals that the parent alone handles, although terminals and `systemctl kill` send them to every
#: process: they stay blocked in workers, and in the helper of multiprocessing, which inherit that.
FOR_THE_PARENT = frozenset({signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})

#: Those of the parent wait until a worker that starts has handlers for them.
BLOCKED_AT_START = FOR_THE_PARENT | {REOPEN_LOG, TOGGLE_DEBUG}

#: Pause between checks of a process that has closed its files but is stuck in the kernel.
REAP_SECONDS = 0.05

#: How long an interrupted worker may clean up before it is killed.
TIDY_SECONDS = 0.5

#: How long tixd waits for killed workers; one that is stuck in the kernel is abandoned.
KILLED_SECONDS = 2.0

#: Clock ticks of /proc/<pid>/stat in a second.
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """A worker process and its job.

    phase: None while it starts or waits, or has not reported one; since: monotonic seconds when
    that began; closing: it gets no more jobs and its messages are ignored; recycled: it was asked
    to end, to be replaced; overdue_cpu_ns: CPU time of the phase for which it was killed.
    """

    identity: bytes
    process: SpawnProcess
    pid: int
    ready: bool = False
    pending: PendingJob | None = None
    phase: Phase | None = None
    since: float = field(default_factory=time.monotonic)
    closing: bool = False
    recycled: bool = False
    overdue_cpu_ns: int | None = None

    @classmethod
    def start(cls, endpoint: str, identity: bytes, settings: Settings) -> Self:
        """Spawn a worker process that will connect to `endpoint`; raises OSError.

        It is a daemon in the sense of multiprocessing: were the parent to end without stopping its
        pool, it would terminate the process instead of waiting for it.
        """
        process = multiprocessing.get_context("spawn").Process(
            target=run_worker,
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
        worker = cls(identity, process, process.pid or 0)
        if logs.is_debugging() != (settings.log_level == "DEBUG"):
            worker.signal(TOGGLE_DEBUG)
        return worker

    @property
    def free(self) -> bool:
        """Whether it can be given a job."""
        return self.ready and self.pending is None and not self.closing

    @property
    def job(self) -> Job | None:
        """Its current job."""
        return self.pending.job if self.pending else None

    @property
    def is_isolated(self) -> bool:
        """Whether it waits, at each Phase, until the parent has received it."""
        return isinstance(self.job, ProcessInstallation) and self.job.isolated

    @property
    def has_finished_window(self) -> bool:
        """Whether it is deleting the reports of a finished window."""
        last = self.phase
        return last is not None and last.name == "delete" and last.window is not None

    def assign(self, pending: PendingJob | None) -> None:
        """Set its current job, None for none."""
        self.pending = pending
        self.begin(None)

    def begin(self, phase: Phase | None) -> None:
        """Note the phase that it has begun."""
        self.phase = phase
        self.since = time.monotonic()

    def signal(self, number: int) -> None:
        """Send a signal; a starting process keeps it blocked."""
        if self.process.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.closing = True
        self.process.kill()

    def interrupt(self) -> None:
        """Let the process abandon its job; kill it where that takes long."""
        self.closing = True
        self.signal(signal.SIGALRM)
        asyncio.get_running_loop().call_later(TIDY_SECONDS, self._kill_unless_closed)

    def _kill_unless_closed(self) -> None:
        with contextlib.suppress(ValueError):  # it has ended, and is closed
            self.process.kill()

    def kill_if_overdue(self, limit_seconds: float) -> None:
        """Kill the process where its phase takes too long; note how much of it was CPU time."""
        if not self.free and time.monotonic() - self.since > limit_seconds:
            self.overdue_cpu_ns = self._cpu_ns()
            self.kill()

    def _cpu_ns(self) -> int:
        """CPU time that the process has used since its phase began; 0 where it is unknown."""
        try:
            with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as file:
                words = file.read().rpartition(")")[2].split()
        except OSError:
            return 0
        used_ns = (int(words[11]) + int(words[12])) * 10**9 // _TICKS_PER_SECOND
        return used_ns - (self.phase.cpu_ns if self.phase else 0)

    def exit_status(self) -> WorkerExit:
        """Return how the process, which has ended, ended."""
        code = self.process.exitcode or 0
        if self.overdue_cpu_ns is not None:
            return WorkerExit("time", 0, self.phase, self.overdue_cpu_ns)
        return WorkerExit("signal" if code < 0 else "exit", abs(code), self.phase)

    def log_exit(self, end: WorkerExit) -> None:
        """Log which process ended, how, and what it was doing."""
        job = self.job
        work = (
            {"user": job.user_id, "installation": job.installation_id}
            if isinstance(job, ProcessInstallation)
            else {"job": type(job).__name__ if job else ""}
        )
        logs.error(
            "worker_ended",
            worker=self.pid,
            cause=end.cause,
            code=_code(end),
            **work,
            phase=self.phase.name if self.phase else "",
            window=self.phase.window if self.phase else "",
        )


def run_worker(endpoint: str, identity: bytes, settings: Settings) -> None:
    """Run the worker, imported only here: the parent must load neither numpy nor urllib3."""
    from tixd.pool import worker_main  # noqa: PLC0415 - see above

    worker_main.main(endpoint, identity, settings)


def _leave_removed_folder() -> None:
    """Go to / where the working folder was removed: no process can be started from there."""
    try:
        os.getcwd()
    except OSError:
        os.chdir("/")
        logs.warning("working_folder_removed", now="/")


def _code(end: WorkerExit) -> str:
    """Return the exit code as a number, a signal by its name."""
    if end.cause != "signal":
        return str(end.number)
    try:
        return signal.Signals(end.number).name
    except ValueError:  # a real-time signal
        return str(end.number)
