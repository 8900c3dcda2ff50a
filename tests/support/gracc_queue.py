"""The exchange that the collector publishes to, and a durable queue bound to it."""

from __future__ import annotations

import json
from typing import Any

from tests.support.broker import Broker
from tests.support.direct import Direct

#: Both names.
EXCHANGE, QUEUE = "gracc", "records"


def bound_queue(broker: Broker, **arguments: Any) -> Direct:
    """Make both anew; the helper to look into the queue."""
    direct = Direct(broker.port)
    direct.delete(QUEUE)
    direct.declare(QUEUE, **arguments)
    with direct.channel() as channel:
        channel.exchange_declare(EXCHANGE, "fanout", durable=True)
        channel.queue_bind(QUEUE, EXCHANGE)
    return direct


def to_broker(port: int, **changes: Any) -> dict[str, Any]:
    """The collector's settings for this broker, with short pauses."""
    amqp = {"host": "127.0.0.1", "port": port, "exchange": EXCHANGE, "autoDelete": False}
    amqp |= {"format": "json", "retry": "200ms", "maxRetry": "1s"}
    return {"AMQP": amqp, **changes}


def identities(direct: Direct) -> list[str]:
    """The records in the queue, which is empty after it."""
    return [json.loads(found.body)["RecordId"] for found in direct.each(QUEUE)]
