"""The HTTP listener of every role, on TCP and on the control socket.

Rules: a request that was not read to its end closes its connection; a client that does not read its
answer in time is cut off; connections for short requests (`serve`) are few, live for seconds, and
the oldest makes room.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from types import ModuleType
from typing import Any, Protocol

import yarl
from aiohttp import web

from tixd import bounded, errors, logs
from tixd.runtime.metrics import CONTENT_TYPE

#: Answers a request.
Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]

#: Handlers by method and path, as "GET /metrics"; HEAD is GET without the body.
Routes = Mapping[str, Handler]

#: The route of what Prometheus reads.
METRICS = "GET /metrics"

#: The path of a route that answers every path without one of its own.
EVERY_OTHER = "*"

#: How long an answer may take to be written.
ANSWER_SECONDS = 10.0

#: How long a brief connection may be open, not counting the work for its requests.
CONNECTION_SECONDS = 10.0

#: How long a connection may wait for its next request.
IDLE_SECONDS = 5.0

#: Connections open at once; a further one closes the oldest.
MAX_CONNECTIONS = 32

#: Longest request line, and longest header field, of a short request.
MAX_LINE_BYTES = 2048

#: Header fields of a short request.
MAX_HEADERS = 32

#: Bytes read of a connection at once, which may wait in memory.
READ_BYTES = 64 * 1024

#: Fewest bytes read at once of a connection whose bytes take long to parse.
MIN_READ_BYTES = 1024

#: CPU seconds that parsing what is read at once may take: tiny chunks take 100 times as long as a
#: plain body, and all connections may be read in one turn of the loop.
PARSE_SECONDS = 0.0001

#: Connections accepted in one turn of the loop: each needs a descriptor before an old one closes.
TAKEN_AT_ONCE = 16

#: Connections that the kernel queues until they are accepted.
QUEUED_CONNECTIONS = 1024

#: Turns of the loop from accepting a connection until it is registered: two, and some to spare.
TURNS_UNTIL_KNOWN = 5

#: Errors of a host without IPv6, or without IPv4: its other addresses are enough.
_NO_SUCH_FAMILY = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def _uncache(module: ModuleType) -> None:
    """Replace the cached functions of a module by what they wrap."""
    for name, function in list(vars(module).items()):
        if hasattr(function, "cache_clear"):
            setattr(module, name, function.__wrapped__)


# yarl keeps the last 128 targets of requests in each of several caches, whatever their length: with
# request lines of 1 MiB that is 700 MB.
for _module in (yarl._parse, yarl._url):  # noqa: SLF001
    _uncache(_module)


def plain_text(words: str, status: int = 200, **headers: str) -> web.Response:
    """Return a response in plain text; `headers` have _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(text=words, status=status, headers=named)


def health_routes(unready: Callable[[], Sequence[str]], metrics: Callable[[], bytes]) -> Routes:
    """Return /healthz, /readyz and /metrics, which every role answers from memory.

    unready: why it cannot work; metrics: the text for Prometheus.
    """

    async def health(_: web.BaseRequest) -> web.Response:
        return plain_text("ok\n")

    async def readiness(_: web.BaseRequest) -> web.Response:
        reasons = unready()
        return plain_text("\n".join([*reasons, ""]), 503) if reasons else plain_text("ready\n")

    async def scrape(_: web.BaseRequest) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": CONTENT_TYPE})

    return {"GET /healthz": health, "GET /readyz": readiness, METRICS: scrape}


async def route(request: web.BaseRequest, routes: Routes, *others: str) -> web.Response:
    """Call the handler of the method and path; answer 404 or 405 where there is none.

    others: paths that are answered elsewhere; a 404 names them too.
    """
    method = "GET" if request.method == "HEAD" else request.method
    known = [name.split(" ") for name in routes]
    wanted = request.path if any(path == request.path for _, path in known) else EVERY_OTHER
    handler = routes.get(f"{method} {wanted}")
    if handler:
        return await handler(request)
    methods = [method for method, path in known if path == request.path]
    if not methods:
        paths = [path for _, path in known if path != EVERY_OTHER]
        here = ", ".join(dict.fromkeys([*others, *paths]))
        return plain_text(f"not found; here are {here}\n", 404)
    methods += ["HEAD"] * ("GET" in methods)
    return plain_text(f"only {' and '.join(methods)}\n", 405, Allow=", ".join(methods))


async def send(request: web.BaseRequest, response: web.Response) -> web.Response:
    """Write the response now; cut off a client that does not read it in time."""
    response.headers["Server"] = "tixd"
    response.headers.setdefault("Cache-Control", "no-store")
    if not request.content.at_eof():
        response.force_close()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await response.prepare(request)
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        if request.transport:
            request.transport.abort()
    return response


async def serve(sockets: list[socket.socket], routes: Routes) -> Listener:
    """Answer short requests on these bound sockets."""
    connections = BriefConnections()

    async def answer(request: web.BaseRequest) -> web.Response:
        with connections.at_work(request.protocol):
            response = await route(request, routes)
        return await send(request, response)

    http = HttpServer(
        answer,
        connections,
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=0,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_LINE_BYTES,
        max_headers=MAX_HEADERS,
    )
    listener = Listener(http)
    await listener.start(sockets)
    return listener


class Watch(Protocol):
    """Follows the connections of a server."""

    def admit(self, protocol: web.RequestHandler) -> None:
        """Take note of a new one, which has no transport yet."""

    def received(self, protocol: web.RequestHandler, size: int) -> None:
        """Take note of bytes that have arrived."""

    def lost(self, protocol: web.RequestHandler) -> None:
        """Take note of its end."""


class HttpServer(web.Server):
    """aiohttp's server, whose connections are watched."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        watch: Watch,
        **options: Any,
    ) -> None:
        """`options`: those of aiohttp's RequestHandler."""
        super().__init__(handler)
        self._watch = watch
        self._failures = logs.RateLimiter()
        self._options = {**options, "access_log": None, "logger": logs.NULL_LOGGER}

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        protocol = _Connection(self, loop=asyncio.get_running_loop(), **self._options)
        protocol.watch = self._watch
        protocol.failures = self._failures
        self._watch.admit(protocol)
        return protocol


class _Connection(web.RequestHandler):
    """A connection that is followed, and whose error pages repeat little of what was sent."""

    watch: Watch
    failures: logs.RateLimiter

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.max_size = READ_BYTES  # type: ignore[attr-defined] # asyncio's, else 256 KiB
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not data:  # aiohttp continues with what it has kept, maybe once for each chunk
            super().data_received(data)
            return
        begun = time.thread_time()
        super().data_received(data)
        self._adapt_reading(len(data), time.thread_time() - begun)
        self.watch.received(self, len(data))

    def _adapt_reading(self, size: int, seconds: float) -> None:
        """Read less at once where parsing takes long, and more again where it does not."""
        transport: Any = self.transport
        if transport is None:
            return
        if seconds > PARSE_SECONDS:
            fitting = int(size * PARSE_SECONDS / seconds)
            transport.max_size = max(MIN_READ_BYTES, fitting)
        elif transport.max_size < READ_BYTES:
            transport.max_size = min(2 * transport.max_size, READ_BYTES)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.watch.lost(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status == HTTPStatus.INTERNAL_SERVER_ERROR and exc:  # aiohttp's own log has long texts
            now = time.monotonic()
            self.failures.log(logs.failure, "http_request_failed", now=now, problem=exc)
        shown = bounded.text(message) if message else None
        return super().handle_error(request, status, exc, shown)


def has_request(protocol: web.RequestHandler) -> bool:
    """Return whether a whole head has arrived whose request has not been answered."""
    return bool(protocol._messages) or protocol._current_request is not None  # noqa: SLF001


def cut(protocol: web.RequestHandler) -> None:
    """Close a connection at once, without waiting for its client to read."""
    transport = protocol.transport
    protocol.force_close()
    if transport:
        transport.abort()


class BriefConnections:
    """Few connections, each for seconds; the oldest idle one makes room."""

    def __init__(self) -> None:
        self._timers: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._at_work: set[web.RequestHandler] = set()

    def admit(self, protocol: web.RequestHandler) -> None:
        """Limit the time of a new connection, and make room for it."""
        loop = asyncio.get_running_loop()
        if len(self._timers) >= MAX_CONNECTIONS:
            idle = (one for one in self._timers if one not in self._at_work)
            if oldest := next(idle, None):
                self._end(oldest)
        self._timers[protocol] = loop.call_later(CONNECTION_SECONDS, self._end, protocol)

    def received(self, protocol: web.RequestHandler, size: int) -> None:
        """Do nothing: requests are short, their heads limited."""

    def lost(self, protocol: web.RequestHandler) -> None:
        """Forget a connection that has ended."""
        if timer := self._timers.pop(protocol, None):
            timer.cancel()

    @contextlib.contextmanager
    def at_work(self, protocol: web.RequestHandler) -> Iterator[None]:
        """Keep the connection open while the block runs, even beyond its time."""
        self._at_work.add(protocol)
        try:
            yield
        finally:
            self._at_work.discard(protocol)
            loop, timer = asyncio.get_running_loop(), self._timers.get(protocol)
            if timer and timer.when() <= loop.time():
                self._timers[protocol] = loop.call_later(CONNECTION_SECONDS, self._end, protocol)

    def _end(self, protocol: web.RequestHandler) -> None:
        if protocol not in self._at_work:
            self.lost(protocol)
            cut(protocol)


class Listener:
    """Sockets with an HTTP server; stop it before the loop ends."""

    def __init__(self, http: web.Server) -> None:
        self._http = http
        self._servers: list[asyncio.Server] = []
        self._sockets: list[socket.socket] = []
        self.addresses: tuple[tuple[str, int], ...] = ()

    async def start(self, sockets: list[socket.socket]) -> None:
        """Take connections on these bound sockets; raises OSError where one was taken meanwhile."""
        loop = asyncio.get_running_loop()
        tcp = [sock for sock in sockets if sock.family != socket.AF_UNIX]
        self.addresses = tuple(sock.getsockname()[:2] for sock in tcp)
        for sock in sockets:
            taken = TAKEN_AT_ONCE  # asyncio gives the kernel the same number
            server = await loop.create_server(self._http, sock=sock, backlog=taken)
            sock.listen(QUEUED_CONNECTIONS)
            self._servers.append(server)
        self._sockets = sockets

    async def move(self, sockets: list[socket.socket]) -> None:
        """Take connections on these sockets instead; those that are open stay."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        await self.start(sockets)

    async def stop(self, seconds: float = 1.0) -> None:
        """Accept no more connections, give current requests this long, close the rest.

        What the kernel has queued is accepted first.
        """
        await self._stop_accepting()
        self._http.pre_shutdown()
        try:
            async with asyncio.timeout(seconds):
                await self._http.shutdown(None)  # with a time of its own it would take up to twice
        except TimeoutError:
            for protocol in self._http.connections:
                protocol.force_close()

    async def _stop_accepting(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.remove_reader(sock.fileno())
        await _until_known()
        queued = [taken for sock in self._sockets for taken in _take_queued(sock)]
        for server in self._servers:
            server.close()
        self._sockets = []
        for taken in queued:
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self._http, taken)
        await _until_known()


async def _until_known() -> None:
    """Wait for connections that were taken a moment ago, which are not registered yet."""
    for _ in range(TURNS_UNTIL_KNOWN):
        await asyncio.sleep(0)


def _take_queued(sock: socket.socket) -> Iterator[socket.socket]:
    """Accept what the kernel has queued, which it resets when the socket is closed."""
    with contextlib.suppress(OSError):  # none is left, or the descriptors are all in use
        for _ in range(QUEUED_CONNECTIONS):
            taken = sock.accept()[0]
            taken.settimeout(0)
            yield taken


async def bind_address(
    address: str, advice: str = "", *, when_taken: str = "", shared: bool = False
) -> list[socket.socket]:
    """Bind sockets on every address of the host; raises CannotStart, with the advice.

    when_taken: what to do where another process has the port; shared: other processes of this user
    may have it too, if each says so, and the kernel gives every connection to one of them.
    """
    try:
        return await _bind_all(address, shared=shared)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            advice = when_taken or advice
        raise errors.CannotStart(f"HTTP address {address}: {reason}{advice}") from None


async def _bind_all(address: str, *, shared: bool) -> list[socket.socket]:
    """Bind all addresses of the host, or of this machine where it is "", or none.

    Raises OSError or UnicodeError.
    """
    host, _, port = address.rpartition(":")
    found = await asyncio.get_running_loop().getaddrinfo(
        host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    with contextlib.ExitStack() as opened:
        sockets, failures = [], [OSError(f"{host} has no address")]
        for family, kind, protocol, _, where in dict.fromkeys(found):
            try:
                one = _bind_one(family, kind, protocol, where, shared=shared)
                sockets.append(opened.enter_context(one))
            except OSError as error:
                if error.errno not in _NO_SUCH_FAMILY:
                    raise
                failures.append(error)
        if not sockets:
            raise failures[-1]
        opened.pop_all()
    return sockets


def _bind_one(family: int, kind: int, protocol: int, where: Any, *, shared: bool) -> socket.socket:
    """Bind a socket; one of IPv6 takes no IPv4, which has its own."""
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
    except OSError:
        sock.close()
        raise
    return sock
