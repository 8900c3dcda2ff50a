"""Connections: each has its time to send a request, and there are never too many.

In: aiohttp's protocol of each connection, what its request does. Out: closed connections. Rules: a
connection that has not sent its first request in time is closed; where no more may be open, the
one that has been idle or sending for the longest makes room, never one whose bundle is worked on.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

#: How often connections are looked at.
SWEEP_SECONDS = 1.0

#: Descriptors that are not for senders: log, outputs, and connections that are being closed.
RESERVED_DESCRIPTORS = 128

#: Connections that are open at once even where descriptors are few.
FEWEST_CONNECTIONS = 16


@dataclass(slots=True)
class _Place:
    """Since when a connection waits for, or sends, its request; whether its bundle is worked on.

    leaving: it was closed, which takes a turn of the loop.
    """

    since: float
    asked: bool = False
    at_work: bool = False
    leaving: bool = False


class Connections:
    """The connections of one listener."""

    def __init__(self, wanted: int, seconds: float) -> None:
        """`wanted`: how many at once; `seconds`: how long a first request may take."""
        self._most, self._seconds = _possible(wanted), seconds
        self._places: dict[web.RequestHandler, _Place] = {}
        self.present: Callable[[], list[web.RequestHandler]] = list

    def admit(self, protocol: web.RequestHandler) -> None:
        """A new connection: somebody else's makes room where there is none."""
        self._places[protocol] = _Place(time.monotonic())
        present = [other for other in self.present() if not self._place(other).leaving]
        if len(present) >= self._most:
            idle = [other for other in present if not self._place(other).at_work]
            if idle:
                self._close(idle[0])
            else:  # the new one, which has no transport to close before the loop has turned
                asyncio.get_running_loop().call_later(0, self._close, protocol)

    def _close(self, protocol: web.RequestHandler) -> None:
        self._place(protocol).leaving = True
        protocol.force_close()

    def begun(self, protocol: web.RequestHandler) -> float:
        """A request's head has arrived; since when (monotonic seconds) it has been under way."""
        place = self._place(protocol)
        since, place.asked = time.monotonic() if place.asked else place.since, True
        return since

    @contextmanager
    def at_work(self, protocol: web.RequestHandler) -> Iterator[None]:
        """Its bundle is worked on as long as the block runs."""
        place = self._place(protocol)
        place.at_work = True
        try:
            yield
        finally:
            place.at_work = False

    def _place(self, protocol: web.RequestHandler) -> _Place:
        return self._places.setdefault(protocol, _Place(time.monotonic()))

    async def watch(self) -> None:
        """Close whoever has not sent a request in time, for ever."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            present, latest = set(self.present()), time.monotonic() - self._seconds
            self._places = {p: place for p, place in self._places.items() if p in present}
            for protocol, place in self._places.items():
                if not place.asked and place.since < latest:
                    self._close(protocol)


def _possible(wanted: int) -> int:
    """As many as wanted, or as descriptors allow; asks the kernel for all that it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, max(FEWEST_CONNECTIONS, hard - RESERVED_DESCRIPTORS))
