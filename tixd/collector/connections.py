"""Bound connections: each has its time to send a request, and there are never too many.

Rules: a connection that has not sent its first request in time is closed; where no more may be
open, the one that has been idle or sending for the longest makes room, never one whose request is
processed; the head of a request is reserved as it arrives; of a connection that has ended nothing
is kept.
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
from tixd.collector.admission import HEAD_COPIES, Admission, ClientGone, Reservation
from tixd.runtime.http_server import cut, has_request

#: How often connections are looked at.
SWEEP_SECONDS = 1.0

#: How long a complete head without room may wait until its request begins, because the loop may be
#: busy.
GRACE_SECONDS = 1.0

#: Descriptors that are not for senders: log, sinks, and connections that are being closed.
RESERVED_DESCRIPTORS = 128

#: Connections that are open at once even where descriptors are few.
MIN_CONNECTIONS = 16


@dataclass(slots=True)
class Connection:
    """One connection, and its current request.

    since: when it was opened or its latest request began (monotonic); head: what has arrived of the
    next request's head; requests: how many heads were whole; request: what the current one holds;
    is_in_body: a body was answered before its end; is_processed: its request is processed now;
    is_closing: it was closed, which takes a turn of the loop.
    """

    since: float
    head: Reservation
    requests: int = 0
    request: Reservation | None = None
    is_in_body: bool = False
    is_processed: bool = False
    is_closing: bool = False

    @property
    def expects_head(self) -> bool:
        """Return whether what arrives belongs to the head of the next request."""
        return self.request.is_whole if self.request else not self.is_in_body

    @contextmanager
    def working(self) -> Iterator[None]:
        """Keep the connection open while its request is processed in the block."""
        self.is_processed = True
        try:
            yield
        finally:
            self.is_processed = False


class Connections:
    """The connections of one listener."""

    def __init__(self, wanted: int, seconds: float, admission: Admission) -> None:
        """`wanted`: how many at once; `seconds`: how long a first request may take."""
        self._max_connections = _possible(wanted)
        self._seconds = seconds
        self._admission = admission
        self._open: dict[web.RequestHandler, Connection] = {}

    @contextmanager
    def serving(self, request: web.BaseRequest, reservation: Reservation) -> Iterator[Connection]:
        """Note that the request in the block, whose head has arrived, is this reservation's.

        Raises ClientGone where the connection has ended already.
        """
        connection = self._open.get(request.protocol)
        if connection is None:
            raise ClientGone
        if connection.requests:
            connection.since = time.monotonic()
        connection.requests += 1
        connection.head.release()
        if connection.head.cancelled:
            connection.head = self._new_head(request.protocol)
        connection.request = reservation
        try:
            yield connection
        finally:
            connection.request = None
            connection.is_in_body = not request.content.at_eof()

    async def watch(self) -> None:
        """Close connections that have not sent a request in time, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            latest = time.monotonic() - self._seconds
            late = [protocol for protocol, found in self._open.items() if found.since < latest]
            for protocol in late:
                if not self._open[protocol].requests:
                    self._close(protocol)

    # --- calls of the listener -------------------------------------------------------------------

    def admit(self, protocol: web.RequestHandler) -> None:
        """Admit a new connection; where there is no room, another one is closed."""
        if len(self._open) >= self._max_connections:
            self._make_room(protocol)
        self._open[protocol] = Connection(time.monotonic(), self._new_head(protocol))

    def received(self, protocol: web.RequestHandler, size: int) -> None:
        """Reserve bytes of a head that have arrived; those of a body are counted by its reader."""
        connection = self._open.get(protocol)
        if connection is None or connection.is_closing or not connection.expects_head:
            return
        if not connection.head.cancelled:
            try:
                connection.head.add(HEAD_COPIES * size)
            except (errors.Unavailable, errors.BadRequest):
                connection.head.cancel(ClientGone)

    def lost(self, protocol: web.RequestHandler) -> None:
        """End the work for a connection that has ended."""
        connection = self._open.pop(protocol, None)
        if connection:
            connection.head.release()
            if connection.request:
                connection.request.cancel(ClientGone)

    # --- closing ---------------------------------------------------------------------------------

    def _make_room(self, newcomer: web.RequestHandler) -> None:
        present = [one for one, found in self._open.items() if not found.is_closing]
        idle = [one for one in present if not self._open[one].is_processed]
        if len(present) < self._max_connections:
            return
        if idle:
            self._close(idle[0])
        else:  # the new one, which has no transport to close before the loop has turned
            asyncio.get_running_loop().call_later(0, self._close, newcomer)

    def _new_head(self, protocol: web.RequestHandler) -> Reservation:
        return Reservation(self._admission, partial(self._close_for_head, protocol))

    def _close_for_head(self, protocol: web.RequestHandler) -> None:
        """Close a connection whose head had to make room: at once, unless the head is whole."""
        connection = self._open.get(protocol)
        if connection and not has_request(protocol):
            self._close(protocol)
        elif connection:
            loop = asyncio.get_running_loop()
            loop.call_later(GRACE_SECONDS, self._close_unserved, protocol, connection.requests)

    def _close_unserved(self, protocol: web.RequestHandler, before: int) -> None:
        """Close a connection that has begun no request since it had begun `before`."""
        connection = self._open.get(protocol)
        if connection and connection.requests == before:
            self._close(protocol)

    def _close(self, protocol: web.RequestHandler) -> None:
        connection = self._open.get(protocol)
        if connection:
            connection.is_closing = True
            cut(protocol)


def _possible(wanted: int) -> int:
    """Return as many as wanted, or as descriptors allow; raises the soft limit to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, max(MIN_CONNECTIONS, hard - RESERVED_DESCRIPTORS))
