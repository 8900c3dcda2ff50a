"""What the parent and its workers say to each other: frozen messages and their exact bytes.

In and out: bytes of one ZeroMQ frame, a JSON array whose first member is the kind of message.
Rules: parent -> worker: one of the jobs, and each Phase back while a job goes one by one. Worker ->
parent: Ready, Phase, Done. What is not exactly one of these is BadMessage. Pure.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal, get_args

import orjson

from tixd.errors import BadMessage

#: What a worker does with an installation, in the order of a window's life.
PhaseName = Literal["start", "read", "repost", "analyse", "post", "journal", "delete"]
_PHASES = get_args(PhaseName)


@dataclass(frozen=True, slots=True)
class ProcessInstallation:
    """Do whatever is to be done in one installation.

    set_aside: reports that crashed workers before; they are moved to bad-reports first.
    one_by_one: read a single file at a time, and begin nothing before the parent knows of it, so
    that a crash names what it was about.
    """

    path: str
    user_id: int
    installation_id: int
    set_aside: tuple[str, ...] = ()
    one_by_one: bool = False


@dataclass(frozen=True, slots=True)
class ListUsers:
    """Name the users that have a folder under the base."""

    base: str


@dataclass(frozen=True, slots=True)
class ListInstallations:
    """Name the installations of these users that are worth a job.

    changed_since: epoch second, those whose folder has changed later are; slot, slots: of the
    others one in `slots` has its turn. With one slot everybody has: that is the whole list.
    """

    base: str
    user_ids: tuple[int, ...]
    changed_since: float = 0.0
    slot: int = 0
    slots: int = 1

    def wants(self, user_id: int, installation_id: int, changed: float) -> bool:
        """Whether an installation whose folder changed at epoch second `changed` gets a job.

        Nothing but its arguments decides, so a restart and another host decide alike.
        """
        if self.slots == 1 or changed > self.changed_since:
            return True
        return zlib.crc32(b"%d/%d" % (user_id, installation_id)) % self.slots == self.slot


@dataclass(frozen=True, slots=True)
class CheckVolume:
    """See whether the reports can be listed and how many bytes are free there.

    Found: bytes, and where an AS table is set the epoch second it was built, 0 if it is unusable.
    """

    base: str


@dataclass(frozen=True, slots=True)
class ListFailed:
    """Say what waits in failed-results of these (user, installation) pairs.

    Found: (user, installation, results that wait, timestamp of the oldest or 0, epoch second until
    which they wait or 0, results in rejected) for those that have any; reasons: why they wait.
    """

    base: str
    installations: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class RetryFailed:
    """Let what was rejected in these (user, installation) pairs wait again, and end their pauses.

    Found: (user, installation, results brought back); counts: "locked" and "failed" pairs.
    """

    base: str
    installations: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has started and can be given a job."""

    pid: int


@dataclass(frozen=True, slots=True)
class Phase:
    """What a worker begins now: said before it, so that a death tells where it happened.

    window: first second of the window in hand, or None before one is chosen; names: its reports;
    cpu_ns: CPU time that the worker process has used so far.
    """

    name: PhaseName
    window: int | None
    names: tuple[str, ...]
    cpu_ns: int


@dataclass(frozen=True, slots=True)
class JobResult:
    """A job has ended and the worker can be given the next one.

    counts: what happened, by name; more: there is work left, queue the job again; found: ids, or
    rows of numbers, as each kind of job says; failure: an unexpected exception; kept: why results
    were kept for the tix-api's sake, "" where it takes them; lacks_memory: why it failed; reasons:
    a text for each row of found.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    more: bool = False
    found: tuple[tuple[int, ...], ...] = ()
    failure: str = ""
    kept: str = ""
    lacks_memory: bool = False
    reasons: tuple[str, ...] = ()


Job = ProcessInstallation | ListUsers | ListInstallations | CheckVolume | ListFailed | RetryFailed
Message = Job | Ready | Phase | JobResult

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

#: What people are told of jobs that only look or bring back.
_WORDS_FOR: Mapping[type[Job], str] = MappingProxyType(
    {
        ListUsers: "looking for installations",
        ListInstallations: "looking for installations",
        CheckVolume: "checking the volume",
        ListFailed: "listing kept results",
        RetryFailed: "bringing back rejected results",
    }
)


def encode(message: Message) -> bytes:
    """The bytes of a message: `["kind", member, …]`."""
    kind = type(message)
    return orjson.dumps([_WORDS[kind], *(getattr(message, name) for name, _ in _MEMBERS[kind])])


def decode(frame: bytes) -> Message:
    """The message in a frame; raises BadMessage."""
    try:
        word, *members = orjson.loads(frame)
        message = _KINDS[word](*map(_frozen, members))
    except (ValueError, TypeError, KeyError) as error:
        raise BadMessage(repr(frame[:80])) from error
    if not _well_formed(message):
        raise BadMessage(repr(frame[:80]))
    return message


def describe(job: Job) -> str:
    """A job as people are told of it."""
    if isinstance(job, ProcessInstallation):
        return f"installation {job.user_id}/{job.installation_id}"
    return _WORDS_FOR[type(job)]


def _frozen(value: Any) -> Any:
    """JSON arrays as tuples, all the way down."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _well_formed(message: Message) -> bool:
    """Whether every member has the type that its field names."""
    return all(fits(getattr(message, name)) for name, fits in _MEMBERS[type(message)])


def _is_int(value: object) -> bool:
    return type(value) is int


def _is_tuple_of(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, tuple) and set(map(type, value)) <= {kind}


def _is_table(value: object) -> bool:
    """Whether it is a tuple of tuples of integers."""
    return isinstance(value, tuple) and all(map(_FITS["tuple[int, ...]"], value))


#: For each type that a field of a message has: whether a value is of it.
_FITS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "int": _is_int,
    "float": lambda value: isinstance(value, float) or _is_int(value),
    "bool": lambda value: isinstance(value, bool),
    "int | None": lambda value: value is None or _is_int(value),
    "PhaseName": lambda value: value in _PHASES,
    "tuple[str, ...]": _is_tuple_of(str),
    "tuple[int, ...]": _is_tuple_of(int),
    "tuple[tuple[int, ...], ...]": _is_table,
    "Mapping[str, int]": lambda v: isinstance(v, dict) and all(map(_is_int, v.values())),
}

#: The members of each kind of message, in order, and what each must be.
_MEMBERS = {kind: tuple((f.name, _FITS[str(f.type)]) for f in fields(kind)) for kind in _WORDS}
