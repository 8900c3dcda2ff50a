"""Tell systemd the state of a service: sd_notify(3).

Rules: a socket that is full or gone neither blocks nor ends the service; a line break in a text
becomes a space, because it would begin another message.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

from tixd import bounded, logs
from tixd.runtime import tasks

#: How often the line in `systemctl status` is renewed.
STATUS_SECONDS = 2.0

#: Characters of a status; a datagram is not sent where it is too long.
MAX_STATUS_CHARACTERS = 1000


class Notifier:
    """Tells systemd the state of this process."""

    def __init__(self, address: str) -> None:
        """`address`: NOTIFY_SOCKET: a path, or "@name" for an abstract one; "" for no systemd."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._is_reachable = True
        self._status = ""
        self._started = False

    @contextlib.asynccontextmanager
    async def following(self, status_line: Callable[[], str]) -> AsyncIterator[None]:
        """Send what `status_line` returns, whenever it returns something new."""
        telling = tasks.start_loop(partial(self._follow, status_line), "status for systemd")
        try:
            yield
        finally:
            await tasks.end(telling)

    async def _follow(self, status_line: Callable[[], str]) -> None:
        limiter = logs.RateLimiter()
        while self._address:
            try:
                self.status(status_line())
            except Exception as error:  # noqa: BLE001 - a line for people must end no service
                reason, now = repr(error), time.monotonic()
                limiter.log(logs.error, "status_line_failed", reason, now=now, reason=reason)
            await asyncio.sleep(STATUS_SECONDS)

    def ready(self, status: str) -> None:
        """Tell that the start has ended."""
        self._started = True
        self._send_state("READY=1\n", status)

    def status(self, text: str) -> None:
        """Send the line that `systemctl status` shows, where it is new."""
        if text != self._status:
            self._send_state("", text)

    def reloading(self) -> None:
        """Tell that secrets are read again, until `reloaded`; while starting, tell nothing."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        if self._started:
            self._send(f"RELOADING=1\nMONOTONIC_USEC={now_us}")

    def reloaded(self, status: str) -> None:
        """Tell that the reload has ended, well or not."""
        if self._started:
            self._send_state("READY=1\n", status)

    def stopping(self, status: str) -> None:
        """Tell that the end has begun."""
        self._send_state("STOPPING=1\n", status)

    def watchdog(self) -> None:
        """Tell that every loop has run."""
        self._send("WATCHDOG=1")

    def _send_state(self, state: str, status: str) -> None:
        """Send both; a status that could not be sent is still new."""
        if self._send(f"{state}STATUS={_line(status)}"):
            self._status = status

    def _send(self, message: str) -> bool:
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.sendto(message.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            if self._is_reachable:
                logs.warning("systemd_notify_failed", reason=error.strerror)
            self._is_reachable = False
        else:
            self._is_reachable = True
        return self._is_reachable


def _line(text: str) -> str:
    return " ".join(bounded.text(text, MAX_STATUS_CHARACTERS).split())
