"""The queue of many hosts: RabbitMQ's `celery`, shared with whatever Celery workers there are.

In: messages of whoever feeds the queue. Out: deliveries to the workers of this host. Rules: a
message is acknowledged when its job is done, its successor stored, its installations sent, or its
copy lies in tixd.dead; until then it goes back to the queue whenever its channel ends. Consuming
has a connection of its own: the broker stops reading from one that publishes while it is short of
memory or disk, and jobs that are done must get through then.

The queue of messages that are no jobs of ours, each with the reason.

In: the properties of a message. Out: those of its copy. Rules: whatever headers a message has, the
broker must take the copy, once, and send it nowhere else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson

from tixd import bounded, errors, logs
from tixd.amqp.channel import Channel
from tixd.amqp.connection import Connection
from tixd.amqp.messages import Endpoint, Message, Properties
from tixd.amqp.supervised import SupervisedConnection
from tixd.jobs import ProcessInstallation
from tixd.queues.celery_message import InstallationTask, ScanTask, decode, local_base, translate
from tixd.queues.publisher import JOBS, ConfirmedPublisher, JobPublisher, declare
from tixd.runtime import tasks

#: Where such messages lie.
DEAD = "tixd.dead"

#: The header that says why.
REASON_HEADER = "tixd-reason"

#: Headers that are longer as JSON are left out: on the wire they can have five times as many, and
#: all headers and the reason must fit one frame of 128 KiB.
MAX_HEADERS_BYTES = 16_384

#: By these RabbitMQ would send the copy to further queues, even to the one that it comes from.
_ROUTING_HEADERS = ("CC", "BCC")


def with_reason(properties: Properties, reason: str) -> Properties:
    """Properties of the copy: persistent, without an end, and with the reason."""
    headers = {**_kept(properties.headers), REASON_HEADER: reason}
    return replace(properties, headers=headers, expiration="", persistent=True)


def _kept(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers that do no harm; none of them where they are too long or too deep."""
    kept = {name: value for name, value in headers.items() if name not in _ROUTING_HEADERS}
    try:
        length = len(orjson.dumps(kept, default=repr))
    except TypeError:  # deeper than any header that means something, or a name that is no text
        return {}
    return kept if length <= MAX_HEADERS_BYTES else {}


#: With nothing in hand and nothing heard for so long, it is looked whether the queue is empty.
SILENCE_SECONDS = 20.0

#: Pause before something is tried again that the broker or the volume refused.
AGAIN_SECONDS = 5.0

#: Looks through the own base, has a job sent for each installation worth it, and counts them.
FanOut = Callable[[], Awaitable[Mapping[str, int]]]


@dataclass(frozen=True, slots=True)
class PathMapping:
    """The reports folder as this host sees it, and as the senders of messages may see it."""

    own: str
    sender: str


class RabbitQueue:
    """One host's consumer of the queue, and its way to put jobs there: a JobQueue."""

    def __init__(
        self,
        endpoint: Endpoint,
        sender: ConfirmedPublisher,
        jobs: JobPublisher,
        bases: PathMapping,
        prefetch: int,
        fan_out: FanOut,
        count: Callable[[Mapping[str, int]], object],
    ) -> None:
        """`prefetch`: how many messages may be here without an answer."""
        self.link = SupervisedConnection(endpoint, "jobs in", self._use)
        self.jobs, self._sender, self._bases = jobs, sender, bases
        self._prefetch, self._fan_out, self._count = prefetch, fan_out, count
        self._waiting: asyncio.Queue[RabbitDelivery] = asyncio.Queue()
        self._in_hand: set[tuple[Channel, int]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard = time.monotonic()
        self._consumer: tuple[Channel, str] | None = None
        self._stopped = False

    @property
    def waiting(self) -> int:
        """How many jobs of this host wait for a worker."""
        return self._waiting.qsize()

    @property
    def open(self) -> int:
        """How many messages are here without an answer."""
        return len(self._in_hand)

    @property
    def trouble(self) -> str:
        """Why nothing is delivered; "" where it is."""
        return "" if self.link.connection else self.link.reason

    async def put(self, job: ProcessInstallation) -> bool:
        """Send a job to the queue; a BrokerError where it cannot be stored."""
        return await self.jobs.put(job)

    async def take(self) -> RabbitDelivery:
        """The next job; waits for one."""
        return await self._waiting.get()

    async def stop(self) -> None:
        """Take no more: what waits here goes back, what workers have in hand may still end."""
        self._stopped = True
        consumer, self._consumer = self._consumer, None
        if consumer:
            channel, tag = consumer
            try:
                await channel.cancel(tag)
            except errors.BrokerError:
                return  # then the broker has given everything back
        while not self._waiting.empty():
            await self._waiting.get_nowait().release()

    async def close(self) -> None:
        """The same, and nothing goes on behind it; what has no answer goes back to the queue."""
        await self.stop()
        await tasks.end(*self._tasks)

    # --- the consumer ----------------------------------------------------------------------------

    async def _use(self, connection: Connection) -> None:
        """Consume until the channel ends, or the broker seems to have forgotten us."""
        await declare(connection, JOBS, JOBS)
        channel = await connection.channel()
        if not self._stopped:
            take = partial(self._on_message, channel)
            self._consumer = channel, await channel.consume(JOBS, self._prefetch, take)
        self._heard = time.monotonic()
        self.link.mark_ready(connection)
        try:
            while not channel.ended.done():
                await asyncio.wait({channel.ended}, timeout=SILENCE_SECONDS)
                await self._check_silence(connection)
            raise channel.ended.result()
        finally:
            self._consumer = None
            while not self._waiting.empty():
                self._waiting.get_nowait()
            self._in_hand.clear()

    async def _check_silence(self, connection: Connection) -> None:
        """Raise BrokerUnavailable if messages wait and none comes although we could take some."""
        if self._in_hand or self._stopped or time.monotonic() - self._heard < SILENCE_SECONDS:
            return
        channel = await connection.channel()
        waiting = (await channel.declare_queue(JOBS, passive=True)).messages
        await channel.close()
        if waiting and time.monotonic() - self._heard >= SILENCE_SECONDS:
            raise errors.BrokerUnavailable(f"it delivers nothing, and {waiting} messages wait")

    def _on_message(self, channel: Channel, message: Message) -> None:
        self._heard = time.monotonic()
        self._in_hand.add((channel, message.tag))
        try:
            task = decode(message.body, message.properties)
            if task.expires is not None and task.expires < time.time():
                self._count({"messages_expired": 1})
                self.answer(channel, message.tag)
            elif isinstance(task, ScanTask):
                local_base(task, self._bases.sender, self._bases.own)
                self._spawn(self._look_through(channel, message))
            else:
                path = translate(task, self._bases.sender, self._bases.own)
                job = ProcessInstallation(path, task.user_id, task.installation_id)
                self._waiting.put_nowait(RabbitDelivery(job, task, self, channel, message.tag))
        except errors.BadTask as error:
            self._spawn(self._bury(channel, message, error.detail))
        except Exception as error:  # noqa: BLE001 - it would end the connection, and come again
            tasks.report(error, "reading of a message")
            self._spawn(self._bury(channel, message, f"unexpected {type(error).__name__}"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = tasks.start(work, "answering of a message")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def answer(self, channel: Channel, tag: int, *, back: bool = False) -> None:
        """That message is done with, or for somebody else."""
        self._in_hand.discard((channel, tag))
        (channel.nack if back else channel.ack)(tag)

    # --- messages that are no job for a worker ---------------------------------------------------

    async def _look_through(self, channel: Channel, message: Message) -> None:
        """Send a job for each installation worth one; acknowledge when all are stored."""
        try:
            found = await self._fan_out()
        except Exception as error:  # noqa: BLE001 - a message without an answer holds up others
            if not isinstance(error, errors.CannotStart | errors.BrokerError):
                tasks.report(error, "looking through the reports")
            logs.error("fan_out_failed", reason=bounded.error(error))
            await asyncio.sleep(AGAIN_SECONDS)
            self.answer(channel, message.tag, back=True)
        else:
            self._count({"messages_fanned_out": 1, **found})
            logs.info("fanned_out", **found)
            self.answer(channel, message.tag)

    async def _bury(self, channel: Channel, message: Message, reason: str) -> None:
        """Let a copy with the reason lie in tixd.dead; only then the message is done with."""
        properties, told = with_reason(message.properties, reason), False
        while not channel.ended.done():
            try:
                await self._sender.send(DEAD, message.body, properties)
            except errors.BrokerError as error:
                if not told:
                    logs.error("message_not_buried", reason=str(error))
                told = True
                await asyncio.sleep(AGAIN_SECONDS)
                if isinstance(error, errors.MessageRefused) and await self._put_behind(
                    channel, message, properties
                ):
                    return
            else:
                self._count({"messages_dead": 1})
                logs.warning("message_refused", queue=DEAD, reason=reason)
                self.answer(channel, message.tag)
                return

    async def _put_behind(self, channel: Channel, message: Message, properties: Properties) -> bool:
        """Let a message that cannot be buried wait behind the others; False where it cannot be."""
        try:
            await self._sender.send(JOBS, message.body, properties, exchange=JOBS)
        except errors.BrokerError:
            return False
        self.answer(channel, message.tag)
        return True


@dataclass(frozen=True, slots=True)
class RabbitDelivery:
    """A job of a RabbitQueue in somebody's hands."""

    job: ProcessInstallation
    task: InstallationTask
    queue: RabbitQueue
    channel: Channel
    tag: int

    async def ack(self) -> None:
        """Acknowledge it."""
        self.queue.answer(self.channel, self.tag)

    async def requeue_last(self) -> None:
        """Store a successor, behind all that waits, then acknowledge it."""
        task = self.task
        try:
            await self.queue.jobs.put_path(task.path, task.user_id, task.installation_id)
        except Exception as error:  # noqa: BLE001 - it would end the role, and come again
            if not isinstance(error, errors.BrokerError):
                tasks.report(error, "sending of a job")
            await self.release()
        else:
            await self.ack()

    async def release(self) -> None:
        """Give it back to the queue, for whoever takes it first."""
        self.queue.answer(self.channel, self.tag, back=True)
