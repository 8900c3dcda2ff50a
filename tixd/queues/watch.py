"""Watch the queue of jobs in RabbitMQ: how many messages wait there, and who takes them.

Rules: the queue is only looked at, every few seconds, over a connection that another object keeps;
while there is none, nothing is known. A queue that nobody consumes counts as unattended from its
first message until a consumer comes, although messages expire meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from tixd import errors, logs
from tixd.amqp.channel import Channel
from tixd.amqp.connection import Connection
from tixd.amqp.messages import Declared
from tixd.amqp.supervised import SupervisedConnection
from tixd.queues.publisher import JOBS
from tixd.runtime.status import QueueView, duration

#: How often it is looked at.
LOOK_SECONDS = 5.0


class QueueWatch:
    """Looks at the queue while `run` runs; view: what it saw last, None: nothing yet.

    period_seconds: a queue that is unattended for longer is an error in the log.
    """

    def __init__(
        self,
        link: SupervisedConnection,
        period_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.view: QueueView | None = None
        self._link = link
        self._period_seconds = period_seconds
        self._clock = clock
        self._channel: tuple[Connection, Channel] | None = None
        self._is_logged = False

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            with contextlib.suppress(errors.BrokerError):
                await self._look()
            await asyncio.sleep(min(LOOK_SECONDS, self._period_seconds / 2))

    async def _look(self) -> None:
        connection = self._link.connection
        if connection is None or connection.blocked:  # a blocked one answers nothing
            return
        try:
            channel = await self._opened(connection)
            found = await channel.declare_queue(JOBS, passive=True)
        except errors.NotDeclared:
            found = Declared(JOBS, 0)
        self.note(found)

    async def _opened(self, connection: Connection) -> Channel:
        """Return an open channel; a queue that is missing ends the one before."""
        if self._channel and self._channel[0] is connection:
            channel = self._channel[1]
            if not channel.ended.done():
                return channel
        channel = await connection.channel()
        self._channel = connection, channel
        return channel

    def note(self, found: Declared) -> None:
        """Note what was found; log once that nobody takes messages, and that somebody does."""
        now = self._clock()
        since = self.view.unattended_since if self.view else None
        if found.consumers:
            since = None
        elif since is None and found.messages:
            since = now
        self.view = QueueView(found.name, found.messages, found.consumers, since)
        values = {"queue": found.name, "messages": found.messages, "consumers": found.consumers}
        is_late = since is not None and now - since > self._period_seconds
        if is_late and not self._is_logged:
            self._is_logged = True
            logs.error("nobody_works", **values, since=duration(now - (since or now)))
        elif self._is_logged and since is None:
            self._is_logged = False
            logs.info("worker_found", **values)
