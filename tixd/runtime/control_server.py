"""Answer commands and people on the host itself: HTTP over the control socket.

Rules: answers are JSON, errors plain text; a socket file that was removed is made again; few
requests of a kind run at once. A role whose socket cannot be opened works without it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from functools import partial

import orjson
from aiohttp import web

from tixd import bounded, errors, logs
from tixd.config.environment import Environment
from tixd.runtime import control, tasks
from tixd.runtime.http_server import Handler, Listener, plain_text, serve
from tixd.runtime.status import Snapshot, headline

#: Answers one request, given the parameters in its URL; raises TixdError or ValueError.
Command = Callable[[Mapping[str, str]], Awaitable[object]]

#: Requests of the same kind that run at once.
MAX_REQUESTS = 16

#: How often it is checked that the socket's file was not removed.
LOOK_SECONDS = 1.0

#: Longest text of an error.
MAX_ERROR_CHARACTERS = 1000


async def listen(
    environment: Environment, role: str, commands: Mapping[str, Command], *, standby: bool
) -> ControlSocket | None:
    """Open the control socket; log an error and return None where that fails."""
    opened = ControlSocket(partial(control.open_socket, environment, role, standby=standby))
    try:
        await opened.start(commands)
    except OSError as error:
        logs.error("control_socket_not_available", role=role, reason=str(error))
        return None
    return opened


def status_command(snapshot: Callable[[], Snapshot]) -> Command:
    """Return the command that shows the role's state, in a line, and why it is not ready."""

    async def status(_: Mapping[str, str]) -> object:
        now = snapshot()
        return {**asdict(now), "not_ready": now.unready_reasons(), "headline": headline(now)}

    return status


class ControlSocket:
    """An open control socket; stop it before the loop ends."""

    def __init__(self, bind: Callable[[], socket.socket]) -> None:
        self.path = ""
        self._inode = 0
        self._bind = bind
        self._limiter = logs.RateLimiter()

    async def start(self, commands: Mapping[str, Command]) -> None:
        """Take requests from now on; raises OSError."""
        routes = {name: _handler(command) for name, command in commands.items()}
        self._listener: Listener = await serve([self._open()], routes)
        self._watching = tasks.start_loop(self._watch, "watch over the control socket")

    async def stop(self) -> None:
        """Accept no more requests, cancel current ones, remove the file."""
        await tasks.end(self._watching)
        await self._listener.stop(0.0)
        if self._is_there():
            os.unlink(self.path)

    def _open(self) -> socket.socket:
        sock = self._bind()
        self.path = sock.getsockname()
        self._inode = os.stat(self.path).st_ino
        return sock

    def _is_there(self) -> bool:
        """Return whether the file exists and is still this socket."""
        try:
            return os.stat(self.path).st_ino == self._inode
        except OSError:
            return False

    async def _watch(self) -> None:
        """Open the socket again where its file or folder was removed."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._is_there():
                continue
            removed, now = self.path, time.monotonic()
            try:
                await self._listener.move([self._open()])
            except OSError as error:
                event, reason = "control_socket_not_available", str(error)
                self._limiter.log(logs.error, event, now=now, file=removed, reason=reason)
            else:
                logs.warning("control_socket_replaced", file=self.path, removed=removed)


def _handler(command: Command) -> Handler:
    """Return the HTTP handler of a command; a few run at once."""
    room = asyncio.Semaphore(MAX_REQUESTS)

    async def answer(request: web.BaseRequest) -> web.Response:
        if room.locked():
            return plain_text("too many requests at once\n", 503)
        async with room:
            return await _answer(command, request.query)

    return answer


async def _answer(command: Command, parameters: Mapping[str, str]) -> web.Response:
    try:
        answer = orjson.dumps(await command(parameters)) + b"\n"
    except (errors.TixdError, ValueError) as error:
        status = 400 if isinstance(error, ValueError) else 503
        return plain_text(bounded.text(str(error), MAX_ERROR_CHARACTERS) + "\n", status)
    except Exception as error:  # noqa: BLE001 - answered, and logged
        logs.failure("control_request_failed", error)
        return plain_text(f"{bounded.error(error)}: unexpected, see the log\n", 500)
    return web.Response(body=answer, content_type="application/json")
