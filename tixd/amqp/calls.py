"""How a request of pika, which calls back, becomes something to wait for, with a deadline.

In: a request, the future that says when its channel or connection has ended. Out: the answer, or
one of our errors. Rules: nothing of pika's own errors gets out.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from pika.exceptions import AMQPError, ChannelClosed, ConnectionClosed

from tixd import errors

#: How long the broker may take to answer a request.
ANSWER_SECONDS = 10.0

#: What reply codes of AMQP 0.9.1 (section 1.2 of the specification) mean here; else: away.
_MEANINGS = {
    403: errors.BrokerRejected,
    404: errors.NotDeclared,
    405: errors.QueueLocked,
    406: errors.BrokerRejected,
    530: errors.BrokerRejected,
}

#: How pika quotes what the broker, or the kernel, said when it ended a connection.
_QUOTED = re.compile(
    r"""^\w+: \((?:\d+\) '(.*)'|"Stream connection lost: (.*)",\)|'(.*)',\))$""", re.DOTALL
)

#: How Python quotes the kernel.
_KERNEL = re.compile(r"^\w+\(\d+, '(.*)'\)$")

#: How the end of a connection says that a certificate is the cause, ours or the broker's.
_CERTIFICATE = re.compile(r"\[SSL: \w*CERT")

#: Done, with the reason, once a channel or connection has ended.
Ended = asyncio.Future[errors.BrokerError]

_T = TypeVar("_T")


def to_broker_error(reason: BaseException) -> errors.BrokerError:
    """What pika, the broker or the kernel says, as one of our errors."""
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
    """Raises what pika and the kernel raise as one of our errors."""
    try:
        yield
    except (AMQPError, OSError) as error:
        raise to_broker_error(error) from error


def resolve(future: asyncio.Future[Any], result: Any) -> None:
    """Give the future its result, unless it has one, or nobody waits any more."""
    if not future.done():
        future.set_result(result)


async def wait_reply(answer: asyncio.Future[_T], ended: Ended) -> _T:
    """The answer, unless what gives it ends before, or takes too long: then BrokerUnavailable."""
    both: set[asyncio.Future[Any]] = {answer, ended}
    await asyncio.wait(both, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    if answer.done():
        return answer.result()
    if ended.done():
        raise ended.result()
    raise errors.BrokerUnavailable(f"no answer within {ANSWER_SECONDS:.0f} s")


async def call(ended: Ended, request: Callable[..., Any], **values: Any) -> Any:
    """The broker's answer to a request of pika, which is called with these values."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    with translated():
        request(**values, callback=partial(resolve, answer))
    return await wait_reply(answer, ended)
