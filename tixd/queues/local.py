"""The queue of one process: jobs in memory, in order, at most one for each installation.

Nothing needs to survive the process, because the next scan finds the same installations again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from tixd.jobs import ProcessInstallation


class LocalQueue:
    """A JobSource and JobSink in memory; `taken`: how many jobs it has accepted so far."""

    def __init__(self) -> None:
        self.taken = 0
        self._waiting: deque[ProcessInstallation] = deque()
        self._open: set[tuple[int, int]] = set()
        self._arrived = asyncio.Condition()
        self._emptied = asyncio.Event()
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    @property
    def open(self) -> int:
        """How many jobs wait or are in progress."""
        return len(self._open)

    async def put(self, job: ProcessInstallation) -> bool:
        """Queue a job, unless its installation has an open one."""
        key = (job.user_id, job.installation_id)
        if key in self._open or self._closed:
            return False
        self._open.add(key)
        self._emptied.clear()
        self.taken += 1
        await self.requeue(job, first=False)
        return True

    async def take(self) -> LocalDelivery:
        """Wait for the next job; never return once the queue is closed."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self._waiting and not self._closed)
            return LocalDelivery(self._waiting.popleft(), self)

    async def idle(self) -> None:
        """Wait until no job is open."""
        while self._open:
            await self._emptied.wait()

    async def close(self) -> None:
        """Deliver no more jobs."""
        self._closed = True

    async def forget(self, job: ProcessInstallation) -> None:
        """Let the job's installation have another one."""
        self._open.discard((job.user_id, job.installation_id))
        if not self._open:
            self._emptied.set()

    async def requeue(self, job: ProcessInstallation, *, first: bool) -> None:
        """Put an open job back, before or behind the others."""
        async with self._arrived:
            (self._waiting.appendleft if first else self._waiting.append)(job)
            self._arrived.notify()


@dataclass(frozen=True, slots=True)
class LocalDelivery:
    """A job of a LocalQueue that is in progress."""

    job: ProcessInstallation
    queue: LocalQueue

    async def ack(self) -> None:
        """Forget it; its installation may get another job."""
        await self.queue.forget(self.job)

    async def requeue_last(self) -> None:
        """Queue it behind the others."""
        await self.queue.requeue(self.job, first=False)

    async def release(self) -> None:
        """Queue it before the others."""
        await self.queue.requeue(self.job, first=True)
