"""The parent's side of the workers: start them, give them jobs, notice how they end.

A job is with exactly one worker until its result, so the end of a worker loses none; only the job
that its board names can be to blame. A worker is replaced once the kernel reports its exit; one
whose board does not change for too long is killed. One asyncio loop; nothing here blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from typing import Self

from tixd import errors, logs
from tixd.config.settings import Settings
from tixd.jobs import Assignment, Done, Hungry, Job, JobResult, ProcessInstallation, Ready
from tixd.pool.codec import decode
from tixd.pool.failures import Cause, WorkerExit
from tixd.pool.pending import PendingJob, PendingJobs
from tixd.pool.process import KILLED_SECONDS, REAP_SECONDS, WorkerProcess
from tixd.pool.sockets import PoolSocket
from tixd.runtime import tasks

#: Longest time that a worker may spend in one phase of a window, or in starting.
PHASE_LIMIT_SECONDS = 300.0

#: How often the time limit is checked.
SUPERVISION_SECONDS = 1.0

#: After this many workers in a row that end before they are ready, jobs fail: something is broken.
MAX_FAILED_STARTS = 3

#: From then on, pause before each further try: the cause may be mended.
RESTART_PAUSE_SECONDS = 5.0


class Pool:
    """Worker processes behind a private socket; an asynchronous context manager.

    restarts: workers and jobs that failed, by cause; supervision_ticks: how often all were checked;
    stopping: workers that end are not replaced; supervision: the task that checks, without which a
    role must end.
    """

    def __init__(self, settings: Settings, runtime_folder: str = "") -> None:
        self.restarts: Counter[str] = Counter()
        self.supervision_ticks = 0
        self.stopping = False
        self._settings = settings
        self._runtime_folder = runtime_folder
        self._workers: dict[bytes, WorkerProcess] = {}
        self._pending = PendingJobs()
        self._started = 0
        self._numbers = itertools.count(1)
        self._failed_starts = 0
        self._empty = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Start the workers; raises CannotStart where there can be no socket for them."""
        self._loop = asyncio.get_running_loop()
        self._socket = PoolSocket(self._runtime_folder)
        self._loop.add_reader(self._socket.fd, self._exchange_messages)
        self.supervision = tasks.start(self._supervise(), "supervision of the workers")
        for _ in range(self.size):
            self._start_worker()
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._socket.closed:
            await self.stop(grace_seconds=0.0)

    @property
    def size(self) -> int:
        """How many worker processes there should be."""
        return self._settings.worker_count

    @property
    def capacity(self) -> int:
        """How many jobs there should be here, so that no worker waits for one."""
        return self.size * (self._settings.posts_in_flight + 1)

    @property
    def waiting(self) -> int:
        """How many jobs wait for a worker."""
        return len(self._pending)

    @property
    def workers(self) -> list[WorkerProcess]:
        """The worker processes, for inspection only."""
        return list(self._workers.values())

    def submit(self, job: Job) -> asyncio.Future[JobResult]:
        """Give the job to the next free worker; the future ends when the job has.

        The future may be cancelled; it fails with CannotStart where no worker can be started.
        """
        future = self._pending.add(job)
        self._loop.call_soon(self._exchange_messages)
        return future

    async def stop(self, grace_seconds: float) -> None:
        """Start no job; let workers finish their window, and kill them after the grace period."""
        self.stopping = True
        self._pending.close()
        for worker in self._workers.values():
            worker.process.terminate()
        if not await self._wait_until_empty(grace_seconds):
            self.kill()
            await self._wait_until_empty(KILLED_SECONDS)
        if not self._socket.closed:
            self._abandon_stuck_workers()
            self.supervision.cancel()
            self._loop.remove_reader(self._socket.fd)
            self._socket.close()

    def kill(self) -> None:
        """Interrupt all workers, and soon end a waiting stop(); posts in flight may repeat."""
        for worker in self._workers.values():
            worker.interrupt()
        self._loop.call_later(KILLED_SECONDS, self._empty.set)

    def _abandon_stuck_workers(self) -> None:
        """Abandon workers that are stuck in the kernel; their jobs are not finished."""
        for worker in self._workers.values():
            logs.error("worker_left_behind", worker=worker.pid)
            self._take_back(worker, worker.exit_status())

    async def _wait_until_empty(self, seconds: float) -> bool:
        """Wait until no worker is left; return False where that takes longer."""
        if self._workers:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)
        return not self._workers

    def reload(self, settings: Settings) -> None:
        """Replace every worker by one with these settings, once its window is finished."""
        self._settings = settings
        for worker in self._workers.values():
            worker.recycled = True
            worker.process.terminate()

    def signal_workers(self, number: int) -> None:
        """Send REOPEN_LOG or TOGGLE_DEBUG to every worker, starting ones too."""
        for worker in self._workers.values():
            worker.signal(number)

    # --- messages --------------------------------------------------------------------------------

    def _exchange_messages(self) -> None:
        """Assign jobs and read messages until there are none left."""
        while not self._socket.closed:
            self._assign()
            received = self._socket.receive()
            if received is None:
                return
            worker = self._workers.get(received[0])  # None: it has ended
            if worker and not worker.closing:
                self._on_message(worker, received[1])

    def _assign(self) -> None:
        """Give the jobs that wait to workers with room for them, to those with the fewest first.

        Short jobs need no room: they must not wait for the tix-api.
        """
        while self._pending and (free := [w for w in self._workers.values() if w.free]):
            with_room = [worker for worker in free if worker.has_room]
            pending = self._pending.take(installations=bool(with_room))
            if pending is None:
                return
            best = min(with_room or free, key=lambda worker: (worker.takes_long, len(worker.held)))
            self._give(best, pending)

    def _give(self, worker: WorkerProcess, pending: PendingJob) -> None:
        number = next(self._numbers)
        worker.assign(number, pending)
        if not self._socket.send(worker.identity, Assignment(number, pending.job)):
            worker.await_end()
            del worker.held[number]
            self._pending.put_back(pending)

    def _on_message(self, worker: WorkerProcess, frame: bytes) -> None:
        try:
            message = decode(frame)
        except errors.BadMessage as error:
            self._on_protocol_error(worker, str(error))
            return
        match message:
            case Ready():
                self._on_ready(worker)
            case Hungry():
                worker.limit = min(2 * worker.limit, self._settings.posts_in_flight)
            case Done(number, result) if number in worker.held:
                self._on_result(worker.held.pop(number), result)
            case _:
                self._on_protocol_error(worker, f"unexpected {type(message).__name__}")

    def _on_protocol_error(self, worker: WorkerProcess, reason: str) -> None:
        logs.error("worker_protocol_error", worker=worker.pid, reason=reason)
        worker.confused = True
        worker.kill()

    def _on_ready(self, worker: WorkerProcess) -> None:
        worker.ready = True
        self._failed_starts = 0
        self._pending.recover()

    def _on_result(self, pending: PendingJob, result: JobResult) -> None:
        if result.has_finished_window:
            self._pending.on_window_finished(pending)
        if result.failure and isinstance(pending.job, ProcessInstallation):
            cause: Cause = "memory" if result.lacks_memory else "exception"
            self.restarts[cause] += 1
            self._pending.retry(pending, WorkerExit(cause, 0, result.phase))
        else:
            pending.finish(result)

    # --- processes -------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        if self.stopping:
            return
        self._started += 1
        identity = b"worker-%d" % self._started
        try:
            worker = WorkerProcess.start(self._socket.endpoint, identity, self._settings)
        except OSError as error:  # no descriptors, no memory, too many processes
            logs.error("worker_not_started", reason=str(error))
            self._start_another(was_ready=False)
            return
        self._workers[identity] = worker
        self._loop.add_reader(worker.process.sentinel, self._on_exit, worker)

    def _on_exit(self, worker: WorkerProcess) -> None:
        """Replace a worker that has closed its files, once it is dead."""
        self._loop.remove_reader(worker.process.sentinel)
        if worker.process.exitcode is None:
            self._loop.call_later(REAP_SECONDS, self._on_exit, worker)
            return
        self._exchange_messages()  # its last messages may still be on the way
        del self._workers[worker.identity]
        end = worker.exit_status()
        if not self.stopping:
            if not worker.recycled:
                self.restarts[end.cause] += 1
                worker.log_exit(end)
            self._start_another(was_ready=worker.ready or worker.recycled)
        self._take_back(worker, end)
        if self.stopping and not self._workers:
            self._empty.set()
        worker.process.close()
        worker.board.close()
        self._exchange_messages()

    def _take_back(self, worker: WorkerProcess, end: WorkerExit) -> None:
        """Queue the jobs of a worker again, the one that it computed as a failed one.

        One that was confused was so about any of them.
        """
        current = worker.current
        was_cut_short = worker.closing or (end.cause, end.number) != ("exit", 0)
        if current and end.phase and end.phase.has_finished_window:
            self._pending.on_window_finished(current)
        for pending in reversed(worker.held.values()):
            if pending is current or worker.confused:
                self._pending.retry(pending, end)
            else:
                self._pending.put_back(pending, may_have_begun=was_cut_short)

    def _start_another(self, *, was_ready: bool) -> None:
        """Start a worker in place of one; after several that never got ready, with a pause."""
        if not was_ready:
            self._failed_starts += 1
        if self._failed_starts < MAX_FAILED_STARTS:
            self._loop.call_soon(self._start_worker)
            return
        if not any(worker.ready for worker in self._workers.values()):
            self._pending.fail(errors.CannotStart("no worker process becomes ready"))
        self._loop.call_later(RESTART_PAUSE_SECONDS, self._start_worker)

    async def _supervise(self) -> None:
        """Kill workers whose board has not changed for too long; keep the socket reachable."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(SUPERVISION_SECONDS)
            late_seconds = time.monotonic() - before - SUPERVISION_SECONDS
            for worker in self._workers.values():
                worker.kill_if_overdue(self._limit_seconds(worker), late_seconds)
            self._restore_socket()
            self._exchange_messages()  # a worker may have room again, and says nothing of it
            self.supervision_ticks += 1

    def _limit_seconds(self, worker: WorkerProcess) -> float:
        """Return how long its board may stay as it is: one that waits for the tix-api rests."""
        may_wait = worker.held and not worker.current
        return PHASE_LIMIT_SECONDS + (self._settings.api_total_seconds if may_wait else 0.0)

    def _restore_socket(self) -> None:
        """Bind anew where the socket was removed; raises CannotStart where that is not possible."""
        if self._socket.closed or self._socket.is_reachable():
            return
        lost = self._socket.endpoint
        self._socket.rebind()
        logs.warning("workers_socket_replaced", socket=self._socket.endpoint, removed=lost)
        for worker in self._workers.values():
            if not worker.ready:  # it may not have found the socket: start it again
                worker.recycled = True
                worker.kill()
