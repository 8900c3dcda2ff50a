"""The collector's HTTP server: what is answered under which path, and a log line for each bundle.

Rules: bundles go to receive.py; the answer is sent before its line is logged; all else is answered
from memory; a header that names the sender counts only if a trusted proxy sent it.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping, Sequence

import orjson
from aiohttp import web

from tixd import logs
from tixd.collector import counts
from tixd.collector.admission import Admission, ClientGone
from tixd.collector.connections import Connections
from tixd.collector.counts import Counts
from tixd.collector.outcomes import CLIENT_GONE, Outcome, Outcomes
from tixd.collector.publish import SinkGroup
from tixd.collector.receive import Receiver, RequestContext
from tixd.config import values
from tixd.config.collector_settings import CollectorSettings
from tixd.history.senders import SenderLog
from tixd.runtime.http_server import (
    Handler,
    HttpServer,
    Listener,
    bind_address,
    health_routes,
    route,
    send,
    serve,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Where senders post bundles.
SERVLET = "/gratia-servlets/rmi"

#: How long a kept connection may wait for its next request.
IDLE_SECONDS = 75.0

#: Longest request line, bytes: a GET has the bundle in it.
MAX_LINE_BYTES = 1024 * 1024

#: Longest header field, bytes.
MAX_FIELD_BYTES = 16 * 1024

#: Most header fields of a request.
MAX_FIELDS = 100

#: What to do where another process has the port, by reusePort.
_WHEN_TAKEN = {
    False: "; collectors can share it, if each has reusePort = true",
    True: ", by a process without reusePort or of another user",
}

#: How long what a refused sender still sends is read and dropped, so that it sees the answer.
LINGER_SECONDS = 2.0


class Server:
    """Answers every path."""

    def __init__(
        self,
        settings: CollectorSettings,
        sinks: SinkGroup,
        unready_reasons: Callable[[], tuple[str, ...]],
        senders: SenderLog | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`unready_reasons`: why the role cannot work; senders: where they are counted."""
        self._sinks = sinks
        self._unready_reasons = unready_reasons
        self._trusted = values.networks(settings.trusted_proxies)
        self._seconds = settings.timeout_seconds
        self._reuse_port = settings.reuse_port
        self._admission = Admission(
            settings.max_requests, settings.max_bytes_in_hand, time.monotonic
        )
        self._connections = Connections(
            settings.max_connections, settings.timeout_seconds, self._admission
        )
        self.counts = Counts()
        self.outcomes = Outcomes(senders)
        self._clock = clock
        self._receiver = Receiver(settings, sinks, self._admission, self.counts)
        self.routes: dict[str, Handler] = {
            "GET /stats": self._stats,
            **health_routes(unready_reasons, self._metrics),
        }

    @property
    def admitted_requests(self) -> int:
        """Return how many bundles are in progress."""
        return self._admission.admitted_requests

    async def listen(self, address: str) -> Listener:
        """Answer on this address (host:port) from now on; raises CannotStart."""
        http = HttpServer(
            self.answer,
            self._connections,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_FIELDS,
            auto_decompress=False,
        )
        listener = Listener(http)
        when_taken = _WHEN_TAKEN[self._reuse_port]
        shared = self._reuse_port
        await listener.start(await bind_address(address, when_taken=when_taken, shared=shared))
        return listener

    async def listen_for_admin(self, address: str) -> Listener:
        """Answer all but bundles on this address, whatever the senders do; raises CannotStart."""
        advice = ": adminAddress must be one that no other process has"
        return await serve(await bind_address(address, when_taken=advice), self.routes)

    async def watch(self) -> None:
        """Close connections that take too long, until cancelled."""
        await self._connections.watch()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the response to one request, which has been sent."""
        with self._admission.reserve() as reservation:
            try:
                with self._connections.serving(request, reservation) as connection:
                    if request.path == SERVLET:
                        deadline = connection.since + self._seconds
                        context = RequestContext(request, connection, reservation, deadline)
                        return await self._serve(context)
                    with connection.working():
                        return await send(request, await route(request, self.routes, SERVLET))
            except ClientGone:
                return web.Response()

    # --- bundles ---------------------------------------------------------------------------------

    async def _serve(self, context: RequestContext) -> web.Response:
        """Receive a bundle, answer, count and log it."""
        begun = time.monotonic()
        response = await self._receiver.respond(context)
        context.reservation.release()
        if response:
            await send(context.request, response)
        seconds = time.monotonic() - begun
        code = response.status if response else CLIENT_GONE
        self.counts.answered(code, seconds)
        answer = (response and response.text) or ""
        address = self._address(context.request)
        self._log(context, address, code, answer, seconds)
        self.outcomes.add(_outcome(context, address, code, answer), now=self._clock())
        return response or web.Response()

    def _address(self, request: web.BaseRequest) -> str:
        peer = (request.transport and request.transport.get_extra_info("peername")) or ("",)
        return client_address(request.remote or str(peer[0]), request.headers, self._trusted)

    def _log(
        self, context: RequestContext, address: str, code: int, answer: str, seconds: float
    ) -> None:
        """Log one line per request; logs.py escapes what came from outside."""
        request = context.request
        logs.info(
            "request",
            address=address,
            length=request.content_length or 0,
            agent=request.headers.get("User-Agent", ""),
            path=request.path,
            **{"from": context.sender},
            **dict(context.records),
            response=answer,
            **({"reason": context.problem} if context.problem else {}),
            code=code,
            seconds=round(seconds, 4),
        )

    # --- everything else -------------------------------------------------------------------------

    async def _stats(self, _: web.BaseRequest) -> web.Response:
        body = orjson.dumps(self.counts.stats())
        return web.Response(body=body, content_type="application/json")

    def _metrics(self) -> bytes:
        is_ready = not self._unready_reasons()
        return counts.metrics(self.counts, self._admission, self._sinks, is_ready=is_ready)


def _outcome(context: RequestContext, address: str, code: int, answer: str) -> Outcome:
    reason = "" if code == 200 else context.problem or answer
    return Outcome(context.sender, address, code, reason, context.records, context.is_ping)


# --- the address of a sender ---------------------------------------------------------------------


def client_address(peer: str, headers: Mapping[str, str], trusted: Sequence[Network]) -> str:
    """Return the sender's address; the peer's where no trusted proxy tells of another.

    X-Real-IP comes first, then the right-most entry of X-Forwarded-For that is not a trusted proxy
    itself; anything but an address is ignored.

    >>> loopback = (ipaddress.ip_network("127.0.0.0/8"),)
    >>> client_address("127.0.0.1", {"X-Forwarded-For": "6.6.6.6, 192.0.2.1, 127.0.0.2"}, loopback)
    '192.0.2.1'
    >>> client_address("192.0.2.9", {"X-Real-IP": "192.0.2.1"}, loopback)
    '192.0.2.9'
    """
    if not _is_trusted(peer, trusted):
        return peer
    if real := _bare_address(headers.get("X-Real-IP", "")):
        return real
    for entry in reversed(headers.get("X-Forwarded-For", "").split(",")):
        found = _bare_address(entry)
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


def _bare_address(entry: str) -> str:
    """Return the address in an entry, without port and brackets; "" where there is none."""
    text = entry.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
