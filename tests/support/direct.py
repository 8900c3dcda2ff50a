"""A test's own look into the queues of a broker, past all that tixd knows of them.

The exchange that the collector publishes to, with a durable queue bound to it, is among them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout

from tests.support.broker import Broker
from tests.support.hosts import inside

#: Messages that a consumer is given before it acknowledges some.
BATCH = 1000

#: After so long without a message it is asked whether the queue is empty.
PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it lay in a queue."""

    body: bytes
    properties: pika.BasicProperties
    redelivered: bool = False

    @property
    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Direct:
    """Queues of a broker; a connection for each call, so that a broker may die between two.

    seconds: how long it may keep silent; then TimeoutError or an error of pika's is raised.
    """

    port: int
    host: str = "127.0.0.1"
    netns: str | None = None
    user: str = "guest"
    password: str = "guest"
    seconds: float = 30.0

    @contextlib.contextmanager
    def channel(self) -> Iterator[BlockingChannel]:
        """A channel of a connection of its own, with confirms."""
        connection = inside(self.netns, self._connect)
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            with contextlib.suppress(pika.exceptions.AMQPError):
                connection.close()

    def _connect(self) -> pika.BlockingConnection:
        parameters = pika.ConnectionParameters(
            self.host,
            self.port,
            credentials=pika.PlainCredentials(self.user, self.password),
            socket_timeout=self.seconds,
            stack_timeout=self.seconds,
            blocked_connection_timeout=self.seconds,
        )
        try:
            return pika.BlockingConnection(parameters)
        except AMQPConnectorStackTimeout as error:
            raise TimeoutError(str(error)) from error

    def declare(self, queue: str, **arguments: Any) -> None:
        """Make a durable queue; `arguments` with _ for -, such as x_message_ttl=1000."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        with self.channel() as channel:
            channel.queue_declare(queue, durable=True, arguments=named)

    def exists(self, queue: str) -> bool:
        """Whether there is such a queue."""
        try:
            with self.channel() as channel:
                channel.queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return True

    def publish(self, queue: str, *bodies: bytes | str, **properties: Any) -> None:
        """Put messages into a queue, confirmed; fails where there is no such queue."""
        made = pika.BasicProperties(**{"delivery_mode": 2, **properties})
        with self.channel() as channel:
            for body in bodies:
                raw = body.encode() if isinstance(body, str) else body
                channel.basic_publish("", queue, raw, made, mandatory=True)

    def drain(self, queue: str) -> list[Message]:
        """Take all that waits in a queue, oldest first."""
        with self.channel() as channel:
            return list(_waiting(channel, queue, auto_ack=True))

    def each(self, queue: str) -> Iterator[Message]:
        """The same for very many, one after the other, as a consumer."""
        with self.channel() as channel:
            channel.basic_qos(prefetch_count=BATCH)
            taken = channel.consume(queue, inactivity_timeout=PAUSE_SECONDS)
            last = 0
            for number, (method, properties, body) in enumerate(taken, 1):
                if method:
                    last = method.delivery_tag
                    yield Message(body, properties, method.redelivered)
                if last and (method is None or not number % (BATCH // 2)):
                    channel.basic_ack(last, multiple=True)  # not what came meanwhile
                    last = 0
                if method is None and _is_empty(channel, queue):
                    break
            channel.cancel()

    def count(self, queue: str) -> int:
        """How many messages wait: taken, counted, and given back in their order.

        Not what the broker says of the queue, which is wrong right after its restart.
        """
        with self.channel() as channel:
            return sum(1 for _ in _waiting(channel, queue, auto_ack=False))

    def consumers(self, queue: str) -> int:
        """How many consumers the queue has."""
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.consumer_count)

    def purge(self, queue: str) -> None:
        """Throw away all that waits."""
        with self.channel() as channel:
            channel.queue_purge(queue)

    def delete(self, queue: str) -> None:
        """Delete the queue, whatever is in it."""
        with self.channel() as channel:
            channel.queue_delete(queue)


def _is_empty(channel: BlockingChannel, queue: str) -> bool:
    """Whether nothing waits in the queue, nor has arrived here unseen."""
    left = channel.queue_declare(queue, passive=True).method.message_count
    return not left and not channel.get_waiting_message_count()


def _waiting(channel: BlockingChannel, queue: str, *, auto_ack: bool) -> Iterator[Message]:
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=auto_ack)
        if method is None:
            return
        yield Message(body, properties, method.redelivered)


#: Both names.
EXCHANGE, QUEUE = "gracc", "records"


def bound_queue(broker: Broker, **arguments: Any) -> Direct:
    """Make both anew; the helper to look into the queue."""
    direct = Direct(broker.port)
    direct.delete(QUEUE)
    direct.declare(QUEUE, **arguments)
    with direct.channel() as channel:
        channel.exchange_declare(EXCHANGE, "fanout", durable=True)
        channel.queue_bind(QUEUE, EXCHANGE)
    return direct


def to_broker(port: int, **changes: Any) -> dict[str, Any]:
    """The collector's settings for this broker, with short pauses."""
    amqp = {"host": "127.0.0.1", "port": port, "exchange": EXCHANGE, "autoDelete": False}
    amqp |= {"format": "json", "retry": "200ms", "maxRetry": "1s"}
    return {"AMQP": amqp, **changes}


def identities(direct: Direct) -> list[str]:
    """The records in the queue, which is empty after it."""
    return [json.loads(found.body)["RecordId"] for found in direct.each(QUEUE)]
