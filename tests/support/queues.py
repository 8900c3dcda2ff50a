"""A queue and a sink that keep all in memory, and a consumer of RabbitMQ as the role worker has it.

The queue behaves as a broker's: what a consumer has not said to be done goes back when it closes,
and the same installation may be put as often as somebody likes.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from tests.support.waiting import until
from tixd import errors
from tixd.amqp.messages import Endpoint
from tixd.config.collector_settings import Format
from tixd.config.fields import Secret
from tixd.jobs import ProcessInstallation
from tixd.queues.base import JobSink, JobSource
from tixd.queues.celery_message import PathMapping
from tixd.queues.publisher import ConfirmedPublisher, JobPublisher
from tixd.queues.rabbitmq import RabbitQueue
from tixd.sinks.base import OutboundMessage


class JobQueue(JobSink, JobSource, Protocol):
    """Both ends of a queue."""


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

    async def ack(self) -> None:
        """Forget it."""
        await self.queue.end(self.job, again=False)

    async def requeue_last(self) -> None:
        """Behind the others once more."""
        await self.queue.end(self.job, again=True)

    async def release(self) -> None:
        """To somebody else, first."""
        await self.queue.end(self.job, again=True, first=True)


class MemorySink:
    """Keeps what was published in `kept`.

    away: why it is not ready; refused: keys that it refuses; largest_bytes: what fits.
    """

    name = "memory"
    target = "kept"

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


#: What a worker with one process takes.
PREFETCH = 2


def guest(port: int) -> Endpoint:
    """A broker of this machine."""
    return Endpoint("127.0.0.1", port, "guest", Secret("guest"))


async def _nothing_to_look_through() -> Mapping[str, int]:
    return {}


class RabbitEnds(RabbitQueue):
    """A consumer, and a publisher of jobs."""

    async def put(self, job: ProcessInstallation) -> bool:
        """Send a job to the queue."""
        return await self.jobs.put(job)


@asynccontextmanager
async def consumer(port: int, base: str, prefetch: int = PREFETCH) -> AsyncIterator[RabbitEnds]:
    """A queue that takes and gives jobs under the base; it is closed at the end."""
    publisher = ConfirmedPublisher(guest(port), "out")
    queue = RabbitEnds(
        guest(port),
        JobPublisher(publisher, 600),
        PathMapping(base, base),
        prefetch,
        _nothing_to_look_through,
        Counter[str]().update,
    )
    links = [asyncio.ensure_future(link.run()) for link in (publisher.link, queue.link)]
    try:
        await until(lambda: not publisher.outage and not queue.outage)
        yield queue
    finally:
        await queue.close()
        for link in links:
            link.cancel()
        await asyncio.wait(links)
