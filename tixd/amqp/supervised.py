"""A connection to RabbitMQ that reconnects until it is stopped, and a probe of the broker.

Pauses between tries double up to a limit, with jitter; a connection that held for a while makes the
next pause short. There is one log line per change of state; a connection that never was is not
called lost. Any fault of a connection ends it, so that there is one way back for all faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self
from uuid import uuid4

from tixd import bounded, errors, logs
from tixd.amqp.channel import Channel
from tixd.amqp.connection import Connection, connect
from tixd.amqp.messages import Endpoint, Properties
from tixd.amqp.outage import why_not_connected
from tixd.runtime import tasks
from tixd.runtime.retry import Retry

#: Pauses between tries, where the settings name none.
RETRY = Retry(0.5, 8.0)

#: After a connection was ready for this long, the pauses start over.
STEADY_SECONDS = 5.0

OnConnected = Callable[[Connection], Coroutine[Any, Any, None]]


class SupervisedConnection:
    """Keep a connection; at any moment there is one that is ready, or an outage."""

    def __init__(
        self, endpoint: Endpoint, name: str, on_connected: OnConnected, retry: Retry = RETRY
    ) -> None:
        """Call `on_connected` with each new connection, which is dropped once the call ends.

        It calls `mark_ready` once it has all that it needs of the connection, and may raise a
        BrokerError.
        """
        self.name = name
        self._ready: Connection | None = None
        self._outage = f"{endpoint}: not connected yet"
        self._endpoint = endpoint
        self._on_connected = on_connected
        self._retry = retry
        self._failures = 0
        self._logged_state = ""
        self._was_connected = False
        self._tries = 0
        self._ready_since = math.inf
        self._retry_now = asyncio.Event()
        self._jitter = random.Random()  # noqa: S311 - spreads tries, keeps no secret

    @property
    def connection(self) -> Connection | None:
        """Return the connection that is ready, None from the moment it has ended."""
        ready = self._ready
        return None if ready is None or ready.ended.done() else ready

    @property
    def outage(self) -> str | None:
        """Return why there is no connection; None where there is one."""
        ready = self._ready
        if ready is None:
            return self._outage
        if not ready.ended.done():
            return None
        return f"{self.address}: {why_not_connected(ready.ended.result(), self._endpoint)}"

    def retry_now(self) -> None:
        """Cut the pause before the next try to the shortest one."""
        self._retry_now.set()

    @property
    def address(self) -> str:
        """Return the URL of the broker, without user and password."""
        return str(self._endpoint)

    def set_endpoint(self, endpoint: Endpoint) -> None:
        """Use this endpoint from the next try on, and make that try soon."""
        self._endpoint = endpoint
        self.retry_now()

    async def run(self) -> None:
        """Connect again and again, until cancelled."""
        while True:
            self._ready_since = math.inf
            try:
                await self._connect_once()
            except errors.BrokerError as error:
                self._drop(error)
            except Exception as error:  # noqa: BLE001 - any error ends this connection
                tasks.report(error, self.name)
                self._drop(_unexpected(error))
            ready = time.monotonic() - self._ready_since
            self._failures = 1 if ready > STEADY_SECONDS else self._failures + 1
            await self._pause(self._retry.draw_seconds(self._failures, self._jitter))

    async def _connect_once(self) -> None:
        """Run one connection from its beginning to its end."""
        self._tries += 1
        connection = await connect(self._endpoint, self.name)
        use = tasks.start(self._on_connected(connection), self.name)
        try:
            both: set[asyncio.Future[Any]] = {use, connection.ended}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            self._drop(_end_of(connection, use))
        finally:
            self._ready = None
            await tasks.end(use)
            await connection.close()

    def mark_ready(self, connection: Connection) -> None:
        """Show the connection to others: `on_connected` has all that it needs."""
        self._ready = connection
        self._outage = f"{self.address}: the connection is closed"
        self._ready_since = min(self._ready_since, time.monotonic())
        if self._logged_state != "connected":
            self._logged_state = "connected"
            self._was_connected = True
            tries = self._tries
            logs.info("broker_connected", connection=self.name, broker=self.address, tries=tries)
        self._tries = 0

    def _drop(self, error: errors.BrokerError) -> None:
        """Have an outage in place of the connection, and log a new kind of it."""
        self._ready = None
        reason = why_not_connected(error, self._endpoint)
        self._outage = f"{self.address}: {reason}"
        kind = type(error).__name__
        if self._logged_state != kind:
            self._logged_state = kind
            log = logs.error if isinstance(error, errors.BrokerRejected) else logs.warning
            event = "broker_disconnected" if self._was_connected else "broker_not_connected"
            log(event, connection=self.name, broker=self.address, reason=reason)

    async def _pause(self, seconds: float) -> None:
        """Wait the shortest pause in any case, the rest until `retry_now` is called."""
        shortest = min(seconds, self._retry.first_seconds)
        await asyncio.sleep(shortest)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds - shortest):
                await self._retry_now.wait()
        self._retry_now.clear()


def _end_of(connection: Connection, use: asyncio.Task[None]) -> errors.BrokerError:
    """Return why a connection or its use has ended."""
    if connection.ended.done():
        return connection.ended.result()
    error = use.exception()
    if error is None:
        return errors.BrokerUnavailable("the use of the connection has ended")
    return error if isinstance(error, errors.BrokerError) else _unexpected(error)


def _unexpected(error: BaseException) -> errors.BrokerError:
    return errors.BrokerUnavailable(f"unexpected {bounded.error(error)}")


#: What the name of a probe's queue begins with, so that rights can be given for `tixd.*`.
PROBE_PREFIX = "tixd.probe-"

#: How often a probe without a confirm looks whether the connection is blocked.
_LOOK_SECONDS = 1.0


class BrokerProbe:
    """A queue of our own that shows whether the broker accepts messages.

    One that is short of memory or disk says so only to a connection that publishes. The queue ends
    with the connection and holds one message at most, so probes disturb no other client.
    """

    def __init__(self, connection: Connection, channel: Channel, queue: str) -> None:
        self.channel = channel
        self._connection = connection
        self._queue = queue
        self._unconfirmed: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, connection: Connection, prefix: str = "") -> Self:
        """Declare the queue; without a prefix the broker names it.

        Raises a BrokerError; BrokerRejected where the user may declare no queue.
        """
        channel = await connection.channel(confirms=True)
        name = f"{prefix}{uuid4()}" if prefix else ""
        limit = {"x-max-length": 1}
        queue = await channel.declare_queue(name, exclusive=True, arguments=limit)
        return cls(connection, channel, queue.name)

    async def confirm(self, seconds: float) -> str | None:
        """Return None once a message is confirmed, else why not: blocked, or too slow.

        A message without a confirm is waited for again by the next call, so none pile up.
        Raises a BrokerError once the channel has ended.
        """
        if self._unconfirmed is None:
            empty = Properties(persistent=False)
            self._unconfirmed = self.channel.publish("", self._queue, b"", empty)
        message, deadline = self._unconfirmed, time.monotonic() + seconds
        while not message.done():
            left = deadline - time.monotonic()
            if left <= 0:
                return f"no confirm within {seconds:.0f} s"
            await asyncio.wait([message], timeout=min(left, _LOOK_SECONDS))
            if self._connection.blocked and not message.done():
                return self._connection.blocked
        self._unconfirmed = None
        await message
        return None
