"""The queue of messages that are no jobs of ours, each with the reason; pure.

In: the properties of a message. Out: those of its copy. Rules: whatever headers a message has, the
broker must take the copy, once, and send it nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from tixd.amqp.messages import Properties

#: Where such messages lie.
DEAD = "tixd.dead"

#: The header that says why.
REASON_HEADER = "tixd-reason"

#: Headers that are longer as JSON are left out: on the wire they can have five times as many, and
#: all headers and the reason must fit one frame of 128 KiB.
MAX_HEADERS_BYTES = 16_384

#: By these RabbitMQ would send the copy to further queues, even to the one that it comes from.
_ROUTING_HEADERS = ("CC", "BCC")


def with_reason(properties: Properties, reason: str) -> Properties:
    """Properties of the copy: persistent, without an end, and with the reason."""
    headers = {**_kept(properties.headers), REASON_HEADER: reason}
    return replace(properties, headers=headers, expiration="", persistent=True)


def _kept(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers that do no harm; none of them where they are too long or too deep."""
    kept = {name: value for name, value in headers.items() if name not in _ROUTING_HEADERS}
    try:
        length = len(orjson.dumps(kept, default=repr))
    except TypeError:  # deeper than any header that means something, or a name that is no text
        return {}
    return kept if length <= MAX_HEADERS_BYTES else {}
