"""The sink that publishes to an exchange of an AMQP 0.9.1 broker.

Each bundle in flight has a channel of its own, so that returns and refusals there are its own; it
is published as a whole, then its confirms are awaited together. An exchange is used as found and
declared only where it is missing. A confirmed probe every few seconds shows that the broker takes
messages, because a blocked one says so only to a publisher.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence

from tixd import errors, logs
from tixd.amqp.channel import Channel
from tixd.amqp.connection import Connection
from tixd.amqp.messages import Endpoint, Properties, SettingNames, Tls
from tixd.amqp.supervised import BrokerProbe, SupervisedConnection
from tixd.config.collector_settings import CollectorSettings, Format
from tixd.runtime import tasks
from tixd.runtime.retry import Retry
from tixd.sinks.base import OutboundMessage, too_large

#: How often a probe is published.
PROBE_SECONDS = 10.0

#: A connection that is not blocked and has confirmed nothing for so long is dropped.
SILENCE_SECONDS = 30.0

#: Messages published before other tasks run.
SLICE = 100

#: Most channels without a bundle that stay open for the next.
MAX_IDLE_CHANNELS = 32

#: How operators name the settings of the broker.
NAMES = SettingNames(
    "AMQP.host",
    "AMQP.port",
    "AMQP.user",
    "AMQP.password",
    "AMQP.vhost",
    "AMQP.caFile, AMQP.certFile, AMQP.keyFile",
)

#: What RabbitMQ says of a message that is larger than its max_message_size.
_TOO_LARGE = re.compile(r"message size \d+ is larger than (?:configured )?max size (\d+)")


class AmqpSink:
    """Publishes to the exchange that the settings name."""

    name = "AMQP"

    def __init__(self, settings: CollectorSettings) -> None:
        self.format: Format = settings.amqp_format
        self.last_confirmed_at: float | None = None
        self.target = f"{endpoint(settings)}, {_route(settings)}"
        self._settings = settings
        retry = Retry(settings.amqp_retry_seconds, settings.amqp_max_retry_seconds)
        self._link = SupervisedConnection(
            endpoint(settings), "tixd collector", self._on_connected, retry
        )
        self._running: asyncio.Task[None] | None = None
        self._idle: list[Channel] = []
        self._declared = False
        self._largest_bytes: int | None = None

    async def start(self) -> None:
        """Connect, and again whenever the connection is lost."""
        self._running = tasks.start_loop(self._link.run, "connection to AMQP")

    async def stop(self) -> None:
        """Close the connection."""
        if self._running:
            await tasks.end(self._running)

    def unready_reason(self) -> str | None:
        """Return that the broker is away, or accepts nothing at the moment."""
        connection = self._link.connection
        if connection is None:
            return self._link.outage
        return f"the broker accepts nothing: {connection.blocked}" if connection.blocked else None

    def retry_now(self) -> None:
        """Try to connect now, unless it was tried a moment ago."""
        if self._link.connection is None:
            self._link.retry_now()

    def reload(self, settings: CollectorSettings) -> None:
        """Use this password and these TLS files from the next connection on."""
        self._link.set_endpoint(endpoint(settings))

    def check(self, messages: Sequence[OutboundMessage]) -> None:
        """Raise TooLargeForOutput where a message is over the broker's known limit."""
        most = self._largest_bytes
        for message in messages:
            if most is not None and len(message.body) > most:
                limit = f"the broker's max_message_size is {most}"
                raise too_large(self.name, message, len(message.body), limit)

    async def publish(self, messages: Sequence[OutboundMessage]) -> None:
        """Publish all, then wait until all are confirmed; raises Unavailable."""
        try:
            await self._publish(messages)
        except errors.BrokerError as error:
            raise errors.Unavailable(f"{self.name}: {error}") from error

    async def _publish(self, messages: Sequence[OutboundMessage]) -> None:
        connection = self._link.connection
        if connection is None:
            raise errors.BrokerUnavailable(self._link.outage or "")
        channel = await self._channel(connection)
        try:
            await self._publish_on(channel, messages)
        except errors.NotDeclared:
            self._declared = False
            raise
        except errors.BrokerRejected as error:
            self._learn_limit(error)
            self.check(messages)
            raise
        finally:
            self._release(channel)
        self.last_confirmed_at = time.monotonic()

    def _learn_limit(self, error: errors.BrokerRejected) -> None:
        """Remember the limit that the broker names when it rejects a larger message."""
        if found := _TOO_LARGE.search(error.detail):
            self._largest_bytes = int(found[1])
            logs.warning("message_too_large", connection=self.name, reason=error.detail)

    async def _publish_on(self, channel: Channel, messages: Sequence[OutboundMessage]) -> None:
        """Publish all; raise what the broker said of the first message that it did not take."""
        exchange, key = self._settings.amqp_exchange, self._settings.amqp_routing_key
        confirms = []
        for number, message in enumerate(messages, 1):
            properties = Properties(message.content_type, message_id=message.message_id)
            confirms.append(channel.publish(exchange, key, message.body, properties))
            if not number % SLICE:
                await asyncio.sleep(0)
        failures = []
        for confirm in confirms:
            try:
                await confirm
            except errors.BrokerError as error:
                failures.append(error)
        if failures:
            raise next((f for f in failures if _TOO_LARGE.search(f.detail)), failures[0])

    # --- channels -------------------------------------------------------------------------------

    async def _channel(self, connection: Connection) -> Channel:
        """Return a channel for one bundle, once the exchange is there."""
        if not self._declared:
            await self._declare(connection)
        while self._idle:
            channel = self._idle.pop()
            if not channel.ended.done():
                return channel
        return await connection.channel(confirms=True)

    def _release(self, channel: Channel) -> None:
        """Keep the channel for the next bundle, or close one that still owes a confirm."""
        if channel.ended.done():
            return
        if not channel.unconfirmed and len(self._idle) < MAX_IDLE_CHANNELS:
            self._idle.append(channel)
            return
        tasks.start(channel.close(), "closing of a channel")

    async def _declare(self, connection: Connection) -> None:
        """Declare the exchange where it is missing."""
        name, kind = self._settings.amqp_exchange, self._settings.amqp_exchange_type
        if name:
            channel = await connection.channel()
            try:
                await channel.declare_exchange(name, kind, passive=True)
            except errors.NotDeclared:
                channel = await connection.channel()
                durable, auto_delete = self._settings.amqp_durable, self._settings.amqp_auto_delete
                await channel.declare_exchange(name, kind, durable=durable, auto_delete=auto_delete)
                logs.info("exchange_declared", exchange=name, type=kind)
            await channel.close()
        self._declared = True

    # --- the connection's life ------------------------------------------------------------------

    async def _on_connected(self, connection: Connection) -> None:
        """Serve bundles with a new connection until it fails."""
        self._idle.clear()
        self._declared = False
        self._largest_bytes = None
        await self._declare(connection)
        try:
            probe = await BrokerProbe.open(connection)
        except errors.BrokerRejected as error:
            logs.warning("probe_denied", reason=str(error))
            await self._without_probes(connection)
        else:
            await self._with_probes(connection, probe)

    async def _with_probes(self, connection: Connection, probe: BrokerProbe) -> None:
        """Raise BrokerUnavailable once it is not blocked and has confirmed nothing for too long."""
        seconds = SILENCE_SECONDS
        while True:
            reason = await probe.confirm(seconds)
            seconds = SILENCE_SECONDS
            if reason is None:
                self.last_confirmed_at = time.monotonic()
                self._link.mark_ready(connection)
                await asyncio.sleep(PROBE_SECONDS)
            elif not connection.blocked:
                seconds -= time.monotonic() - (self.last_confirmed_at or 0.0)
                if seconds <= 0:
                    raise errors.BrokerUnavailable(f"no confirm within {SILENCE_SECONDS:.0f} s")

    async def _without_probes(self, connection: Connection) -> None:
        """Trust the open connection, where the user may declare no queue."""
        self._link.mark_ready(connection)
        while True:
            if not connection.blocked:
                self.last_confirmed_at = time.monotonic()
            await asyncio.sleep(PROBE_SECONDS)


def _route(settings: CollectorSettings) -> str:
    """Name the exchange and the key of every record; the default exchange leads to a queue."""
    exchange, key = settings.amqp_exchange, settings.amqp_routing_key
    if not exchange:
        return f"queue {key}"
    return f"exchange {exchange}{f', routing key {key}' if key else ''}"


def endpoint(settings: CollectorSettings) -> Endpoint:
    """Return the endpoint that the settings name."""
    files = Tls(settings.amqp_ca_file, settings.amqp_cert_file, settings.amqp_key_file)
    return Endpoint(
        settings.amqp_host,
        settings.amqp_port,
        settings.amqp_user,
        settings.amqp_password,
        settings.amqp_vhost or "/",
        files if settings.amqp_scheme == "amqps" else None,
        NAMES,
    )
