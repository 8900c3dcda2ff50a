"""All outputs together: a bundle is accepted once every one of them has every record.

In: records. Out: nothing, or Unavailable. Rules: all are seen to be ready before any is published
to; what can never fit is refused before any is published to; all publish at the same time, with
one deadline; an answer is given only when all have ended, well or not. A large bundle is rendered
and published in parts, so that its messages are never in memory all at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tixd import errors
from tixd.collector.record import Record, render
from tixd.collector.steps import Steps
from tixd.runtime import tasks
from tixd.sinks.base import OutboundMessage, Sink

T = TypeVar("T")

#: A sink that was last seen to accept something longer ago than this is not ready.
FRESH_SECONDS = 30.0

#: Records of a bundle that are published at once: bytes, and how many.
PART_BYTES, PART_RECORDS = 1024 * 1024, 1000

#: How often the bytes of a record are held while it is published to an output: its message, and
#: what of it waits to be sent.
COPIES = 3

#: Records from which a part is large, and how many of these are published at once: small bundles go
#: between.
LARGE_RECORDS, LARGE_AT_ONCE = 500, 4

#: Bytes of records rendered between two pauses: 10 ms of work where they are tags and nothing else.
STEP_BYTES = 16 * 1024

#: Does work in steps and waits for its result, with turns for others in between.
Run = Callable[[Steps[list[list[OutboundMessage]]]], Awaitable[list[list[OutboundMessage]]]]


async def in_turns(work: Steps[list[list[OutboundMessage]]]) -> list[list[OutboundMessage]]:
    """Do the work with a turn of the loop after each step."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: list[list[OutboundMessage]] = end.value
            return result
        await asyncio.sleep(0)


class SinkGroup:
    """The enabled sinks; `timeout_seconds` is how long they may take for a bundle."""

    def __init__(self, sinks: Sequence[Sink], timeout_seconds: float) -> None:
        self.sinks = tuple(sinks)
        self._timeout_seconds = timeout_seconds
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def start(self) -> None:
        """Start all; raises CannotStart, and has stopped those that had started then."""
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

    def not_ready(self) -> tuple[str, ...]:
        """Why /readyz says no: a sink is away, or was not seen to accept anything lately."""
        return tuple(
            f"{sink.name}: {reason}"
            for sink in self.sinks
            if (reason := sink.unready_reason() or _silence(sink.last_confirmed_at))
        )

    def check_ready(self) -> None:
        """Raises Unavailable where a sink is away; it then looks at once whether it is back."""
        away = [(sink, reason) for sink in self.sinks if (reason := sink.unready_reason())]
        for sink, _ in away:
            sink.retry_now()
        if away:
            raise errors.Unavailable("; ".join(f"{sink.name}: {reason}" for sink, reason in away))

    async def publish(self, records: Sequence[Record], run: Run = in_turns) -> None:
        """Return once every sink has every record; `run` does the work that it takes before.

        Raises Unavailable, or TooLargeForOutput where nothing was published.
        """
        parts, deadline = _parts(records), time.monotonic() + self._timeout_seconds
        if len(parts) > 1:
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

    async def _publish_part(self, records: Sequence[Record], deadline: float, run: Run) -> None:
        messages = await self._in_time(run(self._rendering(records)), deadline)
        self.check_ready()
        await self._publish(messages, deadline - time.monotonic())

    async def _in_time(self, work: Awaitable[T], deadline: float) -> T:
        """Wait for the work; raises Unavailable at the deadline."""
        try:
            async with asyncio.timeout_at(deadline):
                return await work
        except TimeoutError:
            raise self._late() from None

    def _late(self) -> errors.Unavailable:
        return errors.Unavailable(f"no confirm of all records within {self._timeout_seconds} s")

    def held_bytes(self, records: Sequence[Record]) -> int:
        """How much memory publishing these takes beside them."""
        largest = max((sum(r.held_bytes for r in part) for part in _parts(records)), default=0)
        return COPIES * largest * len(self.sinks)

    def _rendering(self, records: Sequence[Record]) -> Steps[list[list[OutboundMessage]]]:
        """The messages for each sink; raises TooLargeForOutput where it never takes one of them."""
        bundles, worked = [], 0
        for sink in self.sinks:
            messages: list[OutboundMessage] = []
            for record in records:
                body, content_type = render(record, sink.format)
                messages.append(
                    OutboundMessage(record.identity, record.message_id, body, content_type)
                )
                worked += record.held_bytes
                if worked > STEP_BYTES:
                    worked = 0
                    yield 0  # Outputs.held_bytes counts it
            sink.check(messages)
            bundles.append(messages)
        return bundles

    async def _publish(self, bundles: Sequence[Sequence[OutboundMessage]], seconds: float) -> None:
        """Have each sink publish its messages, all at the same time."""
        jobs = [
            tasks.start(sink.publish(messages), f"publishing to {sink.name}")
            for sink, messages in zip(self.sinks, bundles, strict=True)
        ]
        try:
            _, late = await asyncio.wait(jobs, timeout=seconds)
        finally:
            for job in jobs:
                job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        if late:
            raise self._late()
        failures = [error for job in jobs if (error := job.exception())]
        never = [error for error in failures if isinstance(error, errors.BadRequest)]
        for error in never or failures:
            raise error


def _parts(records: Sequence[Record]) -> list[Sequence[Record]]:
    """The records in parts that are published at once; of none one part, so that it is tried."""
    parts, start, size = [], 0, 0
    for number, record in enumerate(records):
        if number > start and (size > PART_BYTES or number - start == PART_RECORDS):
            parts.append(records[start:number])
            start, size = number, 0
        size += record.held_bytes
    return [*parts, records[start:]]


def _silence(confirmed: float | None) -> str:
    """That a sink has not accepted anything lately; "" where it has."""
    if confirmed is None:
        return "nothing was accepted yet"
    seconds = time.monotonic() - confirmed
    return f"nothing was accepted for {seconds:.0f} s" if seconds > FRESH_SECONDS else ""
