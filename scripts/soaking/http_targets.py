"""Servers that are fuzzed: each runs in a thread, gets bytes on a connection, and must go on.

An answer is that of HTTP with a status that the server means, or the end of the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from tests.support import bundles, service
from tests.support.collecting import collecting
from tixd.collector.server import SERVLET
from tixd.config.environment import Environment
from tixd.config.fields import Secret
from tixd.page.handler import PageHandler
from tixd.runtime import control_server, http_server
from tixd.sinks.json_lines import LinesSink

#: How long an answer may take, seconds; and how long one to a damaged request is waited for, which
#: may want more bytes.
ANSWER_SECONDS, DAMAGED_SECONDS = 10.0, 0.1

_STATUS = re.compile(rb"HTTP/(?:0\.9|1\.[01]) ([1-5][0-9][0-9]) ")

#: What a server answers to bytes that are hostile: never 500.
FINE = {100, 200, 400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 417, 431, 501, 503, 505}

Address = tuple[str, int] | str


class _Servers:
    """A loop in a thread, and the servers in it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._held = contextlib.AsyncExitStack()

    def do(self, what: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the loop."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def collector(self) -> Address:
        """A collector that writes to a file."""
        sink = LinesSink(str(Path(tempfile.mkdtemp(prefix="fuzz-")) / "records"), 10**6, 2)
        client = await self._held.enter_async_context(collecting([sink], timeout_seconds=2.0))
        host, port = client.listener.addresses[0][:2]
        return host, port

    async def health(self) -> Address:
        """The HTTP address of a processing role."""
        sockets = await http_server.bind_address("127.0.0.1:0")
        health = http_server.health_routes(lambda: ["not yet"], lambda: b"x 1\n")
        page = PageHandler(service.snapshot, lambda: Secret(""), "TIX_PAGE_TOKEN")
        routes = {**health, f"GET {http_server.EVERY_OTHER}": page.answer}
        listener = await http_server.serve(sockets, routes)
        host, port = listener.addresses[0][:2]
        return host, port

    async def control(self) -> Address:
        """The control socket."""
        folder = tempfile.mkdtemp(prefix="fuzz-")
        environment = Environment((folder,), (folder,), "", "")
        commands = {"GET /status": _status}
        opened = await control_server.listen(environment, "standalone", commands, standby=False)
        assert opened
        return f"{folder}/standalone.sock"


async def _status(_: Any) -> object:
    return {"role": "standalone"}


@functools.cache
def _servers() -> _Servers:
    return _Servers()


@functools.cache
def _address(kind: str) -> Address:
    found: Address = _servers().do(getattr(_servers(), kind)())
    return found


def _ask(address: Address, data: bytes, seconds: float = ANSWER_SECONDS) -> bytes:
    """Send all bytes, and read what comes until the end, or until nothing comes for so long."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(seconds)
        sock.connect(address)
        received = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            sock.sendall(data)
            while piece := sock.recv(65536):
                received += piece
        return received


def _run(kind: str, good: bytes, data: bytes) -> None:
    answer = _ask(_address(kind), data, DAMAGED_SECONDS)
    statuses = {int(found) for found in _STATUS.findall(answer)}
    assert statuses <= FINE, f"status {sorted(statuses - FINE)}"
    assert answer == b"" or statuses, answer[:80]
    assert _ask(_address(kind), good).startswith(b"HTTP/1.1 200"), "a good request fails after it"


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def _post(body: bytes) -> bytes:
    head = "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\nHost: x\r\n"
    return f"POST {SERVLET} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _bundles() -> Iterable[bytes]:
    body = bundles.form(["a"])
    yield _post(body)
    yield _post(bundles.PING)
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    yield _post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + chunked
    yield _get("/stats")


def _requests() -> Iterable[bytes]:
    yield from map(_get, _PATHS)


def _commands() -> Iterable[bytes]:
    yield from map(_get, ("/status", "/status?x=1"))
    yield b"POST /failed/retry HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


_PATHS = ("/healthz", "/readyz", "/metrics", "/?a=b", "/cycles.json", "/static/../etc/passwd")

Server = tuple[str, tuple[str, ...], Callable[[], Iterable[bytes]], Callable[[bytes], None]]

#: Name, kinds, corpus and run of each.
SERVERS: tuple[Server, ...] = (
    (
        "request to the collector",
        ("faults 34", "G5", "G12", "field C6"),
        _bundles,
        functools.partial(_run, "collector", _post(bundles.PING)),
    ),
    (
        "request to a role",
        ("G12", "G13"),
        _requests,
        functools.partial(_run, "health", _get("/healthz")),
    ),
    (
        "control socket",
        ("G14", "field E"),
        _commands,
        functools.partial(_run, "control", _get("/status")),
    ),
)
