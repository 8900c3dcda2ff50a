"""Check RabbitMQ, and what the collector publishes to: AMQP, Kafka, a file.

Rules: queues, exchanges, topics and files are only read, none is created; what is published goes to
a queue of our own; the broker's errors are shown without the password.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from tixd import errors
from tixd.amqp.connection import Connection, connect
from tixd.amqp.messages import Endpoint
from tixd.amqp.outage import why_not_connected
from tixd.amqp.supervised import PROBE_PREFIX, BrokerProbe
from tixd.config.collector_settings import CollectorSettings
from tixd.config.settings import Settings
from tixd.diagnostics.host import explain_denial, make_and_remove
from tixd.directory import Folder, why_no_folder
from tixd.dispatch.leader import ask_holder, is_held
from tixd.queues.publisher import JOBS
from tixd.roles.collector import kafka_sink
from tixd.roles.processing import endpoint
from tixd.sinks import amqp as amqp_sink
from tixd.sinks.json_lines import LinesSink

#: How long all requests to a broker may take.
ANSWER_SECONDS = 9.0

#: How long a confirm may take; a broker short of memory or disk gives none.
CONFIRM_SECONDS = 3.0

#: How long Kafka's brokers may take to find the topic. Where none listens, all of it passes, and it
#: must fit into the deadline of the checks together with loading the library.
KAFKA_SECONDS = 5.0

#: Describes what it finds; raises a BrokerError or Unusable.
Look = Callable[[Connection], Awaitable[str]]


def check_rabbitmq(settings: Settings) -> str:
    """Check RabbitMQ as dispatcher and worker need it."""

    async def look(connection: Connection) -> str:
        found = [await _jobs(connection)]
        if settings.role == "dispatcher":
            found.append(await _leader(connection))
        await _check_confirms(await BrokerProbe.open(connection, PROBE_PREFIX))
        return "; ".join([*found, "a message to a queue of our own was confirmed"])

    return asyncio.run(look_at(endpoint(settings), look, "TIX_RABBITMQ_*"))


async def look_at(where: Endpoint, look: Look, names: str) -> str:
    """Return what `look` finds on a connection; raises Unusable with these names of settings."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            connection = await connect(where, "tixd check-config")
            try:
                found = await look(connection)
            finally:
                await connection.close()
    except TimeoutError:
        raise errors.Unusable(
            f"{where}: no answer within {ANSWER_SECONDS:.0f} s:"
            f" see its log, firewalls on the way, and {names}"
        ) from None
    except errors.BrokerError as error:
        told = type(error)(_without_password(error, where))
        raise errors.Unusable(f"{where}: {why_not_connected(told, where)}") from None
    return f"{where} lets user {where.user} in; {found}"


def _without_password(error: errors.BrokerError, where: Endpoint) -> str:
    """Return the broker's error without our password, unless the user name is the same."""
    secret = where.password.reveal()
    return error.detail.replace(secret, "***") if secret not in ("", where.user) else error.detail


async def _check_confirms(probe: BrokerProbe) -> None:
    """Raise Unusable where the broker does not confirm messages.

    A broker short of memory or disk still accepts the first, and only then blocks the connection.
    """
    for _ in range(2):
        if reason := await probe.confirm(CONFIRM_SECONDS):
            raise errors.Unusable(f"the broker accepts no messages ({reason}): free memory or disk")


async def _jobs(connection: Connection) -> str:
    channel = await connection.channel()
    try:
        found = await channel.declare_queue(JOBS, passive=True)
    except errors.NotDeclared:
        return f"queue {JOBS} is not there yet, tixd will declare it"
    return f"queue {JOBS}: {found.messages} messages wait, {found.consumers} consumers"


async def _leader(connection: Connection) -> str:
    if not await is_held(connection):
        return "no dispatcher leads now"
    leader = await ask_holder(connection) or "a process"
    return f"{leader} leads now, another dispatcher would stand by"


# --- outputs of the collector --------------------------------------------------------------------


def check_amqp(settings: CollectorSettings) -> str:
    """Check the broker and look for the exchange."""

    async def look(connection: Connection) -> str:
        return f"{await _exchange(connection, settings)}; {await _confirms(connection)}"

    return asyncio.run(look_at(amqp_sink.endpoint(settings), look, "AMQP.*"))


def check_kafka(settings: CollectorSettings) -> str:
    """Ask Kafka for the topic."""
    reason = kafka_sink(settings).probe(KAFKA_SECONDS)
    where = f"{settings.kafka_brokers}, topic {settings.kafka_topic}"
    if reason:
        raise errors.Unusable(f"{where}: {reason}: see the brokers, kafka.brokers and kafka.topic")
    return f"{where}: is there"


def check_file(settings: CollectorSettings) -> str:
    """Check whether records can be appended to the file."""
    path = os.path.abspath(settings.file_path)
    if not os.path.lexists(path):
        folder = os.path.dirname(path)
        if problem := why_no_folder(folder, "file.path"):
            raise errors.Unusable(problem)
        with explain_denial(folder), Folder(folder, follow=True) as opened:
            make_and_remove(opened)
        return f"{path}: not there yet, can be made"
    sink = LinesSink(path, settings.file_max_bytes, settings.file_keep)
    if problem := sink.probe():
        raise errors.Unusable(f"{problem}: fix that, or correct file.path")
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
        probe = await BrokerProbe.open(connection)
    except errors.BrokerRejected:
        return "no message was tried, because the user may not declare a queue"
    await _check_confirms(probe)
    return "a message to a queue of our own was confirmed"
