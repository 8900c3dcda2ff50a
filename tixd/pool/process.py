"""One worker process as its parent sees it: started, given jobs, signalled, ended.

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
from tixd.pool.board import Board, Writer
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

#: How long a worker that receives no more may take to end: more than its last messages may linger.
UNREACHABLE_SECONDS = 10.0

#: How long tixd waits for killed workers; one that is stuck in the kernel is abandoned.
KILLED_SECONDS = 2.0

#: A worker that computes for longer gets no further jobs meanwhile, while others can take them.
LONG_SECONDS = 2.0

#: Clock ticks of /proc/<pid>/stat in a second.
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """A worker process and its jobs.

    held: the jobs that it has, by number; limit: how many installations it may have; given:
    monotonic seconds when it was started, or got a job while it had none; closing: it gets no more
    jobs and its messages are ignored; recycled: it was asked to end, to be replaced; confused: it
    sent what was not its turn; overdue_cpu_ns: CPU time of the phase for which it was killed.
    """

    identity: bytes
    process: SpawnProcess
    pid: int
    board: Board
    ready: bool = False
    held: dict[int, PendingJob] = field(default_factory=dict)
    limit: int = 1
    given: float = field(default_factory=time.monotonic)
    closing: bool = False
    recycled: bool = False
    confused: bool = False
    overdue_cpu_ns: int | None = None
    _sequence: int = 0
    _unchanged_since: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, endpoint: str, identity: bytes, settings: Settings) -> Self:
        """Spawn a worker process that will connect to `endpoint`; raises OSError.

        It is a daemon in the sense of multiprocessing: were the parent to end without stopping its
        pool, it would terminate the process instead of waiting for it.
        """
        board = Board()
        process = multiprocessing.get_context("spawn").Process(
            target=run_worker,
            args=(endpoint, identity, settings, board),
            name=identity.decode(),
            daemon=True,
        )
        _leave_removed_folder()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_AT_START)
        try:
            resource_tracker.ensure_running()  # where it has to begin it, it unblocks SIGINT
            signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_AT_START)
            process.start()
        except OSError:
            board.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        worker = cls(identity, process, process.pid or 0, board)
        if logs.is_debugging() != (settings.log_level == "DEBUG"):
            worker.signal(TOGGLE_DEBUG)
        return worker

    @property
    def free(self) -> bool:
        """Whether it can be given a job; one that was asked to end begins none."""
        return self.ready and not self.closing and not self.recycled

    @property
    def current(self) -> PendingJob | None:
        """The job that it computes, which alone its end can be blamed on; None while it waits."""
        entry = self.board.read()
        return self.held.get(entry.job) if entry else None

    @property
    def phase(self) -> Phase | None:
        """What it does in that job; None where it has not reported a phase."""
        entry = self.board.read()
        return entry.phase if entry and entry.job in self.held else None

    @property
    def job(self) -> Job | None:
        """The job that it computes, else the first that it has."""
        pending = self.current or next(iter(self.held.values()), None)
        return pending.job if pending else None

    @property
    def since(self) -> float:
        """Monotonic seconds when it began what it does."""
        entry = self.board.read()
        return max(entry.since, self.given) if entry else self.given

    @property
    def takes_long(self) -> bool:
        """Whether it has been in one phase of a job for long, so that others would wait for it."""
        return self.current is not None and time.monotonic() - self.since > LONG_SECONDS

    @property
    def has_room(self) -> bool:
        """Whether it is to be given another installation."""
        return not self.held or (len(self.held) < self.limit and not self.takes_long)

    def assign(self, number: int, pending: PendingJob) -> None:
        """Note that it gets this job."""
        if not self.held:
            self.limit = 1
            self.given = self._unchanged_since = time.monotonic()
        self.held[number] = pending

    def signal(self, number: int) -> None:
        """Send a signal; a starting process keeps it blocked."""
        if self.process.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.closing = True
        self.process.kill()

    def await_end(self) -> None:
        """Give the process, which receives no more, no job; kill it where it does not end."""
        self.closing = True
        asyncio.get_running_loop().call_later(UNREACHABLE_SECONDS, self._kill_unless_closed)

    def interrupt(self) -> None:
        """Let the process abandon its job; kill it where that takes long."""
        self.closing = True
        self.signal(signal.SIGALRM)
        asyncio.get_running_loop().call_later(TIDY_SECONDS, self._kill_unless_closed)

    def _kill_unless_closed(self) -> None:
        with contextlib.suppress(ValueError):  # it has ended, and is closed
            self.process.kill()

    def kill_if_overdue(self, limit_seconds: float, late_seconds: float) -> None:
        """Kill the process where it has jobs, or starts, and its board has not changed for so long.

        late_seconds: how long this call comes too late: what held up the parent may have held up
        the worker. Notes how much of the time was CPU time.
        """
        entry = self.board.read()
        if entry and entry.sequence != self._sequence:
            self._sequence = entry.sequence
            self._unchanged_since = time.monotonic()
        self._unchanged_since += late_seconds
        has_work = self.held or not self.ready
        is_overdue = time.monotonic() - self._unchanged_since > limit_seconds
        if has_work and is_overdue and self.overdue_cpu_ns is None:
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
        phase = self.phase  # which the worker may end between two looks
        return used_ns - (phase.cpu_ns if phase else 0)

    def exit_status(self) -> WorkerExit:
        """Return how the process, which has ended, ended."""
        code = self.process.exitcode or 0
        if self.overdue_cpu_ns is not None:
            return WorkerExit("time", 0, self.phase, self.overdue_cpu_ns)
        return WorkerExit("signal" if code < 0 else "exit", abs(code), self.phase)

    def log_exit(self, end: WorkerExit) -> None:
        """Log which process ended, how, and what it was doing."""
        current = self.current
        job = current.job if current else None
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
            phase=end.phase.name if end.phase else "",
            window=end.phase.window if end.phase else "",
        )


def run_worker(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """Run the worker, imported only here: the parent must load neither numpy nor urllib3."""
    from tixd.pool import worker_main  # noqa: PLC0415 - see above

    worker_main.main(endpoint, identity, settings, board)


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
