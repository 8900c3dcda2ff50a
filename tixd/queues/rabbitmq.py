"""The queue of many hosts: RabbitMQ's `celery`, shared with Celery workers.

A message is acknowledged when its job is done, its successor stored, its installations sent, or its
copy stored in tixd.dead; until then it returns to the queue whenever its channel ends. Consuming
has a separate connection: while the broker is short of memory or disk it stops reading from one
that publishes, and acknowledgements must still get through.
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
from tixd.queues.celery_message import InstallationTask, PathMapping, ScanTask, decode
from tixd.queues.publisher import JOBS, JobPublisher, declare
from tixd.runtime import tasks

#: The dead-letter queue: messages that are not tasks for tixd, each with the reason.
DEAD = "tixd.dead"

#: The header that holds the reason.
REASON_HEADER = "tixd-reason"

#: Headers that are longer as JSON are left out: on the wire they can have five times as many, and
#: all headers and the reason must fit one frame of 128 KiB.
MAX_HEADERS_BYTES = 16_384

#: With these RabbitMQ would route the copy to further queues, even to its original one.
_ROUTING_HEADERS = ("CC", "BCC")

#: With nothing unanswered and no delivery for this time, check whether the queue is empty.
SILENCE_SECONDS = 20.0

#: Pause before another try of what the broker or the volume refused.
RETRY_SECONDS = 5.0

#: Scans the reports folder, sends a job for each installation that is due, and counts them.
FanOut = Callable[[], Awaitable[Mapping[str, int]]]


class RabbitQueue:
    """A JobSource: one host's consumer of the queue. `jobs` publishes successors and scans."""

    def __init__(
        self,
        endpoint: Endpoint,
        jobs: JobPublisher,
        paths: PathMapping,
        prefetch: int,
        fan_out: FanOut,
        count: Callable[[Mapping[str, int]], object],
    ) -> None:
        """prefetch: how many messages may be here unanswered."""
        self.link = SupervisedConnection(endpoint, "jobs in", self._on_connected)
        self.jobs = jobs
        self._paths = paths
        self._prefetch = prefetch
        self._fan_out = fan_out
        self._count = count
        self._waiting: asyncio.Queue[RabbitDelivery] = asyncio.Queue()
        self._unanswered: set[tuple[Channel, int]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_delivery = self._last_message = time.monotonic()
        self._consumer: tuple[Channel, str] | None = None
        self._stopped = False

    @property
    def waiting(self) -> int:
        """How many jobs of this host wait for a worker."""
        return self._waiting.qsize()

    @property
    def open(self) -> int:
        """How many messages are here unanswered."""
        return len(self._unanswered)

    @property
    def idle_seconds(self) -> float:
        """For how long nothing was delivered, and nothing is here unanswered."""
        return 0.0 if self._unanswered else time.monotonic() - self._last_message

    @property
    def outage(self) -> str | None:
        """Why nothing is delivered; None where it is."""
        return self.link.outage

    async def take(self) -> RabbitDelivery:
        """Wait for the next job."""
        return await self._waiting.get()

    async def stop(self) -> None:
        """Consume no more; release the waiting jobs, while workers finish theirs."""
        self._stopped = True
        consumer = self._consumer
        self._consumer = None
        if consumer:
            channel, tag = consumer
            try:
                await channel.cancel(tag)
            except errors.BrokerError:
                return  # then the broker has requeued everything
        while not self._waiting.empty():
            await self._waiting.get_nowait().release()

    async def close(self) -> None:
        """Stop, and cancel background tasks; unanswered messages return to the queue."""
        await self.stop()
        await tasks.end(*self._tasks)

    # --- the consumer ----------------------------------------------------------------------------

    async def _on_connected(self, connection: Connection) -> None:
        """Consume until the channel ends, or the broker seems to have forgotten the consumer."""
        await declare(connection, JOBS, JOBS)
        channel = await connection.channel()
        if not self._stopped:
            on_message = partial(self._on_message, channel)
            self._consumer = channel, await channel.consume(JOBS, self._prefetch, on_message)
        self._last_delivery = time.monotonic()
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
            self._unanswered.clear()

    def _is_silent(self) -> bool:
        return time.monotonic() - self._last_delivery >= SILENCE_SECONDS

    async def _check_silence(self, connection: Connection) -> None:
        """Raise BrokerUnavailable if messages wait in the broker and it delivers none."""
        if self._unanswered or self._stopped or not self._is_silent():
            return
        channel = await connection.channel()
        waiting = (await channel.declare_queue(JOBS, passive=True)).messages
        await channel.close()
        if waiting and self._is_silent():
            raise errors.BrokerUnavailable(f"it delivers nothing, and {waiting} messages wait")

    def _on_message(self, channel: Channel, message: Message) -> None:
        self._last_delivery = self._last_message = time.monotonic()
        self._unanswered.add((channel, message.tag))
        try:
            self._route(channel, message)
        except errors.BadTask as error:
            self._start(self._dead_letter(channel, message, error.detail))
        except Exception as error:  # noqa: BLE001 - it would end the connection, again and again
            tasks.report(error, "reading of a message")
            reason = f"unexpected {type(error).__name__}"
            self._start(self._dead_letter(channel, message, reason))

    def _route(self, channel: Channel, message: Message) -> None:
        """Queue a job, begin a scan, or drop what has expired; raises BadTask."""
        task = decode(message.body, message.properties)
        if task.expires is not None and task.expires < time.time():
            self._count({"messages_expired": 1})
            self.ack(channel, message.tag)
        elif isinstance(task, ScanTask):
            self._paths.check_base(task)
            self._start(self._scan(channel, message))
        else:
            path = self._paths.translate(task)
            job = ProcessInstallation(path, task.user_id, task.installation_id)
            self._waiting.put_nowait(RabbitDelivery(job, task, self, channel, message.tag))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = tasks.start(work, "answering of a message")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def ack(self, channel: Channel, tag: int) -> None:
        """Acknowledge a message."""
        self._unanswered.discard((channel, tag))
        self._last_message = time.monotonic()
        channel.ack(tag)

    def release(self, channel: Channel, tag: int) -> None:
        """Return a message to the queue."""
        self._unanswered.discard((channel, tag))
        channel.nack(tag)

    # --- messages that no worker gets ------------------------------------------------------------

    async def _scan(self, channel: Channel, message: Message) -> None:
        """Send a job for each installation that is due; acknowledge when all are stored."""
        try:
            counts = await self._fan_out()
        except Exception as error:  # noqa: BLE001 - a message without an answer holds up others
            if not isinstance(error, errors.CannotStart | errors.BrokerError):
                tasks.report(error, "scanning for a message")
            logs.error("fan_out_failed", reason=bounded.error(error))
            await asyncio.sleep(RETRY_SECONDS)
            self.release(channel, message.tag)
        else:
            self._count({"messages_fanned_out": 1, **counts})
            logs.info("fanned_out", **counts)
            self.ack(channel, message.tag)

    async def _dead_letter(self, channel: Channel, message: Message, reason: str) -> None:
        """Store a copy with the reason in tixd.dead, then acknowledge the message."""
        properties = _with_reason(message.properties, reason)
        logged = False
        while not channel.ended.done():
            try:
                await self.jobs.publisher.publish(DEAD, message.body, properties)
            except errors.BrokerError as error:
                if not logged:
                    logs.error("dead_letter_failed", reason=str(error))
                logged = True
                await asyncio.sleep(RETRY_SECONDS)
                if isinstance(error, errors.MessageRefused) and await self._requeue_last(
                    channel, message, properties
                ):
                    return
            else:
                self._count({"messages_dead": 1})
                logs.warning("message_dead_lettered", queue=DEAD, reason=reason)
                self.ack(channel, message.tag)
                return

    async def _requeue_last(
        self, channel: Channel, message: Message, properties: Properties
    ) -> bool:
        """Put a message that tixd.dead refuses behind the others; return whether that worked."""
        try:
            await self.jobs.publisher.publish(JOBS, message.body, properties, exchange=JOBS)
        except errors.BrokerError:
            return False
        self.ack(channel, message.tag)
        return True


@dataclass(frozen=True, slots=True)
class RabbitDelivery:
    """A job of a RabbitQueue that is in progress."""

    job: ProcessInstallation
    task: InstallationTask
    queue: RabbitQueue
    channel: Channel
    tag: int

    async def ack(self) -> None:
        """Acknowledge it."""
        self.queue.ack(self.channel, self.tag)

    async def requeue_last(self) -> None:
        """Store a successor, behind all that waits, then acknowledge it."""
        try:
            await self.queue.jobs.send(self.task)
        except Exception as error:  # noqa: BLE001 - it would end the role, again and again
            if not isinstance(error, errors.BrokerError):
                tasks.report(error, "sending of a job")
            await self.release()
        else:
            await self.ack()

    async def release(self) -> None:
        """Return it to the queue, for any consumer."""
        self.queue.release(self.channel, self.tag)


def _with_reason(properties: Properties, reason: str) -> Properties:
    """Make the properties of the copy: persistent, without an expiry, and with the reason."""
    headers = {**_harmless(properties.headers), REASON_HEADER: reason}
    return replace(properties, headers=headers, expiration="", persistent=True)


def _harmless(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the headers that route; drop all where they are too long or too deep."""
    kept = {name: value for name, value in headers.items() if name not in _ROUTING_HEADERS}
    try:
        length = len(orjson.dumps(kept, default=repr))
    except TypeError:  # nested too deep to mean anything, or a name that is not a text
        return {}
    return kept if length <= MAX_HEADERS_BYTES else {}
