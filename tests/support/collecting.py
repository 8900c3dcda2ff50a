"""A collector inside the test, on real sockets, with sinks of the test's choice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tixd.collector.publish import SinkGroup
from tixd.collector.server import SERVLET, Server
from tixd.config.collector_settings import CollectorSettings
from tixd.history.senders import SenderLog
from tixd.runtime.http_server import Listener
from tixd.sinks.base import Sink

#: The head of every posted form.
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: status, headers in small letters, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """Speaks HTTP byte by byte, because tests want to say what no library would."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection."""
        return await asyncio.open_connection(*self.listener.addresses[0])

    async def raw(self, request: bytes, seconds: float = 20.0) -> bytes:
        """Everything that comes back until the collector closes."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            return await asyncio.wait_for(reader.read(), seconds)
        finally:
            writer.close()

    async def post(self, body: bytes, target: str = SERVLET, **headers: str) -> Said:
        """The answer to a posted form; `headers` have _ for -."""
        return await self.ask("POST", target, body, **headers)

    async def get(self, target: str) -> Said:
        """The answer to a GET."""
        return await self.ask("GET", target)

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Said:
        """The answer to one request on a connection of its own."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        usual = {"Host": "x", "Connection": "close"} | (FORM if method == "POST" else {})
        usual |= {"Content-Length": str(len(body))} if method == "POST" else {}
        lines = [f"{name}: {text}" for name, text in {**usual, **named}.items() if text]
        head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""])
        return parsed(await self.raw(head.encode() + body))


def parsed(answer: bytes) -> Said:
    """The last response in these bytes; status 0 where there is none."""
    head, _, body = answer.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return Said(int(status[:3] or 0), {name.lower(): text for name, _, text in pairs}, body)


@asynccontextmanager
async def collecting(
    sinks: Sequence[Sink],
    senders: SenderLog | None = None,
    clock: Callable[[], float] = time.time,
    **settings: Any,
) -> AsyncIterator[Client]:
    """A collector with these sinks, which have started; `clock` tells when a request ends."""
    wanted = CollectorSettings(**settings)
    outputs = SinkGroup(sinks, wanted.timeout_seconds)
    server = Server(wanted, outputs, outputs.unready_reasons, senders, clock)
    await outputs.start()
    listener = await server.listen("127.0.0.1:0")
    watching = asyncio.ensure_future(server.watch())
    try:
        yield Client(listener)
    finally:
        watching.cancel()
        await listener.stop()
        await outputs.stop()
