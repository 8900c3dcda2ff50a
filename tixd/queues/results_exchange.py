"""The exchange tixd.results: each result as it becomes known, for the history and for anyone.

Rules: workers publish and wait for nothing; what no queue is bound for is dropped; the leading
dispatcher's queue holds the latest messages only, and goes once no dispatcher has followed for an
hour, so nothing fills a broker. Where the broker refuses any of it, that is one warning, and jobs
go on.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

from tixd import errors, logs
from tixd.amqp.channel import Channel
from tixd.amqp.connection import Connection
from tixd.amqp.messages import Message, Properties
from tixd.amqp.supervised import SupervisedConnection
from tixd.history.job_record import messages

#: The durable topic exchange; a routing key is USER.INSTALLATION.
EXCHANGE = "tixd.results"

#: The queue of the leading dispatcher.
QUEUE = "tixd.history"

#: The most messages that wait in it: then the oldest are dropped.
MAX_MESSAGES = 100_000

#: Longest message that is read, bytes; one of tixd has less than 1,000.
MAX_BYTES = 16_384

#: How long it stays although no dispatcher follows.
EXPIRES_MILLISECONDS = 3_600_000

#: How often a connection is looked for, and pause after the end of a channel.
LOOK_SECONDS = 0.2

#: Pause before what the broker refused is tried again.
RETRY_SECONDS = 60.0


class _OnExchange(ABC):
    """Keeps a channel for the exchange on a connection that others supervise."""

    def __init__(self, link: SupervisedConnection) -> None:
        self._link = link
        self._reason = ""

    async def run(self) -> None:
        """Use each new connection; endless."""
        while True:
            connection, pause_seconds = self._link.connection, LOOK_SECONDS
            if connection and not connection.blocked:  # a blocked one answers nothing
                pause_seconds = await self._try(connection)
            await asyncio.sleep(pause_seconds)  # always: a use that fails at once must not spin

    async def _try(self, connection: Connection) -> float:
        """Use a connection until that fails; return the pause before the next use."""
        try:
            await self._use(connection)
        except errors.BrokerUnavailable:
            pass  # the supervised connection logs its end
        except errors.BrokerError as error:
            if not connection.ended.done():
                self._on_refused(str(error))
                return RETRY_SECONDS
        return LOOK_SECONDS

    def _on_refused(self, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            self._warn(reason)

    @abstractmethod
    def _warn(self, reason: str) -> None:
        """Log that the broker refuses."""

    @abstractmethod
    async def _use(self, connection: Connection) -> None:
        """Use the connection until its channel ends; raises a BrokerError."""


async def _declared(connection: Connection) -> Channel:
    """Return a channel of a connection on which the exchange is there."""
    channel = await connection.channel()
    try:
        await channel.declare_exchange(EXCHANGE, "topic", passive=True)
    except errors.NotDeclared:
        if connection.ended.done():
            raise
        channel = await connection.channel()
        await channel.declare_exchange(EXCHANGE, "topic", durable=True)
    return channel


class ResultsOut(_OnExchange):
    """Publishes what the jobs of this host tell; dropped: messages while that was not possible."""

    def __init__(self, link: SupervisedConnection) -> None:
        super().__init__(link)
        self.dropped = 0
        self._channel: Channel | None = None

    def publish(self, record: str) -> None:
        """Publish the record of a job; drop it where the broker takes nothing now."""
        connection = self._link.connection
        for key, body in messages(record):
            if self._channel is None or connection is None or connection.blocked:
                self.dropped += 1
            else:
                properties = Properties(content_type="application/json")
                self._channel.send(EXCHANGE, key, body, properties)

    def _warn(self, reason: str) -> None:
        logs.warning("results_not_published", exchange=EXCHANGE, reason=reason)

    async def _use(self, connection: Connection) -> None:
        channel = self._channel = await _declared(connection)
        try:
            raise await channel.ended
        finally:
            self._channel = None


class ResultsIn(_OnExchange):
    """Follows the exchange: on_message gets the body of each message."""

    def __init__(self, link: SupervisedConnection, on_message: Callable[[bytes], None]) -> None:
        super().__init__(link)
        self._on_message = on_message

    def _warn(self, reason: str) -> None:
        logs.warning("results_not_followed", exchange=EXCHANGE, reason=reason)

    async def _use(self, connection: Connection) -> None:
        channel = await _declared(connection)
        limits = {"x-max-length": MAX_MESSAGES, "x-expires": EXPIRES_MILLISECONDS}
        await channel.declare_queue(QUEUE, durable=True, arguments=limits)
        await channel.bind_queue(QUEUE, EXCHANGE, "#")
        await channel.consume(QUEUE, 0, self._deliver, no_ack=True)
        raise await channel.ended

    def _deliver(self, message: Message) -> None:
        """Pass a message on; one that is too long is none of tixd's, and is cut, not kept whole."""
        self._on_message(message.body[:MAX_BYTES])
