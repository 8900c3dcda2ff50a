"""A channel of a RabbitMQ connection: declares, publishes with confirms, consumes.

In: what is to be declared or published, who takes what arrives. Out: confirms, Messages. Rules: an
ack counts as a confirm only where no return came before it; a consumer that the broker cancels
ends its channel; what is said to a channel that has ended is dropped, since the broker has put
back already what was delivered on it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pika
from pika.channel import Channel as RawChannel
from pika.exceptions import AMQPError

from tixd import errors
from tixd.amqp.calls import Ended, call, resolve, to_broker_error, translated, wait_reply
from tixd.amqp.messages import Declared, Message, Properties
from tixd.runtime import tasks

#: Persistent or not, as AMQP's delivery-mode says it.
_DELIVERY_MODES = {True: 2, False: 1}


@dataclass(slots=True)
class _Unconfirmed:
    """A message without an answer yet; `mark` is what a return tells of it."""

    mark: tuple[str, str, str]
    confirmed: asyncio.Future[None]
    returned: str = ""


class Channel:
    """An open channel; `ended` is done, with the reason, once it is not that any more."""

    def __init__(self, raw: RawChannel) -> None:
        self._raw = raw
        self.ended: Ended = asyncio.get_running_loop().create_future()
        self._published = 0
        self._unconfirmed: dict[int, _Unconfirmed] = {}
        raw.add_on_close_callback(lambda _, reason: self._end(to_broker_error(reason)))
        raw.add_on_cancel_callback(self._on_cancelled)
        raw.add_on_return_callback(self._on_returned)

    @property
    def unconfirmed(self) -> int:
        """How many messages were published and not answered for yet."""
        return len(self._unconfirmed)

    async def declare_queue(
        self,
        name: str,
        *,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> Declared:
        """Make a queue, or with `passive` only look at it; an empty name lets the broker choose.

        Raises NotDeclared, QueueLocked, BrokerRejected (other arguments); each ends the channel.
        """
        frame = await call(
            self.ended,
            self._raw.queue_declare,
            queue=name,
            passive=passive,
            durable=durable,
            exclusive=exclusive,
            auto_delete=auto_delete,
            arguments=arguments,
        )
        found = frame.method
        return Declared(found.queue, found.message_count, found.consumer_count)

    async def declare_exchange(
        self,
        name: str,
        kind: str,
        *,
        passive: bool = False,
        durable: bool = False,
        auto_delete: bool = False,
    ) -> None:
        """Make an exchange, or with `passive` only look whether there is one; raises as a queue."""
        await call(
            self.ended,
            self._raw.exchange_declare,
            exchange=name,
            exchange_type=kind,
            passive=passive,
            durable=durable,
            auto_delete=auto_delete,
        )

    async def bind_queue(self, queue: str, exchange: str, key: str) -> None:
        """Let what the exchange gets with this routing key go to the queue."""
        request = self._raw.queue_bind
        await call(self.ended, request, queue=queue, exchange=exchange, routing_key=key)

    # --- publishing ------------------------------------------------------------------------------

    async def confirm(self) -> None:
        """Have everything that is published from now on confirmed."""
        selected: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        with translated():
            self._raw.confirm_delivery(self._on_answer, callback=partial(resolve, selected))
        await wait_reply(selected, self.ended)

    def publish(
        self, exchange: str, key: str, body: bytes, properties: Properties
    ) -> asyncio.Future[None]:
        """Publish a message, mandatory; the future is done once the broker has it.

        It gets MessageReturned, MessageRefused or BrokerUnavailable else. It has no deadline: the
        caller sets one.
        """
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        confirmed.add_done_callback(lambda future: future.cancelled() or future.exception())
        if self.ended.done():
            confirmed.set_exception(self.ended.result())
            return confirmed
        with translated():
            self._raw.basic_publish(exchange, key, body, _raw(properties), mandatory=True)
        self._published += 1  # the broker counts only what it gets
        mark = (exchange, key, properties.message_id)
        self._unconfirmed[self._published] = _Unconfirmed(mark, confirmed)
        return confirmed

    def _on_returned(self, _: Any, method: Any, properties: Any, __: bytes) -> None:
        """The broker returns in the order of publishing, each before it is acknowledged."""
        mark = (method.exchange, method.routing_key, properties.message_id or "")
        for message in self._unconfirmed.values():
            if message.mark == mark and not message.returned:
                message.returned = f"{method.reply_text} {mark[0]!r} {mark[1]!r}"
                return

    def _on_answer(self, frame: Any) -> None:
        method, tag = frame.method, frame.method.delivery_tag
        tags = [t for t in self._unconfirmed if t <= tag] if method.multiple else [tag]
        for answered in tags:
            message = self._unconfirmed.pop(answered, None)
            if message is None or message.confirmed.done():
                continue
            if isinstance(method, pika.spec.Basic.Nack):
                message.confirmed.set_exception(errors.MessageRefused("negative confirm"))
            elif message.returned:
                message.confirmed.set_exception(errors.MessageReturned(message.returned))
            else:
                message.confirmed.set_result(None)

    # --- consuming -------------------------------------------------------------------------------

    async def consume(
        self, queue: str, prefetch: int, take: Callable[[Message], None], *, no_ack: bool = False
    ) -> str:
        """Have what the queue holds delivered; the consumer's tag.

        At most `prefetch` messages (0: any number) are delivered without an answer; with `no_ack`
        none needs one.
        """
        await call(self.ended, self._raw.basic_qos, prefetch_count=prefetch)
        frame = await call(
            self.ended,
            self._raw.basic_consume,
            queue=queue,
            on_message_callback=partial(self._on_message, take),
            auto_ack=no_ack,
        )
        return str(frame.method.consumer_tag)

    @staticmethod
    def _on_message(
        take: Callable[[Message], None], _: Any, method: Any, properties: Any, body: bytes
    ) -> None:
        try:
            take(Message(method.delivery_tag, body, _ours(properties)))
        except errors.BrokerError:
            pass  # of a channel that is ending
        except Exception as error:  # noqa: BLE001 - in pika it would end the connection
            tasks.report(error, "taking of a message")

    async def cancel(self, consumer: str) -> None:
        """Have nothing delivered any more; what was delivered may still be answered."""
        await call(self.ended, self._raw.basic_cancel, consumer_tag=consumer)

    def ack(self, tag: int) -> None:
        """That message is done with."""
        with contextlib.suppress(AMQPError):
            self._raw.basic_ack(tag)

    def give_back(self, tag: int) -> None:
        """That message is for somebody else."""
        with contextlib.suppress(AMQPError):
            self._raw.basic_nack(tag, requeue=True)

    # --- its end ---------------------------------------------------------------------------------

    async def close(self) -> None:
        """End it; what was delivered and not answered goes back to its queue."""
        with contextlib.suppress(AMQPError, errors.BrokerError):
            self._raw.close()
            await wait_reply(self.ended, self.ended)

    def _on_cancelled(self, _: Any) -> None:
        self._end(errors.BrokerUnavailable("it has cancelled the consumer: the queue is gone"))
        with contextlib.suppress(AMQPError):
            self._raw.close()

    def _end(self, reason: errors.BrokerError) -> None:
        resolve(self.ended, reason)
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        for message in unconfirmed.values():
            if not message.confirmed.done():
                message.confirmed.set_exception(type(reason)(reason.detail))


#: Properties that are a text here and, where it is empty, absent in a message.
_TEXTS = (
    "content_type", "content_encoding", "correlation_id", "reply_to", "expiration", "message_id",
)  # fmt: skip


def _raw(properties: Properties) -> pika.BasicProperties:
    return pika.BasicProperties(
        headers=dict(properties.headers) or None,
        delivery_mode=_DELIVERY_MODES[properties.persistent],
        **{name: getattr(properties, name) or None for name in _TEXTS},
    )


def _ours(raw: Any) -> Properties:
    return Properties(
        headers=raw.headers or {},
        persistent=raw.delivery_mode == _DELIVERY_MODES[True],
        **{name: getattr(raw, name) or "" for name in _TEXTS},
    )
