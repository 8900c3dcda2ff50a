"""Exactly one dispatcher over all hosts: whoever holds an exclusive queue of the broker.

In: connections of the sender, one after the other. Out: return when the connection holds the queue.
Rules: the broker frees the queue when the connection that holds it ends, so jobs that go over that
connection alone are never those of two; whoever does not get it asks again every second. The leader
answers on that queue who it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

from tixd import errors
from tixd.amqp.channel import Channel
from tixd.amqp.connection import Connection
from tixd.amqp.messages import Message, Properties

#: The queue that the leader holds (operations.md 3).
QUEUE = "tixd.dispatcher"

#: How often somebody who stands by tries to lead.
AGAIN_SECONDS = 1.0

#: Where the broker puts an answer for whoever asked on the same channel.
_ANSWERS = "amq.rabbitmq.reply-to"

#: How long a leader has to say who it is.
_ANSWER_SECONDS = 2.0


class BrokerLock:
    """Waits for the queue; `me` is what others are told.

    leader: who leads instead, "" where it does not say; None while nobody is known to.
    """

    def __init__(self, me: str) -> None:
        self._me = me
        self.leader: str | None = None

    async def __call__(self, connection: Connection) -> Channel:
        """The channel that holds the queue, once one does; raises a BrokerError where it ends."""
        while True:
            channel = await connection.channel(confirms=True)
            try:
                await channel.declare_queue(QUEUE, exclusive=True)
            except errors.QueueLocked:
                self.leader = await ask_leader(connection)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                await channel.consume(QUEUE, 1, partial(self._answer, channel))
                self.leader = None
                return channel

    def _answer(self, channel: Channel, question: Message) -> None:
        channel.ack(question.tag)
        if question.properties.reply_to:
            me = self._me.encode()
            channel.publish("", question.properties.reply_to, me, Properties(persistent=False))


async def ask_leader(connection: Connection) -> str:
    """Who holds the queue, in words; "" where nobody answers."""
    channel = await connection.channel(confirms=True)
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def take(message: Message) -> None:
        if not answer.done():
            answer.set_result(message.body[:200].decode("utf-8", "replace"))

    with contextlib.suppress(errors.BrokerError, TimeoutError):
        await channel.consume(_ANSWERS, 0, take, no_ack=True)
        question = Properties(reply_to=_ANSWERS, persistent=False, expiration="1000")
        channel.publish("", QUEUE, b"", question)
        async with asyncio.timeout(_ANSWER_SECONDS):
            await answer
    await channel.close()
    text = answer.result() if answer.done() and not answer.cancelled() else ""
    return text if text.isprintable() else ""
