"""A bundle's way from a request to its answer. READ SECOND.

In: the query and the body of a servlet request. Out: "OK", once every record is with every output;
else BadRequest (the sender must correct it) or NotAccepted (it repeats it). Rules: the whole bundle
is read before anything is published; nothing is answered 200 that is not safe; a ping says only
that we are here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from tixd import errors, logs
from tixd.collector.bundle import Bundle, is_ping, reading
from tixd.collector.counts import Counts
from tixd.collector.form import parsing
from tixd.collector.hand import Hand
from tixd.collector.limits import Limits
from tixd.collector.steps import Steps
from tixd.sinks.outputs import Outputs

T = TypeVar("T")

#: What a request that was taken is answered.
OK = "OK"


@dataclass(slots=True)
class Visit:
    """What the log tells of a request: sender's name, records by type, what went wrong."""

    sender: str = ""
    records: Counter[str] = field(default_factory=Counter)
    problem: str = ""


class Receiver:
    """Takes bundles for these outputs."""

    def __init__(self, outputs: Outputs, limits: Limits, hand: Hand, counts: Counts) -> None:
        self._outputs, self._limits = outputs, limits
        self._hand, self._counts = hand, counts

    async def receive(self, query: bytes, body: bytes, visit: Visit) -> str:
        """Take one request; what it answers. `visit` is filled in as it becomes known."""
        given = {**await _in_turns(parsing(query)), **await _in_turns(parsing(body))}
        visit.sender = given.get("from", b"").decode(errors="replace")
        if is_ping(given):
            return OK
        self._outputs.check_ready()
        with self._hand.work():
            bundle = await self._read(given)
            visit.records = Counter(record.kind for record in bundle.records)
            await self._publish(bundle)
        return OK

    async def _read(self, given: Mapping[str, bytes]) -> Bundle:
        """The records of the bundle; others have their turn between the slices of a large one."""
        try:
            bundle = await _in_turns(reading(given, self._limits))
        except errors.BadRecord:
            self._counts.record_errors += 1
            raise
        if bundle.unknown:
            names = ", ".join(bundle.unknown_names)
            logs.warning("records_unknown", records=bundle.unknown, names=names)
        self._counts.record_errors += bundle.unknown
        return bundle

    async def _publish(self, bundle: Bundle) -> None:
        """Have every record with every output, and count it."""
        try:
            await self._outputs.publish(bundle.records)
        except (errors.BadRequest, errors.NotAccepted):
            self._counts.record_errors += len(bundle.records)
            raise
        self._counts.records += len(bundle.records)


async def _in_turns(work: Steps[T]) -> T:
    """The result of work in steps; others have their turn between."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)
