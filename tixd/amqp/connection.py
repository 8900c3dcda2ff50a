"""One connection to RabbitMQ, from the handshake to its end.

Opening has a deadline. Nothing is tried again here: supervised.py does that. Heartbeats go on as
long as the event loop runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from functools import partial
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import AMQPError

from tixd import errors, logs
from tixd.amqp.channel import Channel, Ended, resolve, to_broker_error, translated
from tixd.amqp.messages import Endpoint, Tls
from tixd.amqp.pika_patches import apply_pika_patches
from tixd.runtime import tasks

#: Heartbeat that we ask for: a frozen broker is noticed after 15 s.
HEARTBEAT_SECONDS = 10

#: Longest time to connect, from the name's look-up to the open virtual host.
CONNECT_SECONDS = 10.0

#: Longest wait for a clean close before heartbeats and the kernel have to notice.
CLOSE_SECONDS = 2.0

apply_pika_patches()


class _PikaHandler(logging.Handler):
    """Take what pika logs of each try, often a traceback: supervised.py logs what matters."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception) and not isinstance(error, AMQPError | OSError):
            tasks.report(error, "pika")
        else:
            logs.debug("pika", reason=record.getMessage())


_LOGGER = logging.getLogger("pika")
_LOGGER.handlers = [_PikaHandler(logging.WARNING)]
_LOGGER.propagate = False


async def connect(endpoint: Endpoint, name: str) -> Connection:
    """Open a connection; `name` is what the broker's own tools show.

    Raises BrokerUnavailable where nothing answers, BrokerRejected where the broker refuses the
    login or a certificate cannot be used.
    """
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[BaseException | None] = loop.create_future()
    ended: Ended = loop.create_future()
    raw = AsyncioConnection(
        _parameters(endpoint, name),
        on_open_callback=lambda _: resolve(opened, None),
        on_open_error_callback=lambda _, reason: resolve(opened, reason),
        on_close_callback=lambda _, reason: resolve(ended, to_broker_error(reason)),
        custom_ioloop=loop,
    )
    try:
        await asyncio.wait({opened}, timeout=CONNECT_SECONDS)
    finally:
        if not opened.done():
            with contextlib.suppress(AMQPError):
                raw.close()
    reason = opened.result() if opened.done() else TimeoutError("no connection in time")
    if reason:
        raise to_broker_error(reason)
    return Connection(raw, ended, name)


def _parameters(endpoint: Endpoint, name: str) -> pika.ConnectionParameters:
    return pika.ConnectionParameters(
        host=endpoint.host,
        port=endpoint.port,
        virtual_host=endpoint.vhost,
        credentials=pika.PlainCredentials(endpoint.user, endpoint.password.reveal()),
        heartbeat=HEARTBEAT_SECONDS,
        socket_timeout=CONNECT_SECONDS / 2,
        stack_timeout=CONNECT_SECONDS,
        client_properties={"connection_name": name, "product": "tixd"},
        ssl_options=_ssl(endpoint, endpoint.tls) if endpoint.tls else None,
    )


def _ssl(endpoint: Endpoint, tls: Tls) -> pika.SSLOptions:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file or None)
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file or None)
    except OSError as error:
        files = " or ".join(filter(None, [tls.ca_file, tls.cert_file, tls.key_file]))
        raise errors.BrokerRejected(f"cannot use {files}: {error.strerror or error}") from error
    return pika.SSLOptions(context, endpoint.host)


class Connection:
    """An open connection.

    ended: done, with the reason, once it has closed; blocked: why it accepts no messages now
    (memory, disk). It says so only after something was published.
    """

    def __init__(self, raw: AsyncioConnection, ended: Ended, name: str) -> None:
        self.ended = ended
        self.blocked: str | None = None
        self._raw = raw
        self._name = name
        raw.add_on_connection_blocked_callback(self._on_blocked)
        raw.add_on_connection_unblocked_callback(self._on_unblocked)

    def _on_blocked(self, _: Any, frame: Any) -> None:
        self.blocked = frame.method.reason or "blocked"
        logs.warning("broker_blocked", connection=self._name, reason=self.blocked)

    def _on_unblocked(self, *_: Any) -> None:
        self.blocked = None
        logs.info("broker_unblocked", connection=self._name)

    async def channel(self, *, confirms: bool = False) -> Channel:
        """Open a channel; with `confirms` the broker confirms what is published there."""
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        with translated():
            raw = self._raw.channel(on_open_callback=partial(resolve, opened))
        channel = Channel(raw)
        await channel.wait_reply(opened)
        if confirms:
            await channel.confirm()
        return channel

    async def close(self) -> None:
        """Close it; do not wait long for a broker that does not answer."""
        with contextlib.suppress(AMQPError):
            self._raw.close()
            await asyncio.wait({self.ended}, timeout=CLOSE_SECONDS)
