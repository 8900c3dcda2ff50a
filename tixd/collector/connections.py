"""Connections: each has its time to send a request, and there are never too many.

In: aiohttp's protocol of each connection, what its request does. Out: closed connections, requests
that are ended because their sender has left. Rules: a connection that has not sent its first
request in time is closed; where no more may be open, the one that has been idle or sending for the
longest makes room, never one whose bundle is worked on; the head of a request counts as held as it
arrives; of a connection that has ended nothing is kept.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from tixd import errors
from tixd.collector.admission import Admission, ClientGone, Reservation
from tixd.runtime.http_server import cut, has_request

#: How often connections are looked at.
SWEEP_SECONDS = 1.0

#: How long a whole head for which there is no room may take until its request begins: the loop may
#: be busy.
GRACE_SECONDS = 1.0

#: Descriptors that are not for senders: log, outputs, and connections that are being closed.
RESERVED_DESCRIPTORS = 128

#: Connections that are open at once even where descriptors are few.
FEWEST_CONNECTIONS = 16


@dataclass(slots=True)
class _Place:
    """Since when a connection waits for, or sends, its request; whether its bundle is worked on.

    head: what has arrived of the next request's head; requests: how many heads were whole;
    request: what the one under way holds; in_body: a body was answered before its end; leaving: it
    was closed, which takes a turn of the loop.
    """

    since: float
    head: Reservation
    requests: int = 0
    request: Reservation | None = None
    in_body: bool = False
    at_work: bool = False
    leaving: bool = False

    @property
    def expects_head(self) -> bool:
        """Whether what arrives belongs to the head of the next request."""
        return self.request.is_whole if self.request else not self.in_body


class Connections:
    """The connections of one listener."""

    def __init__(self, wanted: int, seconds: float, hand: Admission) -> None:
        """`wanted`: how many at once; `seconds`: how long a first request may take."""
        self._most, self._seconds, self._hand = _possible(wanted), seconds, hand
        self._places: dict[web.RequestHandler, _Place] = {}

    def admit(self, protocol: web.RequestHandler) -> None:
        """A new connection: somebody else's makes room where there is none."""
        if len(self._places) >= self._most:
            self._make_room(protocol)
        self._places[protocol] = _Place(time.monotonic(), self._head(protocol))

    def _make_room(self, newcomer: web.RequestHandler) -> None:
        present = [one for one, place in self._places.items() if not place.leaving]
        idle = [one for one in present if not self._places[one].at_work]
        if len(present) < self._most:
            return
        if idle:
            self._close(idle[0])
        else:  # the new one, which has no transport to close before the loop has turned
            asyncio.get_running_loop().call_later(0, self._close, newcomer)

    def received(self, protocol: web.RequestHandler, size: int) -> None:
        """So many bytes have arrived; those of a body are counted by who reads it."""
        place = self._places.get(protocol)
        if place is None or place.leaving or not place.expects_head:
            return
        if not place.head.ended:
            try:
                place.head.take(size)
            except (errors.Unavailable, errors.BadRequest):
                place.head.end(ClientGone)

    def _head(self, protocol: web.RequestHandler) -> Reservation:
        return Reservation(self._hand, partial(self._close_soon, protocol))

    def _close_soon(self, protocol: web.RequestHandler) -> None:
        """Close a connection whose head had to make room: at once, unless the head is whole."""
        place = self._places.get(protocol)
        if place and not has_request(protocol):
            self._close(protocol)
        elif place:
            loop = asyncio.get_running_loop()
            loop.call_later(GRACE_SECONDS, self._close_unasked, protocol, place.requests)

    def lost(self, protocol: web.RequestHandler) -> None:
        """The connection has ended: so does the work for it."""
        place = self._places.pop(protocol, None)
        if place:
            place.head.release()
            if place.request:
                place.request.end(ClientGone)

    def _close_unasked(self, protocol: web.RequestHandler, before: int) -> None:
        """Close a connection that has made no request since it had made so many."""
        place = self._places.get(protocol)
        if place and place.requests == before:
            self._close(protocol)

    def _close(self, protocol: web.RequestHandler) -> None:
        place = self._places.get(protocol)
        if place:
            place.leaving = True
            cut(protocol)

    @contextmanager
    def serving(self, request: web.BaseRequest, share: Reservation) -> Iterator[float]:
        """A request's head has arrived; since when (monotonic seconds) it has been under way.

        Its share counts what it holds as long as the block runs. Raises Left.
        """
        place = self._places.get(request.protocol)
        if place is None:
            raise ClientGone
        since = time.monotonic() if place.requests else place.since
        place.requests += 1
        place.head.release()
        if place.head.ended:
            place.head = self._head(request.protocol)
        place.request = share
        try:
            yield since
        finally:
            place.request, place.in_body = None, not request.content.at_eof()

    @contextmanager
    def at_work(self, protocol: web.RequestHandler) -> Iterator[None]:
        """Its request is worked on as long as the block runs."""
        place = self._places.get(protocol)
        if place:
            place.at_work = True
        try:
            yield
        finally:
            if place:
                place.at_work = False

    async def watch(self) -> None:
        """Close whoever has not sent a request in time, for ever."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            latest = time.monotonic() - self._seconds
            late = [p for p, place in self._places.items() if place.since < latest]
            for protocol in late:
                if not self._places[protocol].requests:
                    self._close(protocol)


def _possible(wanted: int) -> int:
    """As many as wanted, or as descriptors allow; asks the kernel for all that it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, max(FEWEST_CONNECTIONS, hard - RESERVED_DESCRIPTORS))
