"""A queue of our own, to see whether the broker takes messages.

In: a connection. Out: a channel with confirms, and the queue's name. Rules: the queue ends with the
connection and holds one message at most, so probes disturb nobody.
"""

from __future__ import annotations

from tixd.amqp.channel import Channel
from tixd.amqp.connection import Connection


async def probe_queue(connection: Connection, name: str = "") -> tuple[Channel, str]:
    """Make the queue, by default under a name of the broker's choice; raises a BrokerError."""
    channel = await connection.channel(confirms=True)
    limit = {"x-max-length": 1}
    queue = await channel.declare_queue(name, exclusive=True, arguments=limit)
    return channel, queue.name
