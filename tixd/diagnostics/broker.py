"""RabbitMQ: whether it lets us in, has what the role needs, and takes messages.

In: an Endpoint, or the settings. Out: what was found there. Rules: queues and exchanges are only
looked at; what is published goes to a queue of our own; what the broker says is said on without the
password.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tixd import errors
from tixd.amqp.channel import Channel
from tixd.amqp.connection import Connection, connect
from tixd.amqp.messages import Endpoint, Properties
from tixd.amqp.probe import probe_queue
from tixd.config.processing import Settings
from tixd.dispatch.broker_leader import QUEUE, ask_leader
from tixd.queues.jobs import JOBS
from tixd.queues.publisher import probe_name
from tixd.roles.broker import endpoint

#: How long all that is asked of a broker may take.
ANSWER_SECONDS = 9.0

#: How long a confirm may take; a broker short of memory or disk gives none.
CONFIRM_SECONDS = 3.0

#: Looks at what is there, in words; raises a BrokerError or Unusable.
Look = Callable[[Connection], Awaitable[str]]


def broker(settings: Settings) -> str:
    """Try it as dispatcher and worker need it."""

    async def look(connection: Connection) -> str:
        found = [await _jobs(connection)]
        if settings.role == "dispatcher":
            found.append(await _leader(connection))
        await check_confirms(connection, *await probe_queue(connection, probe_name()))
        return "; ".join([*found, "a message to a queue of our own was confirmed"])

    return asyncio.run(looked(endpoint(settings), look, "TIX_RABBITMQ_*"))


async def looked(where: Endpoint, look: Look, names: str) -> str:
    """What `look` finds on a connection; raises Unusable, with the settings that `names` names."""
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
    except errors.BrokerRefuses as error:
        raise errors.Unusable(
            f"{where} refuses: {_said(error, where)}: see user, password, virtual host,"
            f" certificates ({names}), and the user's rights there"
        ) from None
    except errors.BrokerError as error:
        said = _said(error, where)
        raise errors.Unusable(f"{where}: {said}: see whether it runs, and {names}") from None
    return f"{where} lets user {where.user} in; {found}"


def _said(error: errors.BrokerError, where: Endpoint) -> str:
    """What the broker said, without our password, unless that is what our user is called."""
    secret = where.password.reveal()
    return error.detail.replace(secret, "***") if secret not in ("", where.user) else error.detail


async def check_confirms(connection: Connection, channel: Channel, queue: str) -> None:
    """Raises Unusable where the broker does not confirm messages to this queue.

    One that is short of memory or disk still takes the first, and only then blocks the connection.
    """
    for _ in range(2):
        confirm = channel.publish("", queue, b"", Properties(persistent=False))
        await asyncio.wait([confirm], timeout=CONFIRM_SECONDS)
        if not confirm.done():
            reason = connection.blocked or f"no confirm within {CONFIRM_SECONDS:.0f} s"
            raise errors.Unusable(f"the broker takes no messages ({reason}): free some there")
        confirm.result()


async def _jobs(connection: Connection) -> str:
    """What the queue of jobs is like."""
    channel = await connection.channel()
    try:
        found = await channel.declare_queue(JOBS, passive=True)
    except errors.NotDeclared:
        return f"queue {JOBS} is not there yet, tixd will declare it"
    return f"queue {JOBS}: {found.messages} messages wait, {found.consumers} consumers"


async def _leader(connection: Connection) -> str:
    """Which dispatcher leads over all hosts."""
    channel = await connection.channel()
    try:
        await channel.declare_queue(QUEUE, passive=True)
    except errors.HeldByAnother:
        leader = await ask_leader(connection) or "somebody"
        return f"{leader} leads now, another dispatcher would stand by"
    except errors.NotDeclared:
        pass
    return "no dispatcher leads now"
