"""A stand-in for the tix-api: takes posts strictly, keeps them, and misbehaves on request.

In a test: `with StandInApi() as api:` (own thread; api.url, api.port, api.posts, api.answer(...)).
As a program, for the demo and the benchmark, with the standard library alone:
`python stand_in_api.py --port 0 --log FILE` prints where it listens and appends one JSON line
{"user", "installation", "body", "status"} for each accepted post. Listens on 127.0.0.1 only,
unless a test names another address.

What the client sends must be right to the letter. As the real one it never answers a post for an
installation that its database lacks (`unknown`), answers 500 where it finds no AS for the source,
lets only an enabled user of role admin post for others, says both at /api/user/current, and reads
Basic credentials as UTF-8.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import fcntl
import functools
import ipaddress
import json
import os
import random
import re
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Literal, Self, cast

#: Longest head and body that are read, bytes.
LONGEST_HEAD_BYTES, LONGEST_BODY_BYTES = 16 * 2**10, 64 * 2**10

_PATH = re.compile(r"/api/user/([1-9][0-9]*)/installation/([1-9][0-9]*)/reports")
_USAGES = ("upUsage", "downUsage")
_HURSTS = ("hurstUpRs", "hurstUpWavelet", "hurstDownRs", "hurstDownWavelet")
_NUMBERS = (*_USAGES, "upQuality", "downQuality", *_HURSTS)
_MEMBERS = {"timestamp", "version", "ip", *_NUMBERS}
_ALTERNATIVES = ("upUsageAlt", "downUsageAlt")
_WIDTHS = ("upUsageWidth", "downUsageWidth")
#: Members that the real one ignores.
_OPTIONAL = {"asn", "asName", *_ALTERNATIVES, *_WIDTHS, "clock"}


class Rejected(Exception):
    """The request is not what the tix-api takes; the status says how."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def next_request(buffer: bytearray) -> tuple[str, dict[str, str], bytes] | None:
    """The next whole request in the buffer, taken out of it; None: more must come."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > LONGEST_HEAD_BYTES:
            raise Rejected(431)
        return None
    line, *rest = buffer[:end].decode("latin-1").split("\r\n")
    parted = [header.partition(":") for header in rest]
    headers = {name.lower(): value.strip() for name, _, value in parted}
    if len(headers) < len(rest) or any(not colon or " " in name for name, colon, _ in parted):
        raise Rejected(400)
    length = headers.get("content-length", "0")
    if not length.isdigit() or "transfer-encoding" in headers or not headers.get("host"):
        raise Rejected(400)
    if int(length) > LONGEST_BODY_BYTES:
        raise Rejected(413)
    whole = end + 4 + int(length)
    if len(buffer) < whole:
        return None
    body = bytes(buffer[end + 4 : whole])
    del buffer[:whole]
    return line, headers, body


def target(line: str) -> tuple[int, int]:
    method, _, rest = line.partition(" ")
    path, _, version = rest.partition(" ")
    found = _PATH.fullmatch(path)
    if version != "HTTP/1.1" or not found:
        raise Rejected(404 if version == "HTTP/1.1" else 505)
    if method != "POST":
        raise Rejected(405)
    return int(found[1]), int(found[2])


def is_question(line: str) -> bool:
    """Whether it asks who asks."""
    return line == "GET /api/user/current HTTP/1.1"


def has_as(address: str) -> bool:
    """Whether the real one finds an AS: never of IPv6 addresses and host names, which get 500."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(address).version == 4
    return False


def measure(headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """The body, where it is exactly what the tix-api takes."""
    if headers.get("content-type") != "application/json":
        raise Rejected(415)
    try:
        content = json.loads(body)
    except ValueError:
        raise Rejected(400) from None
    if not isinstance(content, dict) or set(content) - _OPTIONAL != _MEMBERS:
        raise Rejected(400)
    numbers = [content[name] for name in _NUMBERS if content[name] is not None]
    plain = all(type(number) in (int, float) for number in numbers)
    if type(content["timestamp"]) is not int or content["version"] != "1.0.0" or not plain:
        raise Rejected(400)
    if not content["ip"] or not all(
        0 <= (content.get(name) or 0) <= 1 for name in (*_USAGES, *_ALTERNATIVES, *_WIDTHS)
    ):
        raise Rejected(400)
    return content


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a post is answered; faults: the answer never comes, or a byte a time, or is cut.

    held: what is posted is noted, and answered when the test lets go; interim: statuses of answers
    that come before it.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    fault: Literal["", "silent", "held", "trickle", "cut", "store_then_cut", "cut_body"] = ""
    body: bytes = b'{"ok": true}'
    trickle_seconds: float = 1.0
    interim: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Post:
    """A post that came in, the status it got (None: none was sent), and whether it was kept.

    at: when it came, by a clock that never steps.
    """

    user: int
    installation: int
    body: dict[str, Any]
    status: int | None
    kept: bool
    at: float = field(default_factory=time.monotonic)


Decide = Callable[[int, int, dict[str, Any]], Behaviour]


class StandInApi:
    """The server, in a thread of its own."""

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        user: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
        log: BinaryIO | None = None,
    ) -> None:
        self.posts: list[Post] = []
        #: Installations, as (user, installation), that its database lacks.
        self.unknown: set[tuple[int, int]] = set()
        self.role, self.enabled = "admin", True
        self.has_as: Callable[[str], bool] = has_as
        #: How often it was asked who asks.
        self.questions = 0
        self.heads: list[dict[str, str]] = []
        self.connections = 0
        self._decide: Decide = lambda *_: Behaviour()
        self._always = Behaviour()
        self._user = user
        self._basic = _basic(user, password) if user else ""
        self._log, self._tls = log, tls
        self._socket = socket.create_server((host, port))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://{host}:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.open: set[_Connection] = set()
        self.held: list[tuple[_Connection, Behaviour]] = []

    def answer(self, behaviour: Behaviour | Decide) -> None:
        """From now on answer everything so, or posts as (user, installation, body) say."""
        fixed = isinstance(behaviour, Behaviour)
        self._always = behaviour if isinstance(behaviour, Behaviour) else Behaviour()
        self._decide = (lambda *_: self._always) if fixed else cast(Decide, behaviour)

    def let_go(self) -> None:
        """Answer whatever is held; what comes later is accepted at once."""
        self.answer(Behaviour())
        self._loop.call_soon_threadsafe(self._answer_held)

    def _answer_held(self) -> None:
        while self.held:
            connection, behaviour = self.held.pop(0)
            connection.answer(replace(behaviour, fault=""))

    @property
    def accepted(self) -> list[Post]:
        """The posts that were kept: answered with 2xx, or kept and then cut."""
        return [post for post in self.posts if post.kept]

    async def serve(self) -> asyncio.Server:
        """Take connections from now on."""
        return await asyncio.get_running_loop().create_server(
            lambda: _Connection(self), sock=self._socket, ssl=self._tls
        )

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self.serve(), self._loop).result(60)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def drop_connections(self) -> None:
        """Close every kept connection, as a server does with idle ones."""
        asyncio.run_coroutine_threadsafe(self._close_all(), self._loop).result(60)

    async def _stop(self) -> None:
        self._server.close()
        await asyncio.sleep(0.001)  # a connection may just have been accepted
        await self._close_all()

    async def _close_all(self) -> None:
        while self.open:
            for connection in list(self.open):
                connection.transport.close()
            await asyncio.sleep(0.001)

    def judge(self, line: str, headers: dict[str, str], body: bytes) -> Behaviour:
        """How to answer a request; where it is a post it is noted."""
        if self._basic and not (self.enabled and headers.get("authorization") == self._basic):
            return Behaviour(401, {"WWW-Authenticate": "Basic"})
        if self._basic and is_question(line):
            return self._who_asks()
        try:
            user, installation = target(line)
            content = measure(headers, body)
        except Rejected as error:
            return Behaviour(error.status)
        behaviour = self._judge_post(user, installation, content)
        status = (
            None if behaviour.fault in ("cut", "silent", "store_then_cut") else behaviour.status
        )
        kept = behaviour.fault == "store_then_cut" or 200 <= (status or 0) < 300
        self.heads.append(headers)
        self.posts.append(Post(user, installation, content, status, kept))
        if self._log and kept:
            noted = {"user": user, "installation": installation, "body": content, "status": status}
            self._log.write(json.dumps(noted).encode() + b"\n")
        return behaviour

    def _who_asks(self) -> Behaviour:
        """Who asks, or what was set for everything."""
        self.questions += 1
        told = {"id": 1, "username": self._user, "role": self.role, "enabled": self.enabled}
        fine = self._always == Behaviour()
        return Behaviour(body=json.dumps(told).encode()) if fine else self._always

    def _judge_post(self, user: int, installation: int, content: dict[str, Any]) -> Behaviour:
        """What the real one would answer where nothing else was set."""
        if self.role != "admin":
            return Behaviour(403)
        if (user, installation) in self.unknown:
            return Behaviour(fault="silent")
        behaviour = self._decide(user, installation, content)
        if behaviour == Behaviour() and not self.has_as(content["ip"]):
            return Behaviour(500, body=b'{"error": "no AS of this address"}')
        return behaviour


class _Connection(asyncio.Protocol):
    """One kept connection: requests one after the other."""

    def __init__(self, api: StandInApi) -> None:
        self._api, self._buffer = api, bytearray()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._api.connections += 1
        self._api.open.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._api.open.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while request := next_request(self._buffer):
                self.answer(self._api.judge(*request))
        except Rejected as error:
            self.answer(Behaviour(error.status, {"Connection": "close"}))
            self.transport.close()

    def answer(self, behaviour: Behaviour) -> None:
        """Answer the request that has come, or do not, as the fault says."""
        response = _interim(behaviour) + _response(behaviour)
        if behaviour.fault == "trickle":
            self._trickle(response, behaviour.trickle_seconds)
        elif behaviour.fault == "cut_body":
            self.transport.write(response[:-1])
            self.transport.close()
        elif behaviour.fault in ("cut", "store_then_cut"):
            self.transport.abort()
        elif behaviour.fault == "held":
            self._api.held.append((self, behaviour))
        elif not behaviour.fault:
            self.transport.write(response)

    def _trickle(self, left: bytes, seconds: float) -> None:
        if left and not self.transport.is_closing():
            self.transport.write(left[:1])
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, self._trickle, left[1:], seconds)


def _response(behaviour: Behaviour) -> bytes:
    body = b"" if behaviour.status == 204 else behaviour.body
    length = {} if behaviour.status == 204 else {"Content-Length": str(len(body))}
    headers = {"Content-Type": "application/json", **length, **behaviour.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {behaviour.status} Status\r\n{lines}\r\n".encode() + body


def _interim(behaviour: Behaviour) -> bytes:
    """Answers that are none yet, as 102 and 103."""
    lines = (f"HTTP/1.1 {status} Soon\r\nLink: </x>\r\n\r\n" for status in behaviour.interim)
    return "".join(lines).encode()


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


#: Ports that closed_port has given: who has been given one may come to use it much later.
_given: set[int] = set()


def closed_port() -> int:
    """A port of 127.0.0.1 on which nobody listens, and that nobody is given who asks for any.

    None is given twice, not even to another run of the tests: as long as it lives, each process
    holds the lock of a byte for each of its ports.
    """
    while True:
        port = random.choice(range(20_000, 30_000))
        with contextlib.suppress(OSError):
            if port not in _given:
                fcntl.lockf(_locked_bytes(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                socket.create_server(("127.0.0.1", port)).close()
                _given.add(port)
                return port


@functools.cache
def _locked_bytes() -> int:
    path = os.path.join(tempfile.gettempdir(), f"tixd-ports-{os.getuid()}")
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)


async def _run(api: StandInApi) -> None:
    server = await api.serve()
    sys.stdout.write(f"listening on {api.url}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--log", required=True, help="file that accepted posts are appended to")
    arguments = parser.parse_args()
    with open(arguments.log, "ab", buffering=0) as log:
        asyncio.run(_run(StandInApi(port=arguments.port, log=log)))


if __name__ == "__main__":
    main()
