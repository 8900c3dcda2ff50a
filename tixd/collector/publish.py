"""Publish the records of a bundle to all sinks: it is accepted once every sink has every record.

Rules: all sinks are ready, and every record fits into each, before any is published to; all publish
at the same time, with one deadline; an answer is given only when all have ended. A large bundle is
rendered and published in parts, so that its messages are never in memory all at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from tixd import bounded, errors
from tixd.collector.cooperative import Steps
from tixd.collector.record import Record, render
from tixd.config.collector_settings import Format
from tixd.runtime import tasks
from tixd.runtime.status import OutputView
from tixd.sinks.base import OutboundMessage, Sink

T = TypeVar("T")

#: A sink that has accepted nothing for longer than this is not ready.
FRESH_SECONDS = 30.0

#: Bytes of a bundle's records that are published at once.
PART_BYTES = 1024 * 1024

#: Number of a bundle's records that are published at once.
PART_RECORDS = 1000

#: How often the bytes of a record are held while it is published to a sink: its message, and what
#: of it waits to be sent.
COPIES = 3

#: Records from which a part is large.
LARGE_RECORDS = 500

#: How many large parts are published at once, so that small bundles pass.
LARGE_AT_ONCE = 4

#: Bytes of records rendered between two pauses: 2 ms of work; 10 ms as canonical XML, where they
#: are tags and nothing else.
STEP_BYTES: Mapping[Format, int] = {"json": 512 * 1024, "raw": 512 * 1024, "xml": 16 * 1024}

#: The messages of a part, for each sink in turn.
Rendered = list[list[OutboundMessage]]

#: Runs work in steps, with steps of other requests in between, and returns its result.
RunSteps = Callable[[Steps[Rendered]], Awaitable[Rendered]]


class SinkGroup:
    """The enabled sinks; `timeout_seconds` is how long they may take for a bundle."""

    def __init__(self, sinks: Sequence[Sink], timeout_seconds: float) -> None:
        self.sinks = tuple(sinks)
        self._timeout_seconds = timeout_seconds
        self._refusals: dict[str, tuple[float, str]] = {}
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def start(self) -> None:
        """Start all; where one raises CannotStart, stop those that have started."""
        started: list[Sink] = []
        try:
            for sink in self.sinks:
                await sink.start()
                started.append(sink)
        except errors.CannotStart:
            await asyncio.gather(*(sink.stop() for sink in started))
            raise

    async def stop(self) -> None:
        """Stop all."""
        await asyncio.gather(*(sink.stop() for sink in self.sinks))

    def unready_reasons(self) -> tuple[str, ...]:
        """Return, for /readyz, which sinks are not ready or have not accepted anything lately."""
        return tuple(f"{view.name}: {view.reason}" for view in self.views() if view.reason)

    def views(self) -> tuple[OutputView, ...]:
        """Return how each sink is now."""
        now, monotonic = time.time(), time.monotonic()
        return tuple(
            OutputView(
                sink.name,
                sink.target,
                sink.unready_reason() or _silence(sink.last_confirmed_at) or "",
                now - (monotonic - at) if (at := sink.last_confirmed_at) is not None else None,
                *self._refusals.get(sink.name, ()),
            )
            for sink in self.sinks
        )

    def check_ready(self) -> None:
        """Raise Unavailable where a sink is not ready; such a sink reconnects at once."""
        unready = [(sink, reason) for sink in self.sinks if (reason := sink.unready_reason())]
        for sink, _ in unready:
            sink.retry_now()
        if unready:
            raise errors.Unavailable(
                "; ".join(f"{sink.name}: {reason}" for sink, reason in unready)
            )

    def memory_bytes(self, records: Sequence[Record]) -> int:
        """Return how much memory publishing these records needs, besides themselves."""
        sizes = (sum(record.memory_bytes for record in part) for part in _parts(records))
        return COPIES * max(sizes, default=0) * len(self.sinks)

    async def publish(self, records: Sequence[Record], run: RunSteps) -> None:
        """Return once every sink has every record; `run` does the rendering.

        Raises Unavailable, or TooLargeForOutput where nothing was published.
        """
        parts = _parts(records)
        deadline = time.monotonic() + self._timeout_seconds
        if len(parts) > 1:  # check that every record fits before the first is published
            for part in parts:
                await self._in_time(run(self._rendering(part)), deadline)
        for part in parts:
            if len(part) < LARGE_RECORDS:
                await self._publish_part(part, deadline, run)
                continue
            await self._in_time(self._large.acquire(), deadline)
            try:
                await self._publish_part(part, deadline, run)
            finally:
                self._large.release()

    async def _publish_part(
        self, records: Sequence[Record], deadline: float, run: RunSteps
    ) -> None:
        messages = await self._in_time(run(self._rendering(records)), deadline)
        self.check_ready()
        await self._publish_rendered(messages, deadline - time.monotonic())

    async def _in_time(self, work: Awaitable[T], deadline: float) -> T:
        """Wait for the work; raises Unavailable at the deadline."""
        try:
            async with asyncio.timeout_at(deadline):
                return await work
        except TimeoutError:
            raise self._late() from None

    def _late(self) -> errors.Unavailable:
        return errors.Unavailable(f"no confirm of all records within {self._timeout_seconds} s")

    def _rendering(self, records: Sequence[Record]) -> Steps[Rendered]:
        """Make the messages for each sink; raises TooLargeForOutput where one never fits."""
        rendered: Rendered = []
        worked = 0
        for sink in self.sinks:
            messages: list[OutboundMessage] = []
            step_bytes = STEP_BYTES[sink.format]
            for record in records:
                body, content_type = render(record, sink.format)
                messages.append(
                    OutboundMessage(record.identity, record.message_id, body, content_type)
                )
                worked += record.memory_bytes
                if worked > step_bytes:
                    worked = 0
                    yield 0  # memory_bytes has counted it
            sink.check(messages)
            rendered.append(messages)
        return rendered

    async def _publish_rendered(self, rendered: Rendered, seconds: float) -> None:
        """Publish each sink's messages, all at the same time."""
        jobs = [
            tasks.start(sink.publish(messages), f"publishing to {sink.name}")
            for sink, messages in zip(self.sinks, rendered, strict=True)
        ]
        try:
            _, late = await asyncio.wait(jobs, timeout=seconds)
        finally:
            for job in jobs:
                job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        failures: list[BaseException] = []
        for sink, job in zip(self.sinks, jobs, strict=True):
            if error := self._late() if job in late else job.exception():
                self._refusals[sink.name] = time.time(), _reason(sink, error)
                failures.append(error)
        if late:
            raise self._late()
        never = [error for error in failures if isinstance(error, errors.BadRequest)]
        for error in never or failures:
            raise error


def _reason(sink: Sink, error: BaseException) -> str:
    """Return why a sink did not take a bundle, without its name."""
    words = error.detail if isinstance(error, errors.TixdError) else bounded.error(error)
    return words.removeprefix(f"{sink.name}: ")


def _parts(records: Sequence[Record]) -> list[Sequence[Record]]:
    """Split the records into parts that are published at once; no records are one part."""
    parts, start, size = [], 0, 0
    for number, record in enumerate(records):
        if number > start and (size > PART_BYTES or number - start == PART_RECORDS):
            parts.append(records[start:number])
            start, size = number, 0
        size += record.memory_bytes
    return [*parts, records[start:]]


def _silence(last_confirmed_at: float | None) -> str | None:
    """Return why a silent sink is not ready; None where it accepted something lately."""
    if last_confirmed_at is None:
        return "nothing was accepted yet"
    seconds = time.monotonic() - last_confirmed_at
    return f"nothing was accepted for {seconds:.0f} s" if seconds > FRESH_SECONDS else None
