"""The twin of a broker's queue, for tests: several consumers, nothing but memory between them.

In and out: queues/contract.py. Rules: as a broker's: what a consumer has not said to be done goes
back when it closes, and the same installation may be put as often as somebody likes.

The sink that keeps records in memory: the twin of the others for tests.

In: messages. Out: a list. Rules: those of the contract; what is wrong with it is set by hand.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tixd import errors
from tixd.config.collector_settings import Format
from tixd.jobs import ProcessInstallation
from tixd.sinks.base import OutboundMessage


class MemoryBroker:
    """Where the jobs wait; outlives its consumers."""

    def __init__(self) -> None:
        self.waiting: deque[ProcessInstallation] = deque()
        self.changed = asyncio.Condition()

    async def add(self, *jobs: ProcessInstallation, first: bool = False) -> None:
        """Let jobs wait, before or behind the others."""
        async with self.changed:
            (self.waiting.extendleft if first else self.waiting.extend)(jobs)
            self.changed.notify_all()


class MemoryQueue:
    """One consumer's, or producer's, side of a MemoryBroker: a JobQueue."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._unfinished: list[ProcessInstallation] = []
        self._closed = False

    async def put(self, job: ProcessInstallation) -> bool:
        """Take a job; a broker does not know which installations have one already."""
        await self._broker.add(job)
        return True

    async def take(self) -> MemoryDelivery:
        """The next job; waits for one, for ever once it is closed."""
        async with self._broker.changed:
            await self._broker.changed.wait_for(lambda: self._broker.waiting and not self._closed)
            job = self._broker.waiting.popleft()
        self._unfinished.append(job)
        return MemoryDelivery(job, self)

    async def close(self) -> None:
        """Give back what is not done."""
        self._closed = True
        jobs, self._unfinished = self._unfinished, []
        await self._broker.add(*reversed(jobs), first=True)

    async def end(self, job: ProcessInstallation, *, again: bool, first: bool = False) -> None:
        """The delivery of `job` has ended here; one that was given back in between is ignored."""
        if job in self._unfinished:
            self._unfinished.remove(job)
            if again:
                await self._broker.add(job, first=first)


@dataclass(frozen=True, slots=True)
class MemoryDelivery:
    """A job of a MemoryQueue in somebody's hands."""

    job: ProcessInstallation
    queue: MemoryQueue

    async def done(self) -> None:
        """Forget it."""
        await self.queue.end(self.job, again=False)

    async def again(self) -> None:
        """Behind the others once more."""
        await self.queue.end(self.job, again=True)

    async def back(self) -> None:
        """To somebody else, first."""
        await self.queue.end(self.job, again=True, first=True)


class MemorySink:
    """Keeps what was published in `kept`.

    away: why it is not ready; refused: keys that it refuses; largest_bytes: what fits.
    """

    name = "memory"

    def __init__(self, wanted: Format = "json") -> None:
        self.format: Format = wanted
        self.kept: list[OutboundMessage] = []
        self.away = ""
        self.refused: set[str] = set()
        self.largest_bytes = 1_000_000
        self.hurried = 0
        self.last_confirmed_at: float | None = None

    async def start(self) -> None:
        """Be there."""
        self.last_confirmed_at = time.monotonic()

    async def stop(self) -> None:
        """What was kept is kept."""

    def unready_reason(self) -> str | None:
        """What the test says."""
        return self.away or None

    def retry_now(self) -> None:
        """Count it."""
        self.hurried += 1

    def check(self, messages: Sequence[OutboundMessage]) -> None:
        """Raises TooLargeForOutput as the test says."""
        for message in messages:
            if len(message.body) > self.largest_bytes:
                raise errors.TooLargeForOutput(f"{self.name}: record {message.key}")

    async def publish(self, messages: Sequence[OutboundMessage]) -> None:
        """Keep all, or raise Unavailable where one of them is refused."""
        if self.away or any(message.key in self.refused for message in messages):
            raise errors.Unavailable(f"{self.name}: {self.away or 'refused'}")
        self.kept += messages
        self.last_confirmed_at = time.monotonic()
