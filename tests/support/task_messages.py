"""Messages of Celery for tests: whole ones, of which a test changes what it wants."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

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
