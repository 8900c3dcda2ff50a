"""The parent's side of the workers: starts them, gives each one job, notices how it ends.

In: jobs. Out: for each job a future of its Done. Rules: a worker gets exactly one job and the table
keeps it until Done, so no death loses one; a dead worker is replaced once the kernel says it is
dead; a worker that spends too long in one phase is killed. One asyncio loop, nothing here blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import deque
from functools import partial
from typing import Self

import zmq

from tixd import errors, logs
from tixd.dispatch.deaths import Death, Deaths
from tixd.dispatch.job import Done, Job, Message, Phase, ProcessInstallation, Ready, decode, encode
from tixd.dispatch.seat import Seat, Task
from tixd.settings import Settings

#: Longest time that a worker may spend in one phase of a window.
PHASE_LIMIT_SECONDS = 300.0

#: How often the time limit is looked at.
SUPERVISION_SECONDS = 1.0

#: Workers that end before they are ready, in a row, before tixd gives up: something is broken.
MOST_FAILED_STARTS = 3


class Pool:
    """Worker processes behind a private ZeroMQ ROUTER; an asynchronous context manager."""

    def __init__(
        self, settings: Settings, *, phase_limit_seconds: float = PHASE_LIMIT_SECONDS
    ) -> None:
        self._settings = settings
        self._phase_limit_seconds = phase_limit_seconds
        self._seats: dict[bytes, Seat] = {}
        self._waiting: deque[Task] = deque()
        self._deaths = Deaths()
        self._started = 0
        self._failed_starts = 0
        self._stopping = False
        self._empty = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._directory = tempfile.mkdtemp(prefix="tixd-")
        self._endpoint = f"ipc://{self._directory}/jobs.sock"
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._router.setsockopt(zmq.LINGER, 0)
        self._router.bind(self._endpoint)
        self._router_fd = self._router.fileno()
        self._loop.add_reader(self._router_fd, self._converse)
        self._supervision = self._loop.create_task(self._supervise())
        for _ in range(self.size):
            self._start_worker()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(grace_seconds=0.0)

    @property
    def size(self) -> int:
        """How many worker processes there are to be."""
        return self._settings.worker_count

    def submit(self, job: Job) -> asyncio.Future[Done]:
        """Give the job to the next free worker; the future ends when the job has."""
        task = Task(job, self._loop.create_future())
        if self._stopping:
            task.done.set_result(Done(counts={"jobs_not_begun": 1}))
        elif isinstance(job, ProcessInstallation) and self._deaths.waits(job, time.monotonic()):
            task.done.set_result(Done(counts={"jobs_waiting": 1}))
        else:
            self._waiting.append(task)
            self._give_out()
            self._loop.call_soon(self._converse)
        return task.done

    async def stop(self, grace_seconds: float) -> None:
        """No new jobs; workers end after the window in hand, or are killed after the grace."""
        if self._context.closed:
            return
        self._stopping = True
        while self._waiting:
            self._waiting.popleft().done.set_result(Done(counts={"jobs_not_begun": 1}))
        for seat in self._seats.values():
            seat.process.terminate()
        if self._seats:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), grace_seconds)
        self.kill()
        if self._seats:
            await self._empty.wait()
        self._close()

    def kill(self) -> None:
        """End all workers at once; nothing is lost, one post each may repeat."""
        for seat in self._seats.values():
            seat.process.kill()

    def _close(self) -> None:
        self._supervision.cancel()
        self._loop.remove_reader(self._router_fd)
        self._router.close()
        self._context.term()
        shutil.rmtree(self._directory, ignore_errors=True)

    # --- conversation ----------------------------------------------------------------------------

    def _converse(self) -> None:
        """Read every message that is there and give out jobs until nothing more can be done.

        The descriptor of a ZeroMQ socket only tells of changes, so this must go on until a receive
        finds nothing after the last send.
        """
        while not self._router.closed:
            self._give_out()
            try:
                identity, frame = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            seat = self._seats.get(identity)
            if seat:
                self._hear(seat, decode(frame))

    def _hear(self, seat: Seat, message: Message) -> None:
        match message:
            case Ready():
                seat.ready = True
                self._failed_starts = 0
            case Phase():
                seat.phase, seat.since = message, time.monotonic()
            case Done():
                self._end(seat, message)
            case _:
                raise errors.InternalError(f"a worker sent {message!r}")

    def _end(self, seat: Seat, done: Done) -> None:
        """A worker has finished its job, one way or the other."""
        task, phase = seat.task, seat.phase
        seat.task, seat.phase = None, None
        if task is None:
            return
        if done.failure and isinstance(task.job, ProcessInstallation):
            self._again(task, Death("exception", 0, phase))
            return
        if isinstance(task.job, ProcessInstallation) and done.counts:
            self._deaths.finished_window(task.job)
        if not task.done.done():
            task.done.set_result(done)

    def _give_out(self) -> None:
        """One waiting job to each free worker."""
        for seat in self._seats.values():
            if not self._waiting:
                return
            if seat.ready and seat.task is None:
                seat.task, seat.phase = self._waiting.popleft(), None
                seat.since = time.monotonic()
                try:
                    self._router.send_multipart([seat.identity, encode(seat.task.job)], zmq.NOBLOCK)
                except zmq.ZMQError:  # it has just died: its exit gives the job out again
                    logs.debug("worker_unreachable", worker=seat.process.pid)

    # --- life and death --------------------------------------------------------------------------

    def _start_worker(self) -> None:
        self._started += 1
        seat = Seat.start(self._endpoint, b"worker-%d" % self._started, self._settings)
        self._seats[seat.identity] = seat
        self._loop.add_reader(seat.process.sentinel, partial(self._bury, seat))

    def _bury(self, seat: Seat) -> None:
        """A worker process has ended: give its job out again and put another in its place."""
        self._loop.remove_reader(seat.process.sentinel)
        self._converse()  # its last words may still be on the way
        seat.process.join()
        death = seat.death()
        del self._seats[seat.identity]
        seat.process.close()
        if not self._stopping:
            seat.report(death)
            if seat.task:
                self._again(seat.task, death)
            self._replace(seat)
        elif seat.task:
            seat.task.done.set_result(Done(counts={"jobs_not_finished": 1}))
        if not self._seats:
            self._empty.set()
        self._converse()

    def _again(self, task: Task, death: Death) -> None:
        """Put the job of a dead worker first in the queue, unless its deaths forbid it."""
        if isinstance(task.job, ProcessInstallation):
            verdict = self._deaths.judge(task.job, death, time.monotonic())
            if verdict.job is None:
                logs.error("installation_waits", job=repr(task.job))
                task.done.set_result(Done(counts={"jobs_given_up": 1}))
                return
            task.job = verdict.job
        self._waiting.appendleft(task)

    def _replace(self, seat: Seat) -> None:
        """A new worker for a dead one; when none gets as far as being ready, give up."""
        if not seat.ready:
            self._failed_starts += 1
        if self._failed_starts < MOST_FAILED_STARTS:
            self._start_worker()
        elif not self._seats:
            self._fail_everything()

    def _fail_everything(self) -> None:
        """No worker can be started: whoever waits must hear of it."""
        failure = errors.CannotStart("no worker process gets as far as being ready")
        while self._waiting:
            self._waiting.popleft().done.set_exception(failure)

    async def _supervise(self) -> None:
        """Kill workers that have spent too long in one phase."""
        while True:
            await asyncio.sleep(SUPERVISION_SECONDS)
            for seat in self._seats.values():
                if seat.task and time.monotonic() - seat.since > self._phase_limit_seconds:
                    seat.kill_overdue()
