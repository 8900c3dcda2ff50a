"""Tasks as Celery writes and reads them: protocols 1 and 2 in, protocol 2 out.

Rules: only JSON bodies are read, whatever the properties say (pickle is never loaded); anything
that is not exactly a task of tixd is BadTask with a short reason. Ids are sent as strings, as by
the original. A task's ETA is ignored: a job may run at any time. A path from a message is
translated step by step, so nothing outside the base is ever touched. Callbacks, chains and chords
are ignored (Celery's manual, "Message Protocol"). Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from tixd.amqp.messages import Properties
from tixd.errors import BadTask

#: The name under which the original registers the task of one installation.
INSTALLATION_TASK = "processor.tasks.process_installation"

#: The name under which it registers the task that scans for installations.
USERS_TASK = "processor.tasks.process_users_data"

#: A larger body is refused unread; one with the longest path has 4 KiB.
MAX_BODY_BYTES = 1 << 20

#: The most digits of an id: what fits 63 bits, whatever the digits.
MAX_ID_DIGITS = 18

#: The longest path that Linux takes.
MAX_PATH_CHARACTERS = 4096

#: The longest task id; Celery's own have 36 characters.
MAX_TASK_ID_CHARACTERS = 255

#: Most characters of a text from outside in a reason.
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class InstallationTask:
    """Process one installation, not after `expires`.

    path: on the sender's host; task_id: the sender's; expires: epoch second, None for never.
    """

    task_id: str
    path: str
    user_id: int
    installation_id: int
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class ScanTask:
    """Find the installations under a base, and send an InstallationTask for each that is due.

    base: on the sender's host; task_id and expires as above.
    """

    task_id: str
    base: str
    expires: float | None = None


Task = InstallationTask | ScanTask


def encode(task: Task, *, now: float, origin: str) -> tuple[bytes, Properties]:
    """Return body and properties of the message that Celery's `send_task` makes, in protocol 2.

    now: epoch second, from which the broker counts to the task's expiry; origin: the sender, as
    "pid@host". There is no reply_to, because no reply is read.
    """
    name, arguments = _call(task)
    embedded = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))
    properties = Properties(
        content_type="application/json",
        content_encoding="utf-8",
        headers=_headers(name, task, arguments, origin),
        correlation_id=task.task_id,
        expiration="" if task.expires is None else _milliseconds(task.expires - now),
    )
    return orjson.dumps([arguments, {}, embedded]), properties


def _call(task: Task) -> tuple[str, tuple[str, ...]]:
    if isinstance(task, ScanTask):
        return USERS_TASK, (task.base,)
    return INSTALLATION_TASK, (task.path, str(task.user_id), str(task.installation_id))


def _headers(name: str, task: Task, arguments: tuple[str, ...], origin: str) -> dict[str, Any]:
    """Return every header that Celery 5 sends."""
    expires = None if task.expires is None else datetime.fromtimestamp(task.expires, UTC)
    return {
        "lang": "py",
        "task": name,
        "id": task.task_id,
        "shadow": None,
        "eta": None,
        "expires": expires and expires.isoformat(),
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": task.task_id,
        "parent_id": None,
        "argsrepr": repr(arguments),
        "kwargsrepr": "{}",
        "origin": origin,
        "ignore_result": None,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }


def _milliseconds(seconds: float) -> str:
    return str(max(0, math.ceil(seconds * 1000)))


def decode(body: bytes, properties: Properties) -> Task:
    """Return the task in a message; raises BadTask with the reason."""
    _check_envelope(body, properties)
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadTask("the body is not valid JSON") from error
    head, args, kwargs = _parts(content, properties.headers)
    name = head.get("task")
    build = _BUILD.get(name) if isinstance(name, str) else None
    if build is None:
        raise BadTask(f"unknown task {shown(name)}")
    if kwargs:
        raise BadTask("keyword arguments, which this task does not take")
    if not isinstance(args, list):
        raise BadTask("the arguments are not a list")
    return build(_task_id(head.get("id")), args, _epoch(head.get("expires")))


def _check_envelope(body: bytes, properties: Properties) -> None:
    """Raise BadTask where the body must not be read."""
    if len(body) > MAX_BODY_BYTES:
        raise BadTask(f"the body has {len(body)} bytes, more than {MAX_BODY_BYTES}")
    if properties.content_type.lower() != "application/json":
        raise BadTask(f"content type {shown(properties.content_type)}, only JSON is read")
    if properties.content_encoding.lower() not in ("utf-8", "utf8", ""):
        raise BadTask(f"content encoding {shown(properties.content_encoding)}, only UTF-8 is read")
    if properties.headers.get("compression"):
        raise BadTask(f"compression {shown(properties.headers['compression'])}, none is read")


def _parts(content: Any, headers: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any, Any]:
    """Return what names the task, its arguments, its keyword arguments.

    As in Celery, it is protocol 2 if a header names the task.
    """
    if "task" in headers:
        if not isinstance(content, list) or len(content) != 3:
            raise BadTask("the body is not [arguments, keyword arguments, embedded]")
        return headers, content[0], content[1]
    if not isinstance(content, dict):
        raise BadTask("the body is not an object, and no header names a task")
    return content, content.get("args"), content.get("kwargs")


def _installation_task(task_id: str, args: list[Any], expires: float | None) -> InstallationTask:
    if len(args) != 3:
        raise BadTask(f"{len(args)} arguments instead of path, user id, installation id")
    path, user_id, installation_id = args
    return InstallationTask(task_id, _path(path), _id(user_id), _id(installation_id), expires)


def _scan_task(task_id: str, args: list[Any], expires: float | None) -> ScanTask:
    if len(args) != 1:
        raise BadTask(f"{len(args)} arguments instead of the path of the reports")
    return ScanTask(task_id, _path(args[0]), expires)


#: What makes a task of its id, arguments and expiry, by name.
_BUILD: dict[str, Callable[[str, list[Any], float | None], Task]] = {
    INSTALLATION_TASK: _installation_task,
    USERS_TASK: _scan_task,
}


def _path(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_PATH_CHARACTERS or "\0" in value:
        raise BadTask(f"{shown(value)} is not a path")
    return value


def _id(value: Any) -> int:
    """Read a positive integer, or its digits as a text."""
    text = str(value) if type(value) in (int, str) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS and int(text)):
        raise BadTask(f"{shown(value)} is not the number of a user or installation")
    return int(text)


def _task_id(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TASK_ID_CHARACTERS:
        raise BadTask(f"{shown(value)} is not a task id")
    return value


def _epoch(expires: Any) -> float | None:
    """Read an ISO 8601 time; without an offset it is UTC, as Celery's are."""
    if expires is None:
        return None
    try:
        moment = datetime.fromisoformat(expires)
    except (ValueError, TypeError) as error:
        raise BadTask(f"it expires at {shown(expires)}, which is not a time") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def shown(value: Any) -> str:
    """Return a value from outside as a reason shows it: short, on one line."""
    return ascii(value[:_SHOWN_CHARACTERS] if isinstance(value, str) else type(value).__name__)


@dataclass(frozen=True, slots=True)
class PathMapping:
    """The reports folder on this host, and as senders of messages name it: the same volume.

    A path may name either.
    """

    base: str
    sender_base: str

    def translate(self, task: InstallationTask) -> str:
        """Return where this host finds the installation that the sender sees at `task.path`.

        The path must be `<base>/<user>/<installation>`, but for repeated and trailing slashes;
        raises BadTask.
        """
        inside = (str(task.user_id), str(task.installation_id))
        if _steps(task.path) not in [(*_steps(b), *inside) for b in (self.sender_base, self.base)]:
            raise BadTask(
                f"{shown(task.path)} is not the folder of {'/'.join(inside)} under the base"
            )
        return "/".join((self.base.rstrip("/"), *inside))

    def check_base(self, task: ScanTask) -> None:
        """Raise BadTask where the task names another base."""
        if _steps(task.base) not in (_steps(self.sender_base), _steps(self.base)):
            raise BadTask(f"{shown(task.base)} is not the base")


def _steps(path: str) -> tuple[str, ...]:
    """Split a path into its steps; an absolute one begins with an empty step."""
    return ("",) * path.startswith("/") + tuple(step for step in path.split("/") if step)
