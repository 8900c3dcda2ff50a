"""Tasks as Celery writes and reads them: protocols 1 and 2 in, protocol 2 out.

In and out: the body of an AMQP message and its properties; what a task asks for. Rules: a body is
JSON or it is not looked at, whatever its properties promise (pickle is never loaded); what is not
exactly a task of tixd's is BadTask with a short reason; ids go out as strings, as the original's.
A task's ETA is not waited for: it asks for whatever there is to do, and that may be done any time.
Protocols: Celery's manual, "Message Protocol"; its callbacks, chains and chords are not for tixd.

Where paths that another host names lie on this one.

In: tasks, the sender's base and the own one, which are the same volume. Out: paths under the own
base. Rules: a path is the base, or a user's installation in it, step by step; whatever else
(`..` too) is BadTask, and nothing outside the base is ever touched for a message. Pure.
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

#: Tasks by the names that the original registers them under.
INSTALLATION_TASK = "processor.tasks.process_installation"
USERS_TASK = "processor.tasks.process_users_data"

#: A larger body is refused unread; the longest path makes one of 4 KiB.
MAX_BODY_BYTES = 1 << 20

#: The longest id that is taken, in digits: what fits 63 bits, whatever the digits.
MAX_ID_DIGITS = 18

#: The longest path that Linux takes.
MAX_PATH_CHARACTERS = 4096

#: The longest task id that is taken; Celery's own have 36 characters.
MAX_TASK_ID_CHARACTERS = 255

#: So much of a text from outside is shown in a reason.
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class InstallationTask:
    """Do whatever is to be done in one installation, unless it is later than `expires`.

    path: as the sender sees it; task_id: the sender's; expires: epoch second, None for never.
    """

    task_id: str
    path: str
    user_id: int
    installation_id: int
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class ScanTask:
    """Find the installations under a base, and send a InstallationTask for each that is worth it.

    base: as the sender sees it; task_id and expires as above.
    """

    task_id: str
    base: str
    expires: float | None = None


Task = InstallationTask | ScanTask


def encode(task: Task, *, now: float, origin: str) -> tuple[bytes, Properties]:
    """Body and properties of the message that Celery's `send_task` makes, in protocol 2.

    now: epoch second, from which the broker counts to the task's expiry; origin: who sends, as
    "pid@host". No answer is asked for (reply_to): nobody waits for one.
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
    """Name and arguments of a task."""
    if isinstance(task, ScanTask):
        return USERS_TASK, (task.base,)
    return INSTALLATION_TASK, (task.path, str(task.user_id), str(task.installation_id))


def _headers(name: str, task: Task, arguments: tuple[str, ...], origin: str) -> dict[str, Any]:
    """Every header that Celery 5 sends."""
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
    """The task in a message; raises BadTask with the reason."""
    _check_envelope(body, properties)
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadTask("the body is not valid JSON") from error
    head, args, kwargs = _opened(content, properties.headers)
    name = head.get("task")
    build = _BUILD.get(name) if isinstance(name, str) else None
    if build is None:
        raise BadTask(f"unknown task {shown(name)}")
    if kwargs:
        raise BadTask("keyword arguments, which this task has not")
    if not isinstance(args, list):
        raise BadTask("the arguments are no list")
    return build(_task_id(head.get("id")), args, _epoch(head.get("expires")))


def _check_envelope(body: bytes, properties: Properties) -> None:
    """Whether the body may be read at all."""
    if len(body) > MAX_BODY_BYTES:
        raise BadTask(f"the body has {len(body)} bytes, more than {MAX_BODY_BYTES}")
    if properties.content_type.lower() != "application/json":
        raise BadTask(f"content type {shown(properties.content_type)}, only JSON is read")
    if properties.content_encoding.lower() not in ("utf-8", "utf8", ""):
        raise BadTask(f"content encoding {shown(properties.content_encoding)}, only UTF-8 is read")
    if properties.headers.get("compression"):
        raise BadTask(f"compression {shown(properties.headers['compression'])}, none is read")


def _opened(content: Any, headers: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any, Any]:
    """What says which task it is, its arguments, its keyword arguments: both protocols.

    Celery too tells the protocols apart by whether a header names the task.
    """
    if "task" in headers:
        if not isinstance(content, list) or len(content) != 3:
            raise BadTask("the body is not [arguments, keyword arguments, embedded]")
        return headers, content[0], content[1]
    if not isinstance(content, dict):
        raise BadTask("the body is no object and no header names a task")
    return content, content.get("args"), content.get("kwargs")


def _run_installation(task_id: str, args: list[Any], expires: float | None) -> InstallationTask:
    if len(args) != 3:
        raise BadTask(f"{len(args)} arguments instead of path, user id, installation id")
    path, user_id, installation_id = args
    return InstallationTask(task_id, _path(path), _id(user_id), _id(installation_id), expires)


def _run_users(task_id: str, args: list[Any], expires: float | None) -> ScanTask:
    if len(args) != 1:
        raise BadTask(f"{len(args)} arguments instead of the path of the reports")
    return ScanTask(task_id, _path(args[0]), expires)


_BUILD: dict[str, Callable[[str, list[Any], float | None], Task]] = {
    INSTALLATION_TASK: _run_installation,
    USERS_TASK: _run_users,
}


def _path(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_PATH_CHARACTERS or "\0" in value:
        raise BadTask(f"{shown(value)} is no path")
    return value


def _id(value: Any) -> int:
    """A positive integer, or its digits as a text."""
    text = str(value) if type(value) in (int, str) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS and int(text)):
        raise BadTask(f"{shown(value)} is no number of a user or installation")
    return int(text)


def _task_id(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TASK_ID_CHARACTERS:
        raise BadTask(f"{shown(value)} is no task id")
    return value


def _epoch(expires: Any) -> float | None:
    """An ISO 8601 time as an epoch second; without an offset it is UTC, as Celery's are."""
    if expires is None:
        return None
    try:
        moment = datetime.fromisoformat(expires)
    except (ValueError, TypeError) as error:
        raise BadTask(f"it expires at {shown(expires)}, which is no time") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def shown(value: Any) -> str:
    """A value from outside as a reason shows it: short, on one line."""
    return ascii(value[:_SHOWN_CHARACTERS] if isinstance(value, str) else type(value).__name__)


def translate(task: InstallationTask, sender_base: str, base: str) -> str:
    """Where this host finds the installation that the sender sees at `task.path`.

    The path must be `<base>/<user>/<installation>` under the sender's base or the own one, but for
    repeated and trailing slashes; raises BadTask.
    """
    inside = (str(task.user_id), str(task.installation_id))
    if _steps(task.path) not in [(*_steps(b), *inside) for b in (sender_base, base)]:
        raise BadTask(f"{shown(task.path)} is not the folder of {'/'.join(inside)} under the base")
    return "/".join((base.rstrip("/"), *inside))


def local_base(task: ScanTask, sender_base: str, base: str) -> str:
    """The base of this host, where the task names it or the sender's; raises BadTask."""
    if _steps(task.base) not in (_steps(sender_base), _steps(base)):
        raise BadTask(f"{shown(task.base)} is not the base")
    return base


def _steps(path: str) -> tuple[str, ...]:
    """A path step by step; an absolute one begins with an empty step."""
    return ("",) * path.startswith("/") + tuple(step for step in path.split("/") if step)
