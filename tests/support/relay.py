"""A TCP relay between a port and a server, which misbehaves on request.

`with Relay(broker.port) as relay:` listens on 127.0.0.1:relay.port (or inside a network namespace)
and passes bytes both ways. Everything that a test asks for holds for open and later connections.
With `Withheld` as its filter a broker's confirm never arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self

from tests.support.hosts import inside
from tests.support.program import until
from tests.support.stand_in_api import closed_port

#: Makes close() send a reset: linger on, for 0 s.
_LINGER = struct.pack("ii", 1, 0)


class Relay:
    """The relay, in a thread of its own."""

    def __init__(
        self, target_port: int, target_host: str = "127.0.0.1", *, netns: str | None = None
    ) -> None:
        self._target = (target_host, target_port)
        self._netns = netns
        self.accepted = 0
        self.open: set[socket.socket] = set()
        self._delay_seconds = 0.0
        self._from_server: Callable[[bytes], bytes] = bytes
        self._from_client: Callable[[bytes], bytes] = bytes
        self._loop = asyncio.new_event_loop()
        self._passes = asyncio.Event()
        self._passes.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = closed_port()  # which nobody else is given while it refuses connections
        self._listener = self._listen()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._begin())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def black_hole(self) -> None:
        """Connections are taken and stay open, but nothing arrives any more on either side."""
        self._loop.call_soon_threadsafe(self._passes.clear)

    def delay(self, seconds: float) -> None:
        """Every piece of data takes so long from now on."""
        self._delay_seconds = seconds

    def filter(
        self,
        from_server: Callable[[bytes], bytes] = bytes,
        from_client: Callable[[bytes], bytes] = bytes,
    ) -> None:
        """What either side sends goes through a function, which may hold bytes back."""
        self._from_server, self._from_client = from_server, from_client

    def reset(self) -> None:
        """Reset every open connection, on both sides; new ones are welcome."""
        self._do(self._reset())

    def refuse(self) -> None:
        """Nobody listens any more; open connections go on."""
        self._do(self._close_listener())

    def pass_on(self) -> None:
        """Be a relay again, whatever was asked; what a black hole held back goes on its way."""
        self._delay_seconds = 0.0
        self._from_server = self._from_client = bytes
        if self._listener.fileno() < 0:
            self._listener = self._listen()
            self._do(self._begin())
        self._loop.call_soon_threadsafe(self._passes.set)

    def until_open(self, connections: int = 1) -> None:
        """Wait until so many connections go through it."""
        until(lambda: len(self.open) >= 2 * connections)

    def _listen(self) -> socket.socket:
        return inside(self._netns, lambda: socket.create_server(("127.0.0.1", self.port)))

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(60)

    async def _begin(self) -> None:
        self._listener.setblocking(False)
        self._accepting = self._spawn(self._accept())

    def _spawn(self, what: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            self.accepted += 1
            serving = self._spawn(self._serve(client))
            # A task that is cancelled before it begins closes nothing itself.
            serving.add_done_callback(lambda _, ended=client: ended.close())

    async def _serve(self, client: socket.socket) -> None:
        with client, inside(self._netns, socket.socket) as server:
            server.setblocking(False)
            with contextlib.suppress(OSError):
                await self._loop.sock_connect(server, self._target)
                await self._relay(client, server)

    async def _relay(self, client: socket.socket, server: socket.socket) -> None:
        self.open |= {client, server}
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(client, server, self._let_out))
                pumps.create_task(self._pump(server, client, self._let_through))
        finally:
            self.open -= {client, server}

    def _let_out(self, data: bytes) -> bytes:
        return self._from_client(data)

    def _let_through(self, data: bytes) -> bytes:
        return self._from_server(data)  # the one of now, not the one of when it connected

    async def _pump(
        self, source: socket.socket, target: socket.socket, through: Callable[[bytes], bytes]
    ) -> None:
        """Pass on what one side sends, then that it has ended."""
        with contextlib.suppress(OSError):
            while data := await self._loop.sock_recv(source, 65536):
                await asyncio.sleep(self._delay_seconds)
                await self._passes.wait()
                await self._loop.sock_sendall(target, through(data))
        with contextlib.suppress(OSError):
            await self._passes.wait()
            target.shutdown(socket.SHUT_WR)

    async def _reset(self) -> None:
        for end in self.open:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        await self._cancel(self._tasks - {self._accepting})

    async def _close_listener(self) -> None:
        await self._cancel({self._accepting})
        self._listener.close()

    async def _end(self) -> None:
        await self._cancel(self._tasks)
        self._listener.close()

    async def _cancel(self, tasks: set[asyncio.Task[None]]) -> None:
        """End tasks; the sockets of a connection are closed with its task."""
        found = list(tasks)
        for task in found:
            task.cancel()
        await asyncio.gather(*found, return_exceptions=True)


#: Type and channel and size of a frame; class, method, tag and flag of basic.ack.
_HEAD, _ACK = struct.Struct(">BHL"), struct.Struct(">HHQB")

_METHOD_FRAME, _BASIC_ACK = 1, (60, 80)


class Withheld:
    """Holds back the ack with this tag on the first channel that gets one; `acted`: it did."""

    def __init__(self, tag: int) -> None:
        self._tag, self._rest = tag, b""
        self._channel: int | None = None

    @property
    def acted(self) -> bool:
        """Whether a confirm was held back."""
        return self._channel is not None

    def __call__(self, data: bytes) -> bytes:
        """What of the server's bytes goes on its way."""
        self._rest += data
        passed = b""
        while len(self._rest) >= _HEAD.size:
            kind, channel, size = _HEAD.unpack_from(self._rest)
            end = _HEAD.size + size + 1
            if len(self._rest) < end:
                break
            frame, self._rest = self._rest[:end], self._rest[end:]
            passed += self._passed(frame, kind, channel)
        return passed

    def _passed(self, frame: bytes, kind: int, channel: int) -> bytes:
        if kind != _METHOD_FRAME or len(frame) != _HEAD.size + _ACK.size + 1:
            return frame
        *method, tag, multiple = _ACK.unpack_from(frame, _HEAD.size)
        if tuple(method) != _BASIC_ACK or tag < self._tag or self._channel not in (None, channel):
            return frame
        self._channel = channel
        if not multiple:
            return b""
        ack = _ACK.pack(*method, self._tag - 1, multiple)
        return frame[: _HEAD.size] + ack + frame[-1:]
