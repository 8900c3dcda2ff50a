"""A channel of a RabbitMQ connection: declare, publish with confirms, consume.

An ack counts as a confirm only where no return came before it. A consumer that the broker cancels
ends its channel. Answers on a channel that has ended are dropped: the broker has requeued what was
delivered there. Callers see our errors only, never pika's.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pika
from pika.channel import Channel as RawChannel
from pika.exceptions import AMQPError, ChannelClosed, ConnectionClosed

from tixd import errors
from tixd.amqp.frames import DELIVERY_MODES, content_frames, publish_frame
from tixd.amqp.messages import Declared, Message, Properties
from tixd.runtime import tasks

#: Longest wait for the reply to a request.
REPLY_SECONDS = 10.0

#: Errors by reply code of AMQP 0.9.1 (section 1.2 of the specification); others: unavailable.
_MEANINGS = {
    403: errors.BrokerRejected,
    404: errors.NotDeclared,
    405: errors.QueueLocked,
    406: errors.BrokerRejected,
    530: errors.BrokerRejected,
}

#: Text of the broker or the kernel as pika quotes it when a connection ends.
_QUOTED = re.compile(
    r"""^\w+: \((?:\d+\) '(.*)'|"Stream connection lost: (.*)",\)|'(.*)',\))$""", re.DOTALL
)

#: Text of the kernel as Python quotes it.
_KERNEL = re.compile(r"^\w+\(\d+, '(.*)'\)$")

#: The reason of a connection that ended because of a certificate, ours or the broker's.
_CERTIFICATE = re.compile(r"\[SSL: \w*CERT")

#: Done, with the reason, once a channel or connection has ended.
Ended = asyncio.Future[errors.BrokerError]

_T = TypeVar("_T")


def to_broker_error(reason: BaseException) -> errors.BrokerError:
    """Translate what pika, the broker or the kernel raised into one of our errors."""
    if isinstance(reason, errors.BrokerError):
        return reason
    if isinstance(reason, (ChannelClosed, ConnectionClosed)):
        return _MEANINGS.get(reason.reply_code, errors.BrokerUnavailable)(reason.reply_text)
    inner = [*getattr(reason, "exceptions", ()), getattr(reason, "exception", None), *reason.args]
    causes = [cause for cause in inner if isinstance(cause, BaseException)]
    if causes:
        return to_broker_error(causes[-1])
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    refused = "Probable" in type(reason).__name__ or _CERTIFICATE.search(text)
    kind = errors.BrokerRejected if refused else errors.BrokerUnavailable
    text = _KERNEL.sub(r"\1", _QUOTED.sub(r"\1\2\3", text))
    return kind(text.replace("Transport indicated EOF", "the other side ended the connection"))


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise errors of pika and the kernel as ours."""
    try:
        yield
    except (AMQPError, OSError) as error:
        raise to_broker_error(error) from error


def resolve(future: asyncio.Future[Any], result: Any) -> None:
    """Set the result of a future, unless it has one or was cancelled."""
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: errors.BrokerError) -> None:
    """Let the future fail; nobody needs to wait for it."""
    future.set_exception(error)
    future.exception()  # else asyncio logs that nobody did


@dataclass(slots=True)
class _Unconfirmed:
    """A published message without an answer; `mark` identifies it in a return."""

    mark: tuple[str, str, str]
    confirmed: asyncio.Future[None]
    returned: str = ""


class Channel:
    """An open channel; `ended` is done, with the reason, once it has closed."""

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
        """Count the messages that were published and have no answer yet."""
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
        """Declare a queue, or with `passive` look at it; the broker names one without a name.

        Raises NotDeclared, QueueLocked, BrokerRejected (other arguments); each ends the channel.
        """
        frame = await self._call(
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
        """Declare an exchange, or with `passive` look for it; raises as `declare_queue` does."""
        await self._call(
            self._raw.exchange_declare,
            exchange=name,
            exchange_type=kind,
            passive=passive,
            durable=durable,
            auto_delete=auto_delete,
        )

    async def bind_queue(self, queue: str, exchange: str, key: str) -> None:
        """Route messages of the exchange with this key to the queue."""
        request = self._raw.queue_bind
        await self._call(request, queue=queue, exchange=exchange, routing_key=key)

    # --- publishing ------------------------------------------------------------------------------

    async def confirm(self) -> None:
        """Have the broker confirm everything that is published from now on."""
        selected: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        with translated():
            self._raw.confirm_delivery(self._on_answer, callback=partial(resolve, selected))
        await self.wait_reply(selected)

    def publish(
        self, exchange: str, key: str, body: bytes, properties: Properties
    ) -> asyncio.Future[None]:
        """Publish a mandatory message; the future is done once the broker has it.

        It fails with MessageReturned, MessageRefused or another BrokerError. It has no deadline:
        the caller sets one.
        """
        confirmed: asyncio.Future[None] = self.ended.get_loop().create_future()
        if self.ended.done():
            _fail(confirmed, self.ended.result())
            return confirmed
        with translated():
            self._emit(exchange, key, body, properties, mandatory=True)
        self._published += 1  # the broker counts only what it gets
        mark = (exchange, key, properties.message_id)
        self._unconfirmed[self._published] = _Unconfirmed(mark, confirmed)
        return confirmed

    def send(self, exchange: str, key: str, body: bytes, properties: Properties) -> None:
        """Publish a message that may be lost: where no queue is bound, or the channel has ended."""
        with contextlib.suppress(AMQPError):
            self._emit(exchange, key, body, properties, mandatory=False)

    def _emit(
        self, exchange: str, key: str, body: bytes, properties: Properties, *, mandatory: bool
    ) -> None:
        """Do what pika's basic_publish does, with frames of ours; raises AMQPError."""
        raw, connection = self._raw, self._raw.connection
        raw._raise_if_not_open()  # noqa: SLF001
        method = publish_frame(raw.channel_number, exchange, key, mandatory=mandatory)
        most = connection._body_max_length  # noqa: SLF001
        content = content_frames(raw.channel_number, body, properties, most)
        connection._output_marshaled_frames([method + content])  # noqa: SLF001

    def _on_returned(self, _: Any, method: Any, properties: Any, __: bytes) -> None:
        """Mark the message; returns come in the order of publishing, each before its ack."""
        mark = (method.exchange, method.routing_key, properties.message_id or "")
        for message in self._unconfirmed.values():
            if message.mark == mark and not message.returned:
                message.returned = _without_queue(method.exchange, method.routing_key)
                return

    def _on_answer(self, frame: Any) -> None:
        method, tag = frame.method, frame.method.delivery_tag
        tags = [t for t in self._unconfirmed if t <= tag] if method.multiple else [tag]
        for answered in tags:
            message = self._unconfirmed.pop(answered, None)
            if message is None or message.confirmed.done():
                continue
            if isinstance(method, pika.spec.Basic.Nack):
                _fail(message.confirmed, errors.MessageRefused("negative confirm"))
            elif message.returned:
                _fail(message.confirmed, errors.MessageReturned(message.returned))
            else:
                message.confirmed.set_result(None)

    # --- consuming -------------------------------------------------------------------------------

    async def consume(
        self,
        queue: str,
        prefetch: int,
        on_message: Callable[[Message], None],
        *,
        no_ack: bool = False,
    ) -> str:
        """Call `on_message` with each message of the queue; return the consumer's tag.

        At most `prefetch` messages (0: any number) are delivered without an answer; with `no_ack`
        none needs one.
        """
        await self._call(self._raw.basic_qos, prefetch_count=prefetch)
        frame = await self._call(
            self._raw.basic_consume,
            queue=queue,
            on_message_callback=partial(self._on_message, on_message),
            auto_ack=no_ack,
        )
        return str(frame.method.consumer_tag)

    @staticmethod
    def _on_message(
        on_message: Callable[[Message], None], _: Any, method: Any, properties: Any, body: bytes
    ) -> None:
        try:
            on_message(Message(method.delivery_tag, body, _from_raw(properties)))
        except errors.BrokerError:
            pass  # the channel is ending
        except Exception as error:  # noqa: BLE001 - in pika it would end the connection
            tasks.report(error, "handling of a message")

    async def cancel(self, consumer: str) -> None:
        """Stop deliveries; messages that were delivered may still be answered."""
        reply = self._send(self._raw.basic_cancel, consumer_tag=consumer)
        await self.wait_reply(reply, stays_open=True)

    def ack(self, tag: int) -> None:
        """Acknowledge a message."""
        with contextlib.suppress(AMQPError):
            self._raw.basic_ack(tag)

    def nack(self, tag: int) -> None:
        """Requeue a message for another consumer."""
        with contextlib.suppress(AMQPError):
            self._raw.basic_nack(tag, requeue=True)

    # --- requests ----------------------------------------------------------------------------

    def _send(self, request: Callable[..., Any], **values: Any) -> asyncio.Future[Any]:
        """Send a request of pika with these values; the future will be the broker's reply."""
        reply: asyncio.Future[Any] = self.ended.get_loop().create_future()
        with translated():
            request(**values, callback=partial(resolve, reply))
        return reply

    async def _call(self, request: Callable[..., Any], **values: Any) -> Any:
        """Send a request of pika with these values and return the broker's reply."""
        return await self.wait_reply(self._send(request, **values))

    async def wait_reply(self, reply: asyncio.Future[_T], *, stays_open: bool = False) -> _T:
        """Return the reply; raise the reason of an end that comes first, or BrokerUnavailable.

        A channel without an answer in time is closed, unless it `stays_open`: else each try would
        leave one behind.
        """
        both: set[asyncio.Future[Any]] = {reply, self.ended}
        await asyncio.wait(both, timeout=REPLY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if reply.done():
            return reply.result()
        if self.ended.done():
            raise self.ended.result()
        if not stays_open:
            self._close()
        raise errors.BrokerUnavailable(f"no answer within {REPLY_SECONDS:.0f} s")

    # --- end ---------------------------------------------------------------------------------

    async def close(self) -> None:
        """Close it; the broker requeues messages that were delivered and not answered."""
        self._close()
        await asyncio.wait({self.ended}, timeout=REPLY_SECONDS)

    def _close(self) -> None:
        with contextlib.suppress(AMQPError):
            self._raw.close()

    def _on_cancelled(self, _: Any) -> None:
        self._end(errors.BrokerUnavailable("it has cancelled the consumer: the queue is gone"))
        self._close()

    def _end(self, reason: errors.BrokerError) -> None:
        resolve(self.ended, reason)
        unconfirmed = self._unconfirmed
        self._unconfirmed = {}
        for message in unconfirmed.values():
            if not message.confirmed.done():
                _fail(message.confirmed, type(reason)(reason.detail))


def _without_queue(exchange: str, key: str) -> str:
    """Say which queue a returned message lacks; the default exchange (no name) has one per key."""
    if not exchange:
        return f"there is no queue {key or 'without a name'}"
    return f"no queue is bound to exchange {exchange}{f' for routing key {key}' if key else ''}"


#: Properties that are texts here; an empty one is absent in the message.
_TEXTS = (
    "content_type", "content_encoding", "correlation_id", "reply_to", "expiration", "message_id",
)  # fmt: skip


def _from_raw(raw: Any) -> Properties:
    return Properties(
        headers=raw.headers or {},
        persistent=raw.delivery_mode == DELIVERY_MODES[True],
        **{name: getattr(raw, name) or "" for name in _TEXTS},
    )
