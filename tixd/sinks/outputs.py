"""All outputs together: a bundle is accepted once every one of them has every record.

In: records. Out: nothing, or NotAccepted. Rules: all are seen to be ready before any is published
to; what can never fit is refused before any is published to; all publish at the same time, with
one deadline; an answer is given only when all have ended, well or not. A large bundle is rendered
and published in parts, so that its messages are never in memory all at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from tixd import errors, tasks
from tixd.collector.formats import render
from tixd.collector.record import Record
from tixd.sinks.contract import Outgoing, Sink

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

#: Records rendered before others have their turn in the loop.
SLICE = 100


class Outputs:
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
            if (reason := sink.not_ready() or _silence(sink.confirmed))
        )

    def check_ready(self) -> None:
        """Raises NotAccepted where a sink is away; it then looks at once whether it is back."""
        away = [(sink, reason) for sink in self.sinks if (reason := sink.not_ready())]
        for sink, _ in away:
            sink.hurry()
        if away:
            raise errors.NotAccepted("; ".join(f"{sink.name}: {reason}" for sink, reason in away))

    async def publish(self, records: Sequence[Record]) -> None:
        """Return once every sink has every record.

        Raises NotAccepted, or TooLargeForOutput where nothing was published.
        """
        parts, deadline = _parts(records), time.monotonic() + self._timeout_seconds
        if len(parts) > 1:
            for part in parts:
                await self._rendered(part)
        for part in parts:
            if len(part) < LARGE_RECORDS:
                await self._publish_part(part, deadline)
                continue
            await self._large_turn(deadline)
            try:
                await self._publish_part(part, deadline)
            finally:
                self._large.release()

    async def _publish_part(self, records: Sequence[Record], deadline: float) -> None:
        messages = await self._rendered(records)
        self.check_ready()
        await self._publish(messages, deadline - time.monotonic())

    async def _large_turn(self, deadline: float) -> None:
        """Wait until a large part may be published; raises NotAccepted at the deadline."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._large.acquire()
        except TimeoutError:
            raise self._late() from None

    def _late(self) -> errors.NotAccepted:
        return errors.NotAccepted(f"no confirm of all records within {self._timeout_seconds} s")

    def held_bytes(self, records: Sequence[Record]) -> int:
        """How much memory publishing these takes beside them."""
        largest = max((sum(r.held_bytes for r in part) for part in _parts(records)), default=0)
        return COPIES * largest * len(self.sinks)

    async def _rendered(self, records: Sequence[Record]) -> list[list[Outgoing]]:
        """The messages for each sink; raises TooLargeForOutput where it never takes one of them."""
        bundles = [await _rendered(records, sink) for sink in self.sinks]
        for sink, messages in zip(self.sinks, bundles, strict=True):
            sink.check(messages)
        return bundles

    async def _publish(self, bundles: Sequence[Sequence[Outgoing]], seconds: float) -> None:
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


async def _rendered(records: Sequence[Record], sink: Sink) -> list[Outgoing]:
    messages = []
    for number, record in enumerate(records, 1):
        body, content_type = render(record, sink.form)
        messages.append(Outgoing(record.identity, record.message_id, body, content_type))
        if not number % SLICE:
            await asyncio.sleep(0)
    return messages


def _silence(confirmed: float | None) -> str:
    """That a sink has not accepted anything lately; "" where it has."""
    if confirmed is None:
        return "nothing was accepted yet"
    seconds = time.monotonic() - confirmed
    return f"nothing was accepted for {seconds:.0f} s" if seconds > FRESH_SECONDS else ""
