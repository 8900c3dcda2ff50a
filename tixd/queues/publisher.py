"""Publish messages to RabbitMQ queues, each confirmed, over a separate connection.

Nothing is consumed on that connection: the broker stops reading from one that publishes while it is
short of memory or disk. A queue that is missing is declared, one that exists is used as found.
A message whose confirm is missing may still have been stored. The broker drops a job that no worker
has taken within a period: the next cycle has published another one by then, so a backlog never
grows beyond the number of installations.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import uuid4

from tixd import errors
from tixd.amqp.channel import Channel
from tixd.amqp.connection import Connection
from tixd.amqp.messages import Endpoint, Properties
from tixd.amqp.supervised import PROBE_PREFIX, BrokerProbe, SupervisedConnection
from tixd.jobs import ProcessInstallation
from tixd.queues.celery_message import InstallationTask, ScanTask, Task, encode

#: How long a confirm may take; a disk that is busy takes a second.
CONFIRM_SECONDS = 20.0

#: How often a probe checks that the broker still confirms.
PROBE_SECONDS = 5.0

#: Queue, exchange and routing key of a Celery deployment that configures none.
JOBS = "celery"

#: Waits until a connection may be used; it may be used while the returned channel is open.
AcquireLock = Callable[[Connection], Awaitable[Channel]]


async def declare(connection: Connection, queue: str, exchange: str = "") -> None:
    """Declare a durable queue if it is missing, and bind it to the exchange, declared too.

    Two channels, because the broker ends the one on which it refuses.
    """
    channel = await connection.channel()
    try:
        await channel.declare_queue(queue, passive=True)
    except errors.NotDeclared:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True)
        if exchange:
            await channel.declare_exchange(exchange, "direct", durable=True)
            await channel.bind_queue(queue, exchange, queue)
    await channel.close()


class ConfirmedPublisher:
    """Publishes to the queues of one broker while link.run() keeps its connection.

    last_confirmed_at: monotonic second of the last confirm, None before the first.
    """

    def __init__(self, endpoint: Endpoint, name: str, lock: AcquireLock | None = None) -> None:
        """Use a connection only once `lock` has returned, if there is one."""
        self.link = SupervisedConnection(endpoint, name, self._on_connected)
        self.last_confirmed_at: float | None = None
        self._lock = lock
        self._channel: Channel | None = None
        self._connection: Connection | None = None
        self._declaring = asyncio.Lock()

    @property
    def outage(self) -> str | None:
        """Why nothing can be published; None where it can."""
        if self._connection is None:
            return self.link.outage or "the connection has just ended"
        blocked = self._connection.blocked
        return f"RabbitMQ takes no messages: {blocked}" if blocked else None

    async def publish(
        self, queue: str, body: bytes, properties: Properties, *, exchange: str = ""
    ) -> None:
        """Publish a message and wait until the broker has stored it; raises a BrokerError.

        exchange: what the queue is bound to where it is missing.
        """
        try:
            await self._publish_once(queue, body, properties)
        except errors.MessageReturned:
            async with self._declaring:
                if self._connection:
                    await declare(self._connection, queue, exchange)
            await self._publish_once(queue, body, properties)

    async def _publish_once(self, queue: str, body: bytes, properties: Properties) -> None:
        if self.outage or not self._channel:
            raise errors.BrokerUnavailable(self.outage or "")
        marked = replace(properties, message_id=properties.message_id or str(uuid4()))
        confirmed = self._channel.publish("", queue, body, marked)
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await confirmed
        except TimeoutError:
            reason = self.outage or f"no confirm within {CONFIRM_SECONDS:.0f} s"
            raise errors.BrokerUnavailable(reason) from None
        self.last_confirmed_at = time.monotonic()

    async def _on_connected(self, connection: Connection) -> None:
        """Wait for the lock, then use the connection as long as it confirms probes."""
        ends = {(await self._lock(connection)).ended} if self._lock else set()
        probe = await BrokerProbe.open(connection, PROBE_PREFIX)
        ends.add(probe.channel.ended)
        self._channel = probe.channel
        self._connection = connection
        self.link.mark_ready(connection)
        try:
            while True:
                await self._probe(connection, probe)
                ended, _ = await asyncio.wait(
                    ends, timeout=PROBE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                for end in ended:
                    raise end.result()
        finally:
            self._channel = self._connection = None

    async def _probe(self, connection: Connection, probe: BrokerProbe) -> None:
        """Raise BrokerUnavailable where the broker neither confirms nor says that it is blocked."""
        reason = await probe.confirm(CONFIRM_SECONDS)
        if reason is None:
            self.last_confirmed_at = time.monotonic()
        elif not connection.blocked:
            raise errors.BrokerUnavailable(reason)


class JobPublisher:
    """A JobSink: publishes jobs in the queue that tixd shares with Celery workers.

    period_seconds: how long a job is valid.
    """

    def __init__(self, publisher: ConfirmedPublisher, period_seconds: float) -> None:
        self.publisher = publisher
        self.period_seconds = period_seconds
        self._origin = f"{os.getpid()}@{socket.gethostname()}"

    async def put(self, job: ProcessInstallation) -> bool:
        """Publish the job of one installation; raises a BrokerError."""
        await self.send(InstallationTask("", job.path, job.user_id, job.installation_id))
        return True

    async def request_scan(self, base: str) -> None:
        """Ask a worker that sees the reports to scan them; raises a BrokerError."""
        await self.send(ScanTask("", base))

    async def send(self, task: Task) -> None:
        """Publish a task, with a new id and expiry; raises a BrokerError."""
        now = time.time()
        fresh = replace(task, task_id=str(uuid4()), expires=now + self.period_seconds)
        body, properties = encode(fresh, now=now, origin=self._origin)
        await self.publisher.publish(JOBS, body, properties, exchange=JOBS)
