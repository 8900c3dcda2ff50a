"""A bundle's way from a request to its answer. READ SECOND.

In: the parameters of a servlet request. Out: "OK", once every record is with every output;
else BadRequest (the sender must correct it) or Unavailable (it repeats it). Rules: the whole bundle
is read before anything is published; nothing is answered 200 that is not safe; a ping says only
that we are here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from tixd import errors, logs
from tixd.collector.admission import Admission, Reservation
from tixd.collector.bundle import Bundle, is_ping, reading
from tixd.collector.cooperative import Limited, Scheduler
from tixd.collector.counts import Counts
from tixd.collector.publish import SinkGroup
from tixd.collector.record_parser import Limits

#: What a request that was taken is answered.
OK = "OK"

#: How much of a sender's name is kept, bytes.
NAME_BYTES = 1024


@dataclass(slots=True)
class RequestContext:
    """A request: what it holds, until when (of the loop's clock) it must be read.

    And what the log tells of it: sender's name, records and handshakes by type, what went wrong.
    """

    share: Reservation
    deadline: float
    sender: str = ""
    records: Counter[str] = field(default_factory=Counter)
    problem: str = ""


class Receiver:
    """Takes bundles for these outputs."""

    def __init__(
        self,
        outputs: SinkGroup,
        limits: Limits,
        hand: Admission,
        counts: Counts,
        scheduler: Scheduler,
    ) -> None:
        self._outputs, self._limits = outputs, limits
        self._hand, self._counts, self._scheduler = hand, counts, scheduler

    async def receive(self, given: dict[str, bytes], visit: RequestContext) -> str:
        """Take one request; what it answers. `visit` is filled in as it becomes known."""
        visit.sender = given.get("from", b"")[:NAME_BYTES].decode(errors="replace")
        if is_ping(given):
            return OK
        self._outputs.check_ready()
        with self._hand.work(visit.share):
            bundle = await self._read(given, visit)
            visit.records = bundle.counts
            visit.share.take(self._outputs.held_bytes(bundle.records))
            await self._publish(bundle, visit.share)
        return OK

    async def _read(self, given: dict[str, bytes], visit: RequestContext) -> Bundle:
        """The records of the bundle, whose text is held no more then."""
        try:
            async with Limited(visit.share, visit.deadline):
                bundle = await self._scheduler.run(reading(given, self._limits), visit.share)
        except errors.BadRecord:
            self._counts.record_errors += 1
            raise
        given.clear()
        visit.share.hold(sum(record.held_bytes for record in bundle.records))
        if bundle.unknown:
            names = ", ".join(bundle.unknown_names)
            logs.warning("records_unknown", records=bundle.unknown, names=names)
        self._counts.record_errors += bundle.unknown
        return bundle

    async def _publish(self, bundle: Bundle, share: Reservation) -> None:
        """Have every record with every output, and count it."""
        try:
            run = partial(self._scheduler.run, share=share)
            await self._outputs.publish(bundle.records, run)
        except (errors.BadRequest, errors.Unavailable):
            self._counts.record_errors += len(bundle.records)
            raise
        self._counts.records += len(bundle.records)
