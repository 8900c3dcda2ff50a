"""The collector's outputs: AMQP, Kafka, a file.

In: the collector's settings. Out: whether each would take records. Rules: no record is published;
an exchange or a file that is missing is not made.
"""

from __future__ import annotations

import asyncio
import os

from tixd import errors
from tixd.amqp.connection import Connection
from tixd.amqp.probe import probe_queue
from tixd.config.collector import CollectorSettings
from tixd.diagnostics.broker import check_confirms, looked
from tixd.diagnostics.whose import allowed, make_and_remove
from tixd.directory import Folder
from tixd.roles.collector import kafka_sink
from tixd.sinks.amqp import endpoint
from tixd.sinks.json_lines import LinesSink

#: How long Kafka's brokers may take to say whether the topic is there. All of it is taken where
#: nobody listens, and its library must be loaded before the try as a whole is called off.
KAFKA_SECONDS = 5.0


def amqp(settings: CollectorSettings) -> str:
    """Try the broker and look for the exchange."""

    async def look(connection: Connection) -> str:
        return f"{await _exchange(connection, settings)}; {await _confirms(connection)}"

    return asyncio.run(looked(endpoint(settings), look, "AMQP.*"))


def kafka(settings: CollectorSettings) -> str:
    """Ask for the topic."""
    reason = kafka_sink(settings).ask(KAFKA_SECONDS)
    where = f"{settings.kafka_brokers}, topic {settings.kafka_topic}"
    if reason:
        raise errors.Unusable(f"{where}: {reason}: see the brokers, kafka.brokers and kafka.topic")
    return f"{where}: is there"


def file(settings: CollectorSettings) -> str:
    """See whether records can be appended to it."""
    path = os.path.abspath(settings.file_path)
    if not os.path.lexists(path):
        folder = os.path.dirname(path)
        try:
            with allowed(folder), Folder(folder, follow=True) as opened:
                make_and_remove(opened)
        except errors.Vanished:
            raise errors.Unusable(f"{folder} is not there: make it, or correct file.path") from None
        return f"{path}: not there yet, can be made"
    sink = LinesSink(path, settings.file_max_bytes, settings.file_keep)
    if problem := sink.probe():
        raise errors.Unusable(f"{problem}: mend that, or correct file.path")
    return f"{path}: can be appended to"


async def _exchange(connection: Connection, settings: CollectorSettings) -> str:
    name, kind = settings.amqp_exchange, settings.amqp_exchange_type
    if not name:
        if settings.amqp_routing_key:
            return f"records go to the queue {settings.amqp_routing_key}"
        raise errors.Unusable(
            "AMQP.exchange and AMQP.routingKey are both empty, so no record arrives: set one"
        )
    channel = await connection.channel()
    try:
        await channel.declare_exchange(name, kind, passive=True)
    except errors.NotDeclared:
        return f"exchange {name} is not there, the collector will declare it ({kind})"
    return f"exchange {name} is there"


async def _confirms(connection: Connection) -> str:
    try:
        channel, queue = await probe_queue(connection)
    except errors.BrokerRefuses:
        return "no message was tried, because the user may make no queue of its own"
    await check_confirms(connection, channel, queue)
    return "a message to a queue of our own was confirmed"
