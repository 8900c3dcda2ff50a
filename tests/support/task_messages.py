"""Messages of Celery, of which a test changes what it wants, and headers that no library makes.

Types of headers: RabbitMQ's errata to the specification, "AMQP 0-9-1 Errata", section 3.
"""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pika

from tixd.amqp.messages import Properties
from tixd.queues.celery_message import INSTALLATION_TASK

#: A task id as Celery makes them.
TASK_ID = "f5d45c21-c151-4925-a11e-c08e23c1b18a"

ARGUMENTS = ["/r/1/2", "1", "2"]

JSON = Properties(content_type="application/json", content_encoding="utf-8")


def protocol_1(**members: Any) -> bytes:
    """A body of protocol 1; `members` replace its own."""
    made = {
        "task": INSTALLATION_TASK,
        "id": TASK_ID,
        "args": ARGUMENTS,
        "kwargs": {},
        "group": None,
        "retries": 0,
        "eta": None,
        "expires": None,
        "utc": True,
        "callbacks": None,
        "errbacks": None,
        "timelimit": [None, None],
        "taskset": None,
        "chord": None,
    }
    return json.dumps(made | members).encode()


def protocol_2(
    args: Any = ARGUMENTS, kwargs: Any = None, **headers: Any
) -> tuple[bytes, Properties]:
    """Body and properties of protocol 2; `headers` replace or add to its own."""
    embedded = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = json.dumps([args, kwargs or {}, embedded]).encode()
    made = {"lang": "py", "task": INSTALLATION_TASK, "id": TASK_ID, "eta": None, "expires": None}
    return body, replace(JSON, headers=made | headers, correlation_id=TASK_ID)


#: A value of each type that RabbitMQ takes, by its name: on the wire, and what it means.
EVERY_TYPE = {
    "boolean": (b"t\x01", True),
    "octet, signed": (b"b\xff", -1),
    "octet": (b"B\xff", 255),
    "short": (b"s\x80\x00", -(2**15)),
    "short, unsigned": (b"u\xff\xff", 2**16 - 1),
    "long": (b"I\x80\x00\x00\x00", -(2**31)),
    "long, unsigned": (b"i\xff\xff\xff\xff", 2**32 - 1),
    "long long": (b"l" + b"\x7f" + b"\xff" * 7, 2**63 - 1),
    "long long, other letter": (b"L" + b"\x80" + b"\x00" * 7, -(2**63)),
    "float": (b"f" + struct.pack(">f", 1.5), 1.5),
    "double": (b"d" + struct.pack(">d", -2.5e300), -2.5e300),
    "decimal": (b"D\x02" + struct.pack(">i", -12345), Decimal("-123.45")),
    "decimal, many places": (b"D\xff" + struct.pack(">i", 2**31 - 1), Decimal("2.147483647e-246")),
    "text": (b"S\x00\x00\x00\x02\xc3\xa9", "\u00e9"),
    "text, not UTF-8": (b"S\x00\x00\x00\x02\xff\xfe", b"\xff\xfe"),
    "bytes": (b"x\x00\x00\x00\x02\xff\xfe", b"\xff\xfe"),
    "time": (b"T" + struct.pack(">Q", 1_700_000_000), datetime.fromtimestamp(1_700_000_000, UTC)),
    "time, far away": (b"T" + struct.pack(">Q", 2**63), str(2**63)),
    "array": (b"A\x00\x00\x00\x04t\x01t\x00", [True, False]),
    "table": (b"F\x00\x00\x00\x04\x01at\x01", {"a": True}),
    "nothing": (b"V", None),
}


def nested(depth: int) -> bytes:
    """An array in an array, and so on."""
    value = b""
    for _ in range(depth):
        value = b"A" + struct.pack(">I", len(value)) + value
    return value


class OddProperties(pika.BasicProperties):
    """Properties of a JSON message with one header, given as bytes."""

    def __init__(self, value: bytes, key: bytes = b"odd") -> None:
        super().__init__()
        entry = bytes([len(key)]) + key + value
        self._table = struct.pack(">I", len(entry)) + entry

    def encode(self) -> list[bytes]:
        """What the header frame holds, for pika."""
        flags = self.FLAG_CONTENT_TYPE | self.FLAG_HEADERS | self.FLAG_DELIVERY_MODE
        kind = b"application/json"
        return [struct.pack(">HB", flags, len(kind)), kind, self._table, b"\x02"]
