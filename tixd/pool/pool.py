"""The parent's side of the workers: starts them, gives each one job, notices how it ends.

In: jobs. Out: for each job a future of its Done. Rules: a worker gets exactly one job and keeps it
in its seat until Done, so no death loses one; a dead worker is replaced once the kernel says it is
dead; a worker that spends too long in one phase is killed. One asyncio loop, nothing here blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import Self

from tixd import errors, logs
from tixd.config.settings import Settings
from tixd.jobs import Job, JobResult, Phase, ProcessInstallation, Ready
from tixd.pool.codec import decode
from tixd.pool.failures import Cause, WorkerExit
from tixd.pool.pending import PendingJobs, Task
from tixd.pool.process import KILLED_SECONDS, REAP_SECONDS, WorkerNow, WorkerProcess
from tixd.pool.sockets import PoolSocket
from tixd.runtime import tasks

#: Longest time that a worker may spend in one phase of a window, or in starting.
PHASE_LIMIT_SECONDS = 300.0

#: How often the time limit is looked at.
SUPERVISION_SECONDS = 1.0

#: Workers that end before they are ready, in a row, before jobs are refused: something is broken.
MOST_FAILED_STARTS = 3

#: From then on, pause before each further try: what is broken may be mended.
RESTART_PAUSE_SECONDS = 5.0


class Pool:
    """Worker processes at the end of a private line; an asynchronous context manager.

    restarts: workers, or jobs, that ended badly, by cause; turns: how often all were looked at;
    stopping: workers that end have been told to, and are not replaced; supervision: the task that
    does so, without which a role must end.
    """

    def __init__(self, settings: Settings, runtime_folder: str = "") -> None:
        self.restarts: Counter[str] = Counter()
        self._settings, self._runtime_folder = settings, runtime_folder
        self._seats: dict[bytes, WorkerProcess] = {}
        self._backlog = PendingJobs()
        self.turns = self._started = self._failed_starts = 0
        self.stopping, self._empty = False, asyncio.Event()

    async def __aenter__(self) -> Self:
        """Start the workers; raises CannotStart where there is no room for the line to them."""
        self._loop = asyncio.get_running_loop()
        self._line = PoolSocket(self._runtime_folder)
        self._loop.add_reader(self._line.fd, self._converse)
        self.supervision = tasks.start(self._supervise(), "supervision of the workers")
        for _ in range(self.size):
            self._start_worker()
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._line.closed:
            await self.stop(grace_seconds=0.0)

    @property
    def size(self) -> int:
        """How many worker processes there are to be."""
        return self._settings.worker_count

    @property
    def waiting(self) -> int:
        """How many jobs no worker has begun."""
        return len(self._backlog)

    @property
    def workers(self) -> list[WorkerNow]:
        """What each worker process does now."""
        return [seat.now for seat in self._seats.values()]

    def submit(self, job: Job) -> asyncio.Future[JobResult]:
        """Give the job to the next free worker; the future ends when the job has.

        It may be cancelled; it fails with CannotStart where no worker can be started.
        """
        future = self._backlog.add(job)
        self._loop.call_soon(self._converse)
        return future

    async def stop(self, grace_seconds: float) -> None:
        """No new jobs; workers end after the window in hand, or are killed after the grace."""
        self.stopping = True
        self._backlog.close()
        for seat in self._seats.values():
            seat.process.terminate()
        if not await self._emptied(grace_seconds):
            self.kill()
            await self._emptied(KILLED_SECONDS)
        if not self._line.closed:
            self._leave_behind()
            self.supervision.cancel()
            self._loop.remove_reader(self._line.fd)
            self._line.close()

    def kill(self) -> None:
        """End all workers at once, and soon any stop that waits; one post each may repeat."""
        for seat in self._seats.values():
            seat.end()
        self._loop.call_later(KILLED_SECONDS, self._empty.set)

    def _leave_behind(self) -> None:
        """Give up workers that are stuck in the kernel; what they have in hand is not finished."""
        for seat in self._seats.values():
            logs.error("worker_left_behind", worker=seat.pid)
            if seat.task:
                self._backlog.put_back(seat.task, seat.death())

    async def _emptied(self, seconds: float) -> bool:
        """Wait until no worker is left; False where that takes longer."""
        if self._seats:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)
        return not self._seats

    def renew(self, settings: Settings) -> None:
        """Replace every worker by one with these settings, once its window in hand is done."""
        self._settings = settings
        for seat in self._seats.values():
            seat.retired = True
            seat.process.terminate()

    def signal_workers(self, number: int) -> None:
        """Send REOPEN_LOG or TOGGLE_DEBUG to every worker, those that start too."""
        for seat in self._seats.values():
            seat.signal(number)

    def _converse(self) -> None:
        """Read every message that is there and give out jobs until nothing more can be done."""
        while not self._line.closed:
            self._give_out()
            received = self._line.receive()
            if received is None:
                return
            seat = self._seats.get(received[0])  # None: it has been buried
            if seat and not seat.condemned:
                self._hear(seat, received[1])

    def _hear(self, seat: WorkerProcess, frame: bytes) -> None:
        try:
            message = decode(frame)
        except errors.BadMessage as error:
            logs.error("worker_garbled", worker=seat.pid, reason=str(error))
            seat.kill()
            return
        if seat.task and seat.deletes_spent:
            self._backlog.finished_window(seat.task)
        match message:
            case Ready():
                self._welcome(seat)
            case Phase() if seat.task:
                seat.begin(message)
                if seat.careful:
                    self._line.send(seat.identity, message)  # failing: its end is near
            case JobResult() if seat.task:
                self._end(seat, seat.task, message)
            case _:
                reason = f"{type(message).__name__} at the wrong moment"
                logs.error("worker_garbled", worker=seat.pid, reason=reason)
                seat.kill()

    def _welcome(self, seat: WorkerProcess) -> None:
        """A worker has started: there is nothing broken, or no longer."""
        seat.ready = True
        self._failed_starts = 0
        self._backlog.recover()

    def _end(self, seat: WorkerProcess, task: Task, done: JobResult) -> None:
        """A worker has finished its job, one way or the other."""
        phase = seat.phase
        seat.take(None)
        if done.failure and isinstance(task.job, ProcessInstallation):
            cause: Cause = "memory" if done.lacks_memory else "exception"
            self.restarts[cause] += 1
            self._backlog.put_back(task, WorkerExit(cause, 0, phase))
        else:
            task.finish(done)

    def _give_out(self) -> None:
        """One waiting job to each free worker."""
        for seat in self._seats.values():
            if seat.free and (task := self._backlog.take()):
                seat.take(task)
                if not self._line.send(seat.identity, task.job):
                    seat.give_up()
                    self._backlog.take_back(task)

    def _start_worker(self) -> None:
        if self.stopping:
            return
        self._started += 1
        try:
            seat = WorkerProcess.start(
                self._line.endpoint, b"worker-%d" % self._started, self._settings
            )
        except OSError as error:  # no descriptors, no memory, too many processes
            logs.error("worker_not_started", reason=str(error))
            self._start_another(ready=False)
            return
        self._seats[seat.identity] = seat
        self._loop.add_reader(seat.process.sentinel, self._bury, seat)

    def _bury(self, seat: WorkerProcess) -> None:
        """A worker has closed its files: once it is dead, put another one in its place."""
        self._loop.remove_reader(seat.process.sentinel)
        if seat.process.exitcode is None:
            self._loop.call_later(REAP_SECONDS, self._bury, seat)
            return
        self._converse()  # its last words may still be on the way
        del self._seats[seat.identity]
        death = seat.death()
        if not self.stopping:
            if not seat.retired:
                self.restarts[death.cause] += 1
                seat.report(death)
            self._start_another(ready=seat.ready or seat.retired)
        if seat.task:
            self._backlog.put_back(seat.task, death)
        if self.stopping and not self._seats:
            self._empty.set()
        seat.process.close()
        self._converse()

    def _start_another(self, *, ready: bool) -> None:
        """A worker in place of one that had been `ready`, or had not come so far."""
        if not ready:
            self._failed_starts += 1
        if self._failed_starts < MOST_FAILED_STARTS:
            self._loop.call_soon(self._start_worker)
            return
        if not any(seat.ready for seat in self._seats.values()):
            self._backlog.fail(errors.CannotStart("no worker process gets as far as being ready"))
        self._loop.call_later(RESTART_PAUSE_SECONDS, self._start_worker)

    def _keep_line(self) -> None:
        """Bind anew where the socket was removed; raises CannotStart where that cannot be.

        Workers that have not found it start again.
        """
        if self._line.closed or self._line.is_there():
            return
        lost = self._line.endpoint
        self._line.renew()
        logs.warning("workers_socket_replaced", socket=self._line.endpoint, removed=lost)
        for seat in self._seats.values():
            if not seat.ready:
                seat.retired = True
                seat.kill()

    async def _supervise(self) -> None:
        """Kill workers that have spent too long in one phase; keep the line to them."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(SUPERVISION_SECONDS)
            late_seconds = time.monotonic() - before - SUPERVISION_SECONDS
            for seat in self._seats.values():
                # Where the parent itself was held up, what workers said since is not yet heard.
                seat.since += late_seconds
                seat.kill_if_over(PHASE_LIMIT_SECONDS)
            self._keep_line()
            self.turns += 1
