"""The bytes of messages between parent and workers, and of phases on a board: one JSON array each.

Rules: whatever is not exactly of one kind raises BadMessage, so that what a dying or strange worker
sends never reaches the parent as a job's result. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, get_args

import orjson

from tixd.errors import BadMessage
from tixd.jobs import (
    Assignment,
    CheckVolume,
    Done,
    Hungry,
    Job,
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

#: What has bytes: messages, and what is inside them or on a board.
Coded = Message | Job | JobResult | Phase

#: Each kind by the word that its array begins with.
_KINDS: dict[str, type[Coded]] = {
    "assignment": Assignment,
    "process": ProcessInstallation,
    "users": ListUsers,
    "installations": ListInstallations,
    "volume": CheckVolume,
    "list-failed": ListFailed,
    "retry-failed": RetryFailed,
    "ready": Ready,
    "done": Done,
    "hungry": Hungry,
    "result": JobResult,
    "phase": Phase,
}
_WORDS = {kind: word for word, kind in _KINDS.items()}


def encode(coded: Coded) -> bytes:
    """Return the bytes: `["kind", member, …]`, where a member may be such an array itself."""
    return orjson.dumps(_as_list(coded), _as_list, orjson.OPT_PASSTHROUGH_DATACLASS)


def _as_list(coded: Coded) -> list[object]:
    kind = type(coded)
    return [_WORDS[kind], *(getattr(coded, name) for name, _ in _MEMBERS[kind])]


def decode(frame: bytes) -> Coded:
    """Return what these bytes are; raises BadMessage."""
    try:
        return _from_list(orjson.loads(frame))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadMessage(repr(frame[:80])) from error


def _from_list(values: Any) -> Coded:
    word, *found = values
    kind = _KINDS[word]
    members = zip(_MEMBERS[kind], found, strict=True)
    return kind(*(_read(of_type, value) for (_, of_type), value in members))


def _read(of_type: str, value: Any) -> Any:
    """Return the member that a JSON value stands for; raises ValueError where its type differs."""
    if type(value) is list:
        value = _from_list(value) if of_type in _NESTED else _frozen(value)
    if not _FITS[of_type](value):
        raise ValueError(f"not {of_type}")
    return value


def _frozen(value: Any) -> Any:
    """Make tuples of JSON arrays, all the way down."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _is_int(value: object) -> bool:
    return type(value) is int


def _all_are(kind: type, values: Iterable[object]) -> bool:
    return set(map(type, values)) <= {kind}


def _is_tuple(value: object, kind: type) -> bool:
    return isinstance(value, tuple) and _all_are(kind, value)


#: For each type that a member has: whether a value is of it.
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
    "Job": lambda value: isinstance(value, Job),
    "JobResult": lambda value: isinstance(value, JobResult),
    "Phase | None": lambda value: value is None or isinstance(value, Phase),
}

#: Types of members that are arrays with a kind themselves.
_NESTED = frozenset({"Job", "JobResult", "Phase | None"})

#: The members of each kind, in order, each with its type.
_MEMBERS = {kind: tuple((f.name, str(f.type)) for f in fields(kind)) for kind in _WORDS}
