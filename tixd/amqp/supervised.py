"""A connection to RabbitMQ that comes back for ever, and a probe whether it takes messages.

Pauses between tries double up to a limit, with jitter; a connection that held for a while makes the
next pause short. There is one log line per change of state. Whatever goes wrong on a connection
ends it, so that there is one way back for all faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

from tixd import bounded, errors, logs
from tixd.amqp.channel import Channel
from tixd.amqp.connection import Connection, connect
from tixd.amqp.messages import Endpoint, Properties
from tixd.runtime import tasks

#: A connection that was of use for so long has worked: the pauses begin anew.
STEADY_SECONDS = 5.0

OnConnected = Callable[[Connection], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Retry:
    """Pauses between tries: the first, and the longest that doubling may reach (seconds)."""

    first_seconds: float = 0.5
    longest_seconds: float = 8.0

    def pause_seconds(self, failures: int, jitter: random.Random) -> float:
        """The pause after so many failures in a row, 1 or more; jitter takes up to half of it.

        >>> [Retry(1, 60).pause_seconds(n, random.Random(1)) // 1 for n in (1, 2, 3, 100)]
        [0.0, 1.0, 2.0, 34.0]
        """
        doubled = self.first_seconds * 2.0 ** min(failures - 1, 32)
        return min(doubled, self.longest_seconds) * jitter.uniform(0.5, 1.0)


class SupervisedConnection:
    """Keeps a connection; `connection` is the one that serves, or None, `reason` says why."""

    def __init__(
        self, endpoint: Endpoint, name: str, use: OnConnected, retry: Retry | None = None
    ) -> None:
        """`use` is called with each new connection and ends, or raises a BrokerError, with it."""
        self.connection: Connection | None = None
        self.reason = "not connected to the broker yet"
        self.name = name
        self._endpoint, self._use = endpoint, use
        self._retry = retry or Retry()
        self._failures = 0
        self._told = ""
        self._served_since = math.inf
        self._hurry = asyncio.Event()
        self._jitter = random.Random()  # noqa: S311 - spreads tries, keeps no secret

    def hurry(self) -> None:
        """Try again as soon as the shortest pause is over."""
        self._hurry.set()

    def renew(self, endpoint: Endpoint) -> None:
        """Use this endpoint from the next try on."""
        self._endpoint = endpoint
        self.hurry()

    async def run(self) -> None:
        """Connect, let it be used, and again; for ever, until cancelled."""
        while True:
            self._served_since = math.inf
            try:
                await self._once()
            except errors.BrokerError as error:
                self._lost(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends this connection
                tasks.report(error, self.name)
                self._lost(_unexpected(error))
            served = time.monotonic() - self._served_since
            self._failures = 1 if served > STEADY_SECONDS else self._failures + 1
            await self._pause(self._retry.pause_seconds(self._failures, self._jitter))

    async def _once(self) -> None:
        """One connection, from its beginning to its end."""
        connection = await connect(self._endpoint, self.name)
        use = tasks.start(self._use(connection), self.name)
        try:
            both: set[asyncio.Future[Any]] = {use, connection.ended}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            self._lost(_end_of(connection, use))
        finally:
            self.connection, self.reason = None, self.reason or "the connection is closed"
            await tasks.end(use)
            await connection.close()

    def serves(self, connection: Connection) -> None:
        """To be called by the use, once it has all that it needs of the connection."""
        self.connection, self.reason = connection, ""
        self._served_since = time.monotonic()
        if self._told != "connected":
            self._told = "connected"
            logs.info("broker_connected", connection=self.name, broker=str(self._endpoint))

    def _lost(self, error: errors.BrokerError) -> None:
        """Drop the connection, and say why: there is one or a reason, at any moment."""
        self.connection, self.reason, kind = None, str(error), type(error).__name__
        if self._told != kind:
            self._told = kind
            log = logs.error if isinstance(error, errors.BrokerRejected) else logs.warning
            broker = str(self._endpoint)
            log("broker_lost", connection=self.name, broker=broker, reason=self.reason)

    async def _pause(self, seconds: float) -> None:
        """Wait: the shortest pause in any case, the rest unless somebody is in a hurry."""
        shortest = min(seconds, self._retry.first_seconds)
        await asyncio.sleep(shortest)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds - shortest):
                await self._hurry.wait()
        self._hurry.clear()


def _end_of(connection: Connection, use: asyncio.Task[None]) -> errors.BrokerError:
    """Why a connection is of no use any more."""
    if connection.ended.done():
        return connection.ended.result()
    error = use.exception()
    if error is None:
        return errors.BrokerUnavailable("the connection is of no use any more")
    return error if isinstance(error, errors.BrokerError) else _unexpected(error)


def _unexpected(error: BaseException) -> errors.BrokerError:
    return errors.BrokerUnavailable(f"unexpected {bounded.error(error)}")


#: What the name of a probe's queue begins with, so that rights can be given for `tixd.*`.
PROBE_PREFIX = "tixd.probe-"

#: How often a probe without a confirm looks whether the connection is blocked.
_LOOK_SECONDS = 1.0


class BrokerProbe:
    """A queue of our own, to see whether the broker takes messages.

    One that is short of memory or disk says so only to a connection that publishes. The queue ends
    with the connection and holds one message at most, so probes disturb nobody.
    """

    def __init__(self, connection: Connection, channel: Channel, queue: str) -> None:
        self.channel = channel
        self._connection = connection
        self._queue = queue
        self._unconfirmed: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, connection: Connection, prefix: str = "") -> Self:
        """Declare the queue; without a prefix the broker chooses its name.

        Raises a BrokerError; BrokerRejected where the user may declare no queue.
        """
        channel = await connection.channel(confirms=True)
        name = f"{prefix}{uuid4()}" if prefix else ""
        limit = {"x-max-length": 1}
        queue = await channel.declare_queue(name, exclusive=True, arguments=limit)
        return cls(connection, channel, queue.name)

    async def confirm(self, seconds: float) -> str | None:
        """Wait for the confirm of a message; return why there is none, None where there is one.

        The reason is that of a blocked connection, or that there was no confirm in so many seconds.
        A message without a confirm stays the one that is waited for, so none pile up.
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
