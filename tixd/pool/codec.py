"""The bytes of the messages between parent and workers: one JSON array in one ZeroMQ frame.

Rules: whatever is not exactly a message raises BadMessage, so that what a dying or strange worker
sends never reaches the parent as a job's result. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, get_args

import orjson

from tixd.errors import BadMessage
from tixd.jobs import (
    CheckVolume,
    JobResult,
    ListFailed,
    ListInstallations,
    ListUsers,
    Message,
    Phase,
    PhaseName,
    ProcessInstallation,
    Ready,
    RetryFailed,
)

#: Each kind of message by the word that its frame begins with.
_KINDS: dict[str, type[Message]] = {
    "process": ProcessInstallation,
    "users": ListUsers,
    "installations": ListInstallations,
    "volume": CheckVolume,
    "list-failed": ListFailed,
    "retry-failed": RetryFailed,
    "ready": Ready,
    "phase": Phase,
    "done": JobResult,
}
_WORDS = {kind: word for word, kind in _KINDS.items()}


def encode(message: Message) -> bytes:
    """Return the bytes of a message: `["kind", member, …]`."""
    kind = type(message)
    return orjson.dumps([_WORDS[kind], *(getattr(message, name) for name, _ in _MEMBERS[kind])])


def decode(frame: bytes) -> Message:
    """Return the message in a frame; raises BadMessage."""
    try:
        word, *members = orjson.loads(frame)
        message = _KINDS[word](*map(_frozen, members))
    except (ValueError, TypeError, KeyError) as error:
        raise BadMessage(repr(frame[:80])) from error
    if not all(fits(getattr(message, name)) for name, fits in _MEMBERS[type(message)]):
        raise BadMessage(repr(frame[:80]))
    return message


def _frozen(value: Any) -> Any:
    """Make tuples of JSON arrays, all the way down."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _is_int(value: object) -> bool:
    return type(value) is int


def _all_are(kind: type, values: Iterable[object]) -> bool:
    return set(map(type, values)) <= {kind}


def _is_tuple(value: object, kind: type) -> bool:
    return isinstance(value, tuple) and _all_are(kind, value)


#: For each type that a field of a message has: whether a value is of it.
_FITS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "int": _is_int,
    "float": lambda value: isinstance(value, float) or _is_int(value),
    "bool": lambda value: isinstance(value, bool),
    "int | None": lambda value: value is None or _is_int(value),
    "PhaseName": lambda value: value in get_args(PhaseName),
    "tuple[str, ...]": lambda value: _is_tuple(value, str),
    "tuple[int, ...]": lambda value: _is_tuple(value, int),
    "tuple[tuple[int, ...], ...]": lambda value: (
        _is_tuple(value, tuple) and all(_all_are(int, row) for row in value)
    ),
    "Mapping[str, int]": lambda value: isinstance(value, dict) and _all_are(int, value.values()),
}

#: The members of each kind of message, in order, and what each must be.
_MEMBERS = {kind: tuple((f.name, _FITS[str(f.type)]) for f in fields(kind)) for kind in _WORDS}
