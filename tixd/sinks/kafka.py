"""The sink that publishes to a topic of Kafka; the only user of confluent_kafka, an extra.

In: messages. Out: records that all in-sync replicas have (acks=all, idempotent). Rules: a message
is delivered, or given up, before the bundle's own deadline; one that is too large is refused
before any is published; a producer that has failed for good is replaced; librdkafka has threads of
its own and calls back only while it is polled, which is done as long as somebody waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from tixd import errors, logs
from tixd.config.collector_settings import CollectorSettings, Format
from tixd.runtime import tasks
from tixd.sinks.base import OutboundMessage, too_large

#: The part of the bundle's time that a delivery may take.
DELIVERY_SHARE = 0.8

#: How often librdkafka is polled while somebody waits, and while nobody does.
POLL_SECONDS, IDLE_POLL_SECONDS = 0.002, 1.0

#: How often the brokers are asked for the topic, also when they are away; how long they may take.
PROBE_SECONDS, AWAY_PROBE_SECONDS, PROBE_ANSWER_SECONDS = 10.0, 1.0, 2.0

#: What a record costs beside key and value, at most (headers of batch and record, format 2).
OVERHEAD_BYTES = 512

#: Codes of errors after which no producer publishes again, although they are not called fatal.
_FATAL = frozenset({KafkaError._FATAL, KafkaError._FENCED, KafkaError._STATE})  # noqa: SLF001

#: Messages produced before others have their turn in the loop.
SLICE = 100

#: librdkafka writes into this what it thinks of each try; the log has one line per change of state.
_UNHEARD = logging.Logger("unheard", logging.CRITICAL + 1)


class KafkaSink:
    """Publishes to the topic that the settings name."""

    name = "Kafka"

    def __init__(self, settings: CollectorSettings, extra: dict[str, Any] | None = None) -> None:
        """`extra`: further properties of librdkafka. Raises ConfigError where one is refused."""
        self.format: Format = settings.kafka_format
        self.last_confirmed_at: float | None = None
        self._topic, self._brokers = settings.kafka_topic, settings.kafka_brokers
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
            "logger": _UNHEARD,
            **(extra or {}),
        }
        self._away = "not connected to Kafka yet"
        self._told = ""
        self._failed, self._replace_after = "", 0.0
        self._producer = self._new_producer()
        self._undelivered: set[asyncio.Future[str]] = set()
        self._waiting = 0
        self._somebody_waits, self._probe_now = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._limiter = logs.RateLimiter()

    def _new_producer(self) -> Producer:
        try:
            return Producer(self._properties)
        except (KafkaException, ValueError) as error:
            raise errors.ConfigError(f"[kafka]: {_words(error)}") from None

    async def start(self) -> None:
        """Poll, and look again and again whether the topic is there."""
        self._tasks = [
            tasks.start_loop(self._poll, "polling of Kafka"),
            tasks.start_loop(self._watch, "probing of Kafka"),
        ]

    async def stop(self) -> None:
        """End; what librdkafka still holds is of bundles that were not accepted."""
        await tasks.end(*self._tasks)
        with contextlib.suppress(KafkaException):
            self._producer.purge()
            self._producer.poll(0)

    def unready_reason(self) -> str | None:
        """Return that the producer has failed, or that no broker can be reached."""
        return self._failed or self._away or None

    def retry_now(self) -> None:
        """Do nothing, because librdkafka looks for brokers all the time."""

    def check(self, messages: Sequence[OutboundMessage]) -> None:
        """Raises TooLargeForOutput where a message is larger than the topic takes."""
        for message in messages:
            size = len(message.body) + len(message.key.encode()) + OVERHEAD_BYTES
            if size > self._largest_bytes:
                limit = f"its headers included; kafka.maxMessage is {self._largest_bytes}"
                raise too_large(self.name, message, size, limit)

    async def publish(self, messages: Sequence[OutboundMessage]) -> None:
        """Produce all, then wait until all are delivered; raises Unavailable."""
        delivered: list[asyncio.Future[str]] = []
        self._waiting += 1
        self._somebody_waits.set()
        try:
            for number, message in enumerate(messages, 1):
                delivered.append(self._produce(message))
                if not number % SLICE:
                    await asyncio.sleep(0)
            failures = {failure for future in delivered if (failure := await future)}
        finally:
            self._waiting -= 1
        if failures:
            self._probe_now.set()
            raise errors.Unavailable(f"{self.name}: {', '.join(sorted(failures))}")
        self._is_back()

    def _produce(self, message: OutboundMessage) -> asyncio.Future[str]:
        """Hand a message to librdkafka; the future says why it was not delivered, or ""."""
        delivered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._undelivered.add(delivered)
        delivered.add_done_callback(self._undelivered.discard)
        headers: dict[str, str | bytes | None] = {
            "message_id": message.message_id,
            "content_type": message.content_type,
        }
        heard = partial(self._heard, delivered)
        try:
            self._producer.produce(
                self._topic, message.body, message.key, headers=headers, on_delivery=heard
            )
        except (BufferError, KafkaException) as error:
            self._check_fatal(error.args[0])
            delivered.set_result(_words(error))
        return delivered

    def _heard(self, delivered: asyncio.Future[str], error: KafkaError | None, _: Any) -> None:
        self._check_fatal(error)
        if not delivered.done():
            delivered.set_result(_words(error) + _advice(error) if error else "")

    def _check_fatal(self, error: object) -> None:
        """Note that the producer can never publish again: it has lost its place in the sequence."""
        if isinstance(error, KafkaError) and (error.fatal() or error.code() in _FATAL):
            self._fail(_words(error))

    def _fail(self, reason: str) -> None:
        self._failed = self._failed or f"the producer has failed: {reason}"
        self._somebody_waits.set()

    def ask(self, seconds: float) -> str:
        """Why the topic cannot be had, "" where it can; waits so long at most."""
        try:
            topic = self._producer.list_topics(self._topic, timeout=seconds).topics[self._topic]
        except KafkaException as error:
            return _words(error)
        return topic.error.str() if topic.error else ""

    # --- what goes on all the time --------------------------------------------------------------

    async def _poll(self) -> None:
        while True:
            try:
                self._producer.poll(0)
            except KafkaException as error:
                self._failed = ""  # produce() may have failed before, and knows no cause
                self._fail(_words(error))
            if self._failed and time.monotonic() >= self._replace_after:
                self._replace()
            if self._waiting or self._failed:
                await asyncio.sleep(POLL_SECONDS)
                continue
            self._somebody_waits.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_POLL_SECONDS):
                    await self._somebody_waits.wait()

    def _replace(self) -> None:
        """Go on with a new producer; what the old one has not delivered counts as failed."""
        failed, old, self._producer = self._failed, self._producer, self._new_producer()
        self._failed, self._replace_after = "", time.monotonic() + AWAY_PROBE_SECONDS
        for delivered in list(self._undelivered):
            if not delivered.done():
                delivered.set_result(failed)
        self._away, self._told = failed, "replaced"
        now = time.monotonic()
        self._limiter.log(logs.warning, "kafka_producer_replaced", now=now, reason=failed)
        self._probe_now.set()
        # Its end waits for its threads; the executor holds the last reference.
        asyncio.get_running_loop().run_in_executor(None, _purge, old)

    async def _watch(self) -> None:
        """Ask for the topic; the executor waits for the answer, because librdkafka blocks."""
        loop = asyncio.get_running_loop()
        while True:
            reason = await loop.run_in_executor(None, self.ask, PROBE_ANSWER_SECONDS)
            self._is_away(reason) if reason else self._is_back()
            await asyncio.sleep(AWAY_PROBE_SECONDS)
            if not self._away:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PROBE_SECONDS):
                        await self._probe_now.wait()
            self._probe_now.clear()

    def _on_error(self, error: KafkaError) -> None:
        self._check_fatal(error)
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - its name for users too
            self._is_away(error.str())

    def _is_away(self, reason: str) -> None:
        self._away = reason
        if self._told != "away":
            self._told = "away"
            logs.warning(
                "broker_disconnected", connection="Kafka", broker=self._brokers, reason=reason
            )

    def _is_back(self) -> None:
        self._away, self.last_confirmed_at = "", time.monotonic()
        if self._told != "connected":
            self._told = "connected"
            logs.info("broker_connected", connection="Kafka", broker=self._brokers)


def _purge(producer: Producer) -> None:
    """Have a failed producer forget what it holds, so that its end is quick."""
    with contextlib.suppress(KafkaException):
        producer.purge()


def _advice(error: KafkaError) -> str:
    """What to do about a batch that is larger than the topic takes, although each record fits."""
    if error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
        return ""
    return ": lower kafka.maxMessage to the topic's max.message.bytes"


def _words(error: object) -> str:
    """What Kafka says, without its codes."""
    inner = error.args[0] if isinstance(error, Exception) and error.args else error
    return inner.str() if isinstance(inner, KafkaError) else str(inner)
