"""Exactly one leader: on a host by a kernel lock, over all hosts by an exclusive queue.

The kernel frees the lock, and the broker the queue, however the holder ends, so there is no
time-out and no stale lock. What the lock file says is only for people. Jobs go only over the
connection that holds the queue, so they are never those of two leaders.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Self

from tixd import errors, logs
from tixd.amqp.channel import Channel
from tixd.amqp.connection import Connection
from tixd.amqp.messages import Message, Properties
from tixd.amqp.supervised import SupervisedConnection
from tixd.directory import lock
from tixd.runtime.status import duration

#: File in the schedule folder whose lock makes the leader.
LOCK_FILE = "tixd-leader.lock"

#: What names the schedule folder.
SETTING = "CELERY_BEAT_SCHEDULE_DIR"

#: Longest description of a leader that is read.
_MAX_BYTES = 200

#: The queue that the leader over all hosts holds.
QUEUE = "tixd.dispatcher"

#: How often a process that does not lead tries to.
RETRY_SECONDS = 1.0

#: After so many periods without a message a worker looks whether there is a dispatcher.
IDLE_PERIODS = 2

#: Where the broker puts replies for the channel that asked.
_REPLIES = "amq.rabbitmq.reply-to"

#: How long a leader has to say who it is.
_REPLY_SECONDS = 2.0


class HostLock:
    """The lock of one schedule folder; a context manager that frees it."""

    def __init__(self, folder: str) -> None:
        """Open the folder, made if missing; raises CannotStart where that fails."""
        self._path = os.path.join(folder, LOCK_FILE)
        self._fd = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def is_free(self) -> bool:
        """Return whether no other process leads; if so, none can until this is closed."""
        return lock(self._fd)

    def acquire(self) -> bool:
        """Become the leader if there is none; return whether this process leads now.

        Raises CannotStart where the folder was removed and cannot be created again.
        """
        self._follow()
        if not self.is_free() or self._was_removed():
            return False
        with contextlib.suppress(OSError):  # a full disk makes no difference to the lock
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        return True

    def keep(self) -> None:
        """Lock anew where the file was removed; raises CannotStart where another leads now."""
        if not self._was_removed():
            return
        if not self.acquire():
            raise errors.CannotStart(f"{self._path} was removed, and another process leads now")
        logs.warning("leader_lock_replaced", file=self._path)

    def holder(self) -> str:
        """Return the description that the leader wrote when it became the leader."""
        return _words(os.pread(self._fd, _MAX_BYTES, 0))

    def _open(self) -> int:
        folder = os.path.dirname(self._path)
        try:
            os.makedirs(folder, exist_ok=True)
            return _open_lock(self._path)
        except OSError as error:
            remedy = "give tixd's user the right" if os.path.isdir(folder) else "make it"
            raise errors.CannotStart(
                f"schedule folder {folder}: {error.strerror}: {remedy}, or correct {SETTING}"
            ) from error

    def _follow(self) -> None:
        """Open the file that is there now, if it is another one."""
        if self._was_removed():
            before = self._fd
            self._fd = self._open()
            os.close(before)

    def _was_removed(self) -> bool:
        """Return whether others would lock another file: the locked one was removed."""
        ours = os.fstat(self._fd)
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return True
        return (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino)


def _open_lock(path: str) -> int:
    """Open the lock file, made if missing; one that another user made can be locked too."""
    flags = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_RDWR, 0o644)
    except PermissionError:
        return os.open(path, flags | os.O_RDONLY, 0o644)


class BrokerLock:
    """Waits for the exclusive queue.

    me: the answer to those who ask for the holder; holder: the other leader, "" where it does not
    answer; None while no other leader is known.
    """

    def __init__(self, me: str) -> None:
        self._me = me
        self.holder: str | None = None

    async def acquire(self, connection: Connection) -> Channel:
        """Wait for the queue and return the channel that holds it; raises BrokerError."""
        while True:
            channel = await connection.channel(confirms=True)
            try:
                await channel.declare_queue(QUEUE, exclusive=True)
            except errors.QueueLocked:
                self.holder = await ask_holder(connection)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await channel.consume(QUEUE, 1, partial(self._answer, channel))
                self.holder = None
                return channel

    def _answer(self, channel: Channel, question: Message) -> None:
        channel.ack(question.tag)
        if question.properties.reply_to:
            me = self._me.encode()
            channel.publish("", question.properties.reply_to, me, Properties(persistent=False))


async def is_held(connection: Connection) -> bool:
    """Return whether a dispatcher holds the queue; raises BrokerError."""
    channel = await connection.channel()
    try:
        await channel.declare_queue(QUEUE, passive=True)
    except errors.QueueLocked:
        return True
    except errors.NotDeclared:
        return False
    await channel.close()
    return True


async def ask_holder(connection: Connection) -> str:
    """Return a description of the holder of the queue; "" where there is no answer."""
    channel = await connection.channel(confirms=True)
    reply: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_reply(message: Message) -> None:
        if not reply.done():
            reply.set_result(_words(message.body))

    with contextlib.suppress(errors.BrokerError, TimeoutError):
        await channel.consume(_REPLIES, 0, on_reply, no_ack=True)
        question = Properties(reply_to=_REPLIES, persistent=False, expiration="1000")
        channel.publish("", QUEUE, b"", question)
        async with asyncio.timeout(_REPLY_SECONDS):
            await reply
    await channel.close()
    return reply.result() if reply.done() and not reply.cancelled() else ""


def _words(raw: bytes) -> str:
    """Return a holder's description of itself, "" where that is not printable."""
    words = raw[:_MAX_BYTES].decode("utf-8", "replace").strip()
    return words if words.isprintable() else ""


class LeaderWatch:
    """Finds out whether a worker that gets no job has a dispatcher; `run` looks.

    leaderless_since: epoch second since when no job came, where none is found; None: all is well.
    """

    def __init__(
        self,
        link: SupervisedConnection,
        idle_seconds: Callable[[], float],
        period_seconds: float,
    ) -> None:
        """idle_seconds: for how long no message has come."""
        self._link = link
        self._idle_seconds = idle_seconds
        self._period_seconds = period_seconds
        self._is_missing = False
        self._looked_at = float("-inf")

    @property
    def leaderless_since(self) -> float | None:
        """Since when (epoch) no job has come, where no dispatcher was found; else None."""
        return time.time() - self._idle_seconds() if self._is_missing else None

    async def run(self) -> None:
        """Look every second whether it is time to ask, until cancelled."""
        while True:
            if self._idle_seconds() <= IDLE_PERIODS * self._period_seconds:
                self._note(is_missing=False)
            elif (connection := self._link.connection) and self._may_ask():
                with contextlib.suppress(errors.BrokerError):
                    self._note(is_missing=not await is_held(connection))
            await asyncio.sleep(RETRY_SECONDS)

    def _may_ask(self) -> bool:
        """Return whether a period is over since the last question: RabbitMQ logs each of them."""
        now = time.monotonic()
        if now - self._looked_at < self._period_seconds:
            return False
        self._looked_at = now
        return True

    def _note(self, *, is_missing: bool) -> None:
        if is_missing and not self._is_missing:
            idle = duration(self._idle_seconds())
            logs.warning("leader_missing", idle=idle, broker=self._link.address)
        elif self._is_missing and not is_missing:
            logs.info("leader_found", broker=self._link.address)
        self._is_missing = is_missing
