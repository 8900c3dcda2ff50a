"""Messages to RabbitMQ queues, each confirmed, over a connection of their own.

In: the name of a queue, a body, properties. Out: a return once the broker has stored it. Rules: a
queue that is missing is declared, one that is there is used as found, whatever its arguments;
what could not be confirmed may have been stored all the same. The broker stops reading from a
connection that publishes while it is short of memory or disk, so nothing is consumed on this one;
and it says so only to somebody who publishes, so a probe goes to a queue of our own.

Jobs as messages in the queue that tixd shares with Celery workers.

In: installations, or a base to be looked through. Out: confirmed messages of Celery's protocol 2.
Rules: a message that nobody took within a period is dropped by the broker, because by then the next
cycle has made another one, so a backlog never grows beyond the number of installations.
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

#: How often it is tried whether the broker still confirms.
PROBE_SECONDS = 5.0

Claim = Callable[[Connection], Awaitable[Channel]]

_FIRST = asyncio.FIRST_COMPLETED


async def declare(connection: Connection, queue: str, exchange: str = "") -> None:
    """See that there is a durable queue; where it is made, an exchange too, and bound.

    A channel each, because the broker ends the one on which it has to say no.
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
    """Sends to the queues of one broker; run() keeps its connection.

    confirmed: epoch second of the last confirm, None before the first.
    """

    def __init__(self, endpoint: Endpoint, name: str, claim: Claim | None = None) -> None:
        """`claim` returns once the connection may be used: as long as the claim's channel lives."""
        self.link = SupervisedConnection(endpoint, name, self._use)
        self.confirmed: float | None = None
        self._claim = claim
        self._channel: Channel | None = None
        self._connection: Connection | None = None
        self._declaring = asyncio.Lock()

    @property
    def trouble(self) -> str:
        """Why nothing can be sent; "" where it can."""
        if self._connection is None:
            return self.link.reason or "the connection has just ended"
        blocked = self._connection.blocked
        return f"RabbitMQ takes no messages: {blocked}" if blocked else ""

    async def send(
        self, queue: str, body: bytes, properties: Properties, *, exchange: str = ""
    ) -> None:
        """Send a message; returns once the broker has stored it. Raises a BrokerError else.

        exchange: what a queue that is missing is bound to, when it is made.
        """
        try:
            await self._publish(queue, body, properties)
        except errors.MessageReturned:
            async with self._declaring:
                if self._connection:
                    await declare(self._connection, queue, exchange)
            await self._publish(queue, body, properties)

    async def _publish(self, queue: str, body: bytes, properties: Properties) -> None:
        if self.trouble or not self._channel:
            raise errors.BrokerUnavailable(self.trouble)
        marked = replace(properties, message_id=properties.message_id or str(uuid4()))
        confirmed = self._channel.publish("", queue, body, marked)
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await confirmed
        except TimeoutError:
            reason = self.trouble or f"no confirm within {CONFIRM_SECONDS:.0f} s"
            raise errors.BrokerUnavailable(reason) from None
        self.confirmed = time.time()

    async def _use(self, connection: Connection) -> None:
        """Claim the connection, then let it be used as long as it confirms our probes."""
        ends = {(await self._claim(connection)).ended} if self._claim else set()
        probe = await BrokerProbe.open(connection, PROBE_PREFIX)
        ends.add(probe.channel.ended)
        self._channel, self._connection = probe.channel, connection
        self.link.mark_ready(connection)
        try:
            while True:
                await self._probe(connection, probe)
                ended, _ = await asyncio.wait(ends, timeout=PROBE_SECONDS, return_when=_FIRST)
                for end in ended:
                    raise end.result()
        finally:
            self._channel = self._connection = None

    async def _probe(self, connection: Connection, probe: BrokerProbe) -> None:
        """Raises BrokerUnavailable where the broker confirms nothing, and does not say why."""
        reason = await probe.confirm(CONFIRM_SECONDS)
        if reason is None:
            self.confirmed = time.time()
        elif not connection.blocked:
            raise errors.BrokerUnavailable(reason)


#: Queue, exchange and routing key of a Celery deployment that configures none.
JOBS = "celery"


class JobPublisher:
    """Sends jobs by a Sender; `period_seconds` is how long they are good for."""

    def __init__(self, sender: ConfirmedPublisher, period_seconds: float) -> None:
        self._sender, self._period_seconds = sender, period_seconds
        self._origin = f"{os.getpid()}@{socket.gethostname()}"

    async def put(self, job: ProcessInstallation) -> bool:
        """Send the job of one installation; True once it is stored, a BrokerError else."""
        await self.put_path(job.path, job.user_id, job.installation_id)
        return True

    async def put_path(self, path: str, user_id: int, installation_id: int) -> None:
        """The same, for a path as another host sees it."""
        await self._send(
            InstallationTask(str(uuid4()), path, user_id, installation_id, self._expires())
        )

    async def put_users(self, base: str) -> None:
        """Have somebody who sees the reports look through them; stored then, a BrokerError else."""
        await self._send(ScanTask(str(uuid4()), base, self._expires()))

    def _expires(self) -> float:
        return time.time() + self._period_seconds

    async def _send(self, task: Task) -> None:
        body, properties = encode(task, now=time.time(), origin=self._origin)
        await self._sender.send(JOBS, body, properties, exchange=JOBS)
