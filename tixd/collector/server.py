"""The collector's HTTP: what is answered under which path.

In: aiohttp's requests. Out: answers, one log line for each servlet request. Rules: a servlet
request that is not answered 200 is repeated by its sender, so 200 is said only by `receive.py`;
what was not read to its end closes its connection; writing an answer has its own deadline.

Whose request it is: the address of the sender, past the proxies that are trusted.

In: the peer's address, headers, trusted networks. Out: an address for the log.
Rules: a header is believed only where a trusted proxy sent it: X-Real-IP first, then the right-most
entry of X-Forwarded-For that is no trusted proxy itself; what is no address is not believed.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping, Sequence

import orjson
from aiohttp import web

from tixd import bounded, errors, logs
from tixd.collector import counts
from tixd.collector.admission import Admission, ClientGone
from tixd.collector.body import Reader
from tixd.collector.connections import Connections
from tixd.collector.cooperative import Scheduler
from tixd.collector.counts import Counts
from tixd.collector.publish import SinkGroup
from tixd.collector.receive import Receiver, RequestContext
from tixd.collector.record_parser import Limits
from tixd.config import values
from tixd.config.collector_settings import CollectorSettings
from tixd.runtime.http_server import (
    Handler,
    HttpServer,
    Listener,
    bound_or_refused,
    health_routes,
    plain_text,
    route,
    send,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(peer: str, headers: Mapping[str, str], trusted: Sequence[Network]) -> str:
    """The sender's address; the peer's where no trusted proxy tells of another.

    >>> loopback = (ipaddress.ip_network("127.0.0.0/8"),)
    >>> client_address("127.0.0.1", {"X-Forwarded-For": "6.6.6.6, 192.0.2.1, 127.0.0.2"}, loopback)
    '192.0.2.1'
    >>> client_address("192.0.2.9", {"X-Real-IP": "192.0.2.1"}, loopback)
    '192.0.2.9'
    """
    if not _is_trusted(peer, trusted):
        return peer
    if real := _bare(headers.get("X-Real-IP", "")):
        return real
    for entry in reversed(headers.get("X-Forwarded-For", "").split(",")):
        found = _bare(entry)
        if not found:
            return peer
        if not _is_trusted(found, trusted):
            return found
    return peer


def _is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in trusted)


def _bare(entry: str) -> str:
    """The address in an entry, without port and brackets; "" where there is none."""
    text = entry.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


#: Where senders post bundles.
SERVLET = "/gratia-servlets/rmi"

#: When a sender that was turned away is to come again, seconds.
RETRY_AFTER_SECONDS = 5

#: Status in the log and the metrics of a request whose sender has left.
_NOBODY = 0


#: How long a kept connection may wait for its next request.
IDLE_SECONDS = 75.0

#: Longest request line (a GET has the bundle in it), and longest header field, and how many.
LONGEST_LINE_BYTES, LONGEST_FIELD_BYTES, MOST_HEADERS = 1024 * 1024, 16 * 1024, 100

#: Most of what is wrong that a sender is told, characters.
ANSWER_CHARACTERS = 900

#: How long what a refused sender still sends is read and dropped, so that it sees the answer.
LINGER_SECONDS = 2.0


class Server:
    """Answers every path; `not_ready` says why the role cannot work."""

    def __init__(
        self,
        settings: CollectorSettings,
        outputs: SinkGroup,
        not_ready: Callable[[], tuple[str, ...]],
    ) -> None:
        self._settings, self._outputs, self._not_ready = settings, outputs, not_ready
        self.counts, self._trusted = Counts(), values.networks(settings.trusted_proxies)
        self._hand = Admission(settings.max_requests, settings.max_bytes_in_hand, time.monotonic)
        self._seconds = settings.timeout_seconds
        scheduler = Scheduler()
        self._reader = Reader(settings, scheduler)
        self._receiver = Receiver(outputs, _limits(settings), self._hand, self.counts, scheduler)
        self._connections = Connections(
            settings.max_connections, settings.timeout_seconds, self._hand
        )
        self.routes: dict[str, Handler] = {
            "GET /stats": self._stats,
            **health_routes(self._not_ready, self._metrics),
        }

    @property
    def in_hand(self) -> int:
        """How many bundles are worked on."""
        return self._hand.requests

    async def listen(self, address: str) -> Listener:
        """Answer on this address (host:port) from now on; raises CannotStart."""
        http = HttpServer(
            self.answer,
            self._connections,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=LONGEST_LINE_BYTES,
            max_field_size=LONGEST_FIELD_BYTES,
            max_headers=MOST_HEADERS,
            auto_decompress=False,
        )
        listener = Listener(http)
        await listener.start(await bound_or_refused(address))
        return listener

    async def watch(self) -> None:
        """Close connections that take too long, for ever."""
        await self._connections.watch()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The response to one request, written already."""
        with self._hand.share() as share:
            try:
                with self._connections.serving(request, share) as since:
                    if request.path != SERVLET:
                        return await self._look(request)
                    return await self._serve(request, RequestContext(share, since + self._seconds))
            except ClientGone:
                return web.Response()

    async def _look(self, request: web.BaseRequest) -> web.StreamResponse:
        with self._connections.at_work(request.protocol):
            return await send(request, await route(request, self.routes))

    # --- the servlet -----------------------------------------------------------------------------

    async def _serve(self, request: web.BaseRequest, visit: RequestContext) -> web.StreamResponse:
        """Take a bundle, answer, and tell of it."""
        begun = time.monotonic()
        said = await self._servlet(request, visit)
        visit.share.release()
        response = web.Response() if said is None else await send(request, said)
        code = _NOBODY if said is None else said.status
        self.counts.answered(code, time.monotonic() - begun)
        self._log(request, visit, said, time.monotonic() - begun)
        return response

    async def _servlet(
        self, request: web.BaseRequest, visit: RequestContext
    ) -> web.Response | None:
        """What a sender is told; None where it has left."""
        if request.method not in ("GET", "POST"):
            return plain_text("only GET and POST", 405, Allow="GET, POST")
        try:
            return plain_text(await self._take(request, visit))
        except ClientGone:
            visit.problem = "the sender has left"
            return None
        except errors.BadRequest as error:
            return plain_text(bounded.text(error.answer, ANSWER_CHARACTERS), error.status)
        except errors.Unavailable as error:
            visit.problem = error.detail
            return plain_text(error.answer, error.status, Retry_After=str(RETRY_AFTER_SECONDS))
        except Exception as error:  # noqa: BLE001 - whatever it is, the sender is to repeat it
            logs.error("request_failed", reason=f"{type(error).__name__}: {error}")
            visit.problem = "unexpected"
            return plain_text("Internal server error", 500)

    async def _take(self, request: web.BaseRequest, visit: RequestContext) -> str:
        """Read a request and have it received."""
        visit.share.take(_head_bytes(request))
        parameters = await self._reader.parameters(request, visit.share, visit.deadline)
        with self._connections.at_work(request.protocol):
            return await self._receiver.receive(parameters, visit)

    def _log(
        self,
        request: web.BaseRequest,
        visit: RequestContext,
        said: web.Response | None,
        seconds: float,
    ) -> None:
        """One line per request; logs.py escapes what came from outside."""
        peer = (request.transport and request.transport.get_extra_info("peername")) or ("",)
        logs.info(
            "request",
            address=client_address(request.remote or str(peer[0]), request.headers, self._trusted),
            length=request.content_length or 0,
            agent=request.headers.get("User-Agent", ""),
            path=request.path,
            **{"from": visit.sender},
            **dict(visit.records),
            response="" if said is None else said.text,
            **({"reason": visit.problem} if visit.problem else {}),
            code=_NOBODY if said is None else said.status,
            seconds=round(seconds, 4),
        )

    # --- everything else -------------------------------------------------------------------------

    async def _stats(self, _: web.BaseRequest) -> web.Response:
        told = orjson.dumps(self.counts.stats())
        return web.Response(body=told, content_type="application/json")

    def _metrics(self) -> bytes:
        ready = not self._not_ready()
        return counts.metrics(self.counts, self._hand, self._outputs, is_ready=ready)


def _head_bytes(request: web.BaseRequest) -> int:
    """How long a request's head is."""
    fields = sum(len(name) + len(field) for name, field in request.raw_headers)
    return len(request.raw_path) + fields


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
