"""A bundle's way from its request to its answer. READ SECOND.

Rules: the whole bundle is read before anything is published; 200 is answered only once every sink
has every record, because a sender repeats what is answered otherwise; the answer to a ping says
only that the collector runs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from aiohttp import web

from tixd import bounded, errors, logs
from tixd.collector.admission import Admission, ClientGone, Reservation
from tixd.collector.body import RequestReader
from tixd.collector.bundle import Bundle, is_ping, reading
from tixd.collector.connections import Connection
from tixd.collector.cooperative import StepScheduler, interruptible
from tixd.collector.counts import Counts
from tixd.collector.publish import SinkGroup
from tixd.collector.record_parser import Limits
from tixd.config.collector_settings import CollectorSettings
from tixd.runtime.http_server import plain_text

#: Seconds after which a rejected sender may repeat its bundle.
RETRY_AFTER_SECONDS = 5

#: Longest text of an error in an answer, characters.
ANSWER_CHARACTERS = 900

#: How much of a sender's name is kept, bytes.
NAME_BYTES = 1024


@dataclass(slots=True)
class RequestContext:
    """One servlet request, and what is logged of it.

    deadline: until when it must be read, by the loop's clock; sender: the name that it gives
    itself; is_ping: it only asks whether the collector runs; records: records and handshakes by
    type; problem: what went wrong, if the answer does not say it.
    """

    request: web.BaseRequest
    connection: Connection
    reservation: Reservation
    deadline: float
    sender: str = ""
    is_ping: bool = False
    records: Counter[str] = field(default_factory=Counter)
    problem: str = ""


class Receiver:
    """Receives bundles for these sinks."""

    def __init__(
        self, settings: CollectorSettings, sinks: SinkGroup, admission: Admission, counts: Counts
    ) -> None:
        self._sinks = sinks
        self._limits = _limits(settings)
        self._admission = admission
        self._counts = counts
        self._scheduler = StepScheduler()
        self._reader = RequestReader(settings, self._scheduler)

    async def respond(self, context: RequestContext) -> web.Response | None:
        """Receive a bundle and return the answer; None: its sender disconnected."""
        if context.request.method not in ("GET", "POST"):
            return plain_text("only GET and POST", 405, Allow="GET, POST")
        try:
            await self._receive(context)
        except ClientGone:
            context.problem = "the sender disconnected"
            return None
        except errors.BadRequest as error:
            return plain_text(bounded.text(error.answer, ANSWER_CHARACTERS), error.status)
        except errors.Unavailable as error:
            context.problem = error.detail
            retry_after = str(RETRY_AFTER_SECONDS)
            return plain_text(error.answer, error.status, Retry_After=retry_after)
        except Exception as error:  # noqa: BLE001 - the sender repeats the bundle
            logs.error("request_failed", reason=f"{type(error).__name__}: {error}")
            context.problem = "unexpected"
            return plain_text("Internal server error", 500)
        return plain_text("OK")

    async def _receive(self, context: RequestContext) -> None:
        """Receive a bundle, step by step; behind each step stand the errors that it may end in.

        Where memory is short, the answer is 408, 413 or 503 at any step; where the sender leaves,
        there is none. All reasons of a 503: `errors.Unavailable`.
        """
        parameters = await self._read_request(context)  # 400, 408, 413, 415; 503: no memory
        with context.connection.working():
            context.is_ping = is_ping(parameters)  # 400
            if context.is_ping:
                return
            self._sinks.check_ready()  # 503: a sink is not ready
            with self._admission.admit(context.reservation):  # 503: no place
                # 400, 413; 503: too late, gave way to a small one, no memory
                bundle = await self._read_bundle(parameters, context)
                # 400: too large; 503: no memory, sink not ready, not confirmed
                await self._publish(bundle, context)

    async def _read_request(self, context: RequestContext) -> dict[str, bytes]:
        parameters = await self._reader.read(context.request, context.reservation, context.deadline)
        context.sender = parameters.get("from", b"")[:NAME_BYTES].decode(errors="replace")
        return parameters

    async def _read_bundle(self, parameters: dict[str, bytes], context: RequestContext) -> Bundle:
        """Read the records of the bundle; its text is dropped then."""
        try:
            async with interruptible(context.reservation, context.deadline):
                work = reading(parameters, self._limits)
                bundle = await self._scheduler.run(work, context.reservation)
        except errors.BadRecord:
            self._counts.record_errors += 1
            raise
        parameters.clear()
        context.reservation.resize(sum(record.memory_bytes for record in bundle.records))
        context.records = bundle.counts
        if bundle.unknown:
            names = ", ".join(bundle.unknown_names)
            logs.warning("records_unknown", records=bundle.unknown, names=names)
        self._counts.record_errors += bundle.unknown
        return bundle

    async def _publish(self, bundle: Bundle, context: RequestContext) -> None:
        """Publish every record to every sink, and count it."""
        context.reservation.add(self._sinks.memory_bytes(bundle.records))
        try:
            run = partial(self._scheduler.run, reservation=context.reservation)
            await self._sinks.publish(bundle.records, run)
        except (errors.BadRequest, errors.Unavailable):
            self._counts.record_errors += len(bundle.records)
            raise
        self._counts.records += len(bundle.records)


def _limits(settings: CollectorSettings) -> Limits:
    return Limits(
        token_bytes=settings.max_buffer_size,
        records=settings.max_records,
        depth=settings.max_depth,
        attributes=settings.max_attributes,
        tags=settings.max_tags,
        record_bytes=settings.max_record_bytes,
        namespace_bytes=settings.max_namespace_bytes,
        unknown_refused=settings.unknown_records == "reject",
    )
