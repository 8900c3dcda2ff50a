"""The sink that publishes to a topic of Kafka; the only user of confluent_kafka, an extra.

A message is accepted once all in-sync replicas have it (acks=all, idempotent); it is delivered or
given up before the bundle's own deadline. One that is too large is refused before any is published.
A producer that has failed for good is replaced. librdkafka has threads of its own and calls back
only while it is polled, so it is polled as long as a bundle waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from tixd import errors, logs
from tixd.config.collector_settings import CollectorSettings, Format
from tixd.runtime import tasks
from tixd.sinks.base import OutboundMessage, too_large

#: Share of the bundle's time that a delivery may take.
DELIVERY_SHARE = 0.8

#: How often librdkafka is polled while a bundle waits.
POLL_SECONDS = 0.002

#: How often librdkafka is polled while none does.
IDLE_POLL_SECONDS = 1.0

#: How often the brokers are asked for the topic.
PROBE_SECONDS = 10.0

#: How often they are asked while they are away.
AWAY_PROBE_SECONDS = 1.0

#: How long they may take to answer.
PROBE_ANSWER_SECONDS = 2.0

#: Most bytes of a record beside key and value (headers of batch and record, format 2).
OVERHEAD_BYTES = 512

#: Codes of errors after which no producer publishes again, although they are not called fatal.
_FATAL = frozenset({KafkaError._FATAL, KafkaError._FENCED, KafkaError._STATE})  # noqa: SLF001

#: Messages produced before other tasks run.
SLICE = 100


class KafkaSink:
    """Publishes to the topic that the settings name."""

    name = "Kafka"

    def __init__(self, settings: CollectorSettings, extra: dict[str, Any] | None = None) -> None:
        """Take further properties of librdkafka as `extra`; raises ConfigError for a bad one."""
        self.format: Format = settings.kafka_format
        self.last_confirmed_at: float | None = None
        self.target = f"{settings.kafka_brokers}, topic {settings.kafka_topic}"
        self._topic = settings.kafka_topic
        self._brokers = settings.kafka_brokers
        self._largest_bytes = settings.kafka_max_message_bytes
        self._properties = {
            "bootstrap.servers": settings.kafka_brokers,
            "client.id": "tixd-collector",
            "acks": "all",
            "enable.idempotence": True,
            "delivery.timeout.ms": max(1, int(settings.timeout_seconds * DELIVERY_SHARE * 1000)),
            "message.max.bytes": max(1000, self._largest_bytes),
            "linger.ms": 0,
            "error_cb": self._on_error,
            "logger": logs.NULL_LOGGER,
            **(extra or {}),
        }
        self._away: str | None = "not connected to Kafka yet"
        self._failed: str | None = None
        self._replace_after = 0.0
        self._logged_state = ""
        self._producer = self._new_producer()
        self._undelivered: set[asyncio.Future[str | None]] = set()
        self._waiting = 0
        self._poll_now = asyncio.Event()
        self._probe_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._limiter = logs.RateLimiter()

    def _new_producer(self) -> Producer:
        try:
            return Producer(self._properties)
        except (KafkaException, ValueError) as error:
            raise errors.ConfigError(f"[kafka]: {_words(error)}") from None

    async def start(self) -> None:
        """Poll, and ask for the topic from time to time."""
        self._tasks = [
            tasks.start_loop(self._poll, "polling of Kafka"),
            tasks.start_loop(self._watch, "probing of Kafka"),
        ]

    async def stop(self) -> None:
        """End; drop what librdkafka holds, which is of bundles that were not accepted."""
        await tasks.end(*self._tasks)
        with contextlib.suppress(KafkaException):
            self._producer.purge()
            self._producer.poll(0)

    def unready_reason(self) -> str | None:
        """Return that the producer has failed, or that no broker can be reached."""
        return self._failed or self._away

    def retry_now(self) -> None:
        """Do nothing, because librdkafka looks for brokers all the time."""

    def check(self, messages: Sequence[OutboundMessage]) -> None:
        """Raise TooLargeForOutput where a message is larger than the topic takes."""
        for message in messages:
            size = len(message.body) + len(message.key.encode()) + OVERHEAD_BYTES
            if size > self._largest_bytes:
                limit = f"its headers included; kafka.maxMessage is {self._largest_bytes}"
                raise too_large(self.name, message, size, limit)

    async def publish(self, messages: Sequence[OutboundMessage]) -> None:
        """Produce all, then wait until all are delivered; raises Unavailable."""
        delivered: list[asyncio.Future[str | None]] = []
        self._waiting += 1
        self._poll_now.set()
        try:
            for number, message in enumerate(messages, 1):
                delivered.append(self._produce(message))
                if not number % SLICE:
                    await asyncio.sleep(0)
            failures = {failure for future in delivered if (failure := await future) is not None}
        finally:
            self._waiting -= 1
        if failures:
            self._probe_now.set()
            raise errors.Unavailable(f"{self.name}: {', '.join(sorted(failures))}")
        self._on_confirmed()

    def _produce(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        """Pass a message to librdkafka; the future gives the reason why it was not delivered."""
        delivered: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._undelivered.add(delivered)
        delivered.add_done_callback(self._undelivered.discard)
        headers: dict[str, str | bytes | None] = {
            "message_id": message.message_id,
            "content_type": message.content_type,
        }
        on_delivery = partial(self._on_delivery, delivered)
        try:
            self._producer.produce(
                self._topic, message.body, message.key, headers=headers, on_delivery=on_delivery
            )
        except (BufferError, KafkaException) as error:
            self._check_fatal(error.args[0])
            delivered.set_result(_words(error))
        return delivered

    def _on_delivery(
        self, delivered: asyncio.Future[str | None], error: KafkaError | None, _: Any
    ) -> None:
        self._check_fatal(error)
        if not delivered.done():
            delivered.set_result(_words(error) + _advice(error) if error else None)

    def _check_fatal(self, error: object) -> None:
        """Mark the producer as failed, which has lost its place in the sequence for good."""
        if isinstance(error, KafkaError) and (error.fatal() or error.code() in _FATAL):
            self._fail(_words(error))

    def _fail(self, reason: str) -> None:
        self._failed = self._failed or f"the producer has failed: {reason}"
        self._poll_now.set()

    def probe(self, seconds: float) -> str | None:
        """Return why the topic cannot be used, None where it can; block so long at most."""
        try:
            topic = self._producer.list_topics(self._topic, timeout=seconds).topics[self._topic]
        except KafkaException as error:
            return _words(error)
        return topic.error.str() if topic.error else None

    # --- background tasks -----------------------------------------------------------------------

    async def _poll(self) -> None:
        while True:
            try:
                self._producer.poll(0)
            except KafkaException as error:
                self._failed = None  # produce() may have failed before, and knows no cause
                self._fail(_words(error))
            if self._failed and time.monotonic() >= self._replace_after:
                self._replace()
            if self._waiting or self._failed:
                await asyncio.sleep(POLL_SECONDS)
                continue
            self._poll_now.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_POLL_SECONDS):
                    await self._poll_now.wait()

    def _replace(self) -> None:
        """Continue with a new producer; fail what the old one has not delivered."""
        failed = self._failed
        old = self._producer
        self._producer = self._new_producer()
        self._failed = None
        self._replace_after = time.monotonic() + AWAY_PROBE_SECONDS
        for delivered in list(self._undelivered):
            if not delivered.done():
                delivered.set_result(failed)
        self._away = failed
        self._logged_state = "replaced"
        now = time.monotonic()
        self._limiter.log(logs.warning, "kafka_producer_replaced", now=now, reason=failed)
        self._probe_now.set()
        # Its end waits for its threads, so the executor holds the last reference.
        asyncio.get_running_loop().run_in_executor(None, _purge, old)

    async def _watch(self) -> None:
        """Ask for the topic, in the executor, because librdkafka blocks."""
        loop = asyncio.get_running_loop()
        while True:
            reason = await loop.run_in_executor(None, self.probe, PROBE_ANSWER_SECONDS)
            if reason is None:
                self._on_confirmed()
            else:
                self._on_away(reason)
            await asyncio.sleep(AWAY_PROBE_SECONDS)
            if not self._away:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PROBE_SECONDS):
                        await self._probe_now.wait()
            self._probe_now.clear()

    def _on_error(self, error: KafkaError) -> None:
        self._check_fatal(error)
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - its name for users too
            self._on_away(error.str())

    def _on_away(self, reason: str) -> None:
        self._away = reason
        if self._logged_state != "away":
            self._logged_state = "away"
            logs.warning(
                "broker_disconnected", connection="Kafka", broker=self._brokers, reason=reason
            )

    def _on_confirmed(self) -> None:
        self._away = None
        self.last_confirmed_at = time.monotonic()
        if self._logged_state != "connected":
            self._logged_state = "connected"
            logs.info("broker_connected", connection="Kafka", broker=self._brokers)


def _purge(producer: Producer) -> None:
    """Drop what a failed producer holds, so that its end is quick."""
    with contextlib.suppress(KafkaException):
        producer.purge()


def _advice(error: KafkaError) -> str:
    """Say what to do about a batch that the topic does not take, although each record fits."""
    if error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
        return ""
    return ": lower kafka.maxMessage to the topic's max.message.bytes"


def _words(error: object) -> str:
    """Return what Kafka says, without its codes."""
    inner = error.args[0] if isinstance(error, Exception) and error.args else error
    return inner.str() if isinstance(inner, KafkaError) else str(inner)
