"""What an installation's journal says, and its JSON.

In: a Journal, or the members of a JSON object. Out: the other one. Rules: what is not exactly a
journal is refused whole; it never names anything but plain report names in the folder itself, and
names of results in failed-results. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from tixd import bounded
from tixd.results.backoff import LONGEST_REASON, Backoff, Refusal

#: Version of the journal in `.tixd.lock`; one of another version counts as absent.
FORMAT = 2

#: Longest list of names that is written at once: a longer one is worked off in parts.
MAX_NAMES_BYTES = 2**19

#: With more reports or results that are done with and cannot be deleted, the installation stands
#: still: the list would grow for ever.
MAX_LEFT = 1000

#: Counts below this one can be added to, and written again.
_MAX_COUNT = 2**53

#: Longest file name of Linux's file systems.
_LONGEST_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class Journal:
    """window: first second of the last window, timestamp: its result's; None before the first.

    names: reports that are to be deleted; backoff: pause and refusals of stored results;
    accepted: stored results that the tix-api has, and that could not be removed.
    """

    window: int | None = None
    timestamp: int | None = None
    names: tuple[str, ...] = ()
    backoff: Backoff = field(default_factory=Backoff)
    accepted: tuple[str, ...] = ()


def members(journal: Journal) -> dict[str, object]:
    """The members of its JSON object."""
    backoff = journal.backoff
    return {
        "format": FORMAT,
        "window": journal.window,
        "timestamp": journal.timestamp,
        "delete": journal.names,
        "accepted": journal.accepted,
        "failures": backoff.failures,
        "not_before": backoff.not_before,
        "refusals": [[r.name, r.count, r.last, r.status] for r in backoff.refusals],
        "reason": bounded.printable(backoff.reason, "?"),
        "unanswered": backoff.unanswered,
        "unfinished": backoff.unfinished,
    }


def from_members(stored: object, version: int = FORMAT) -> Journal:
    """The journal in a JSON object; ValueError, TypeError or KeyError where it holds none."""
    if not isinstance(stored, dict) or _count(stored["format"]) != version:
        raise ValueError("not a journal of this version")
    return Journal(
        window=_second(stored["window"]),
        timestamp=_second(stored["timestamp"]),
        names=tuple(_name(name) for name in _list(stored["delete"])),
        backoff=Backoff(
            failures=_count(stored["failures"]),
            not_before=_moment(stored["not_before"]),
            refusals=tuple(_refusal(refusal) for refusal in _list(stored["refusals"])),
            reason=_words(stored.get("reason", "")),
            unanswered=stored.get("unanswered") is True,
            unfinished=stored.get("unfinished") is True,
        ),
        accepted=tuple(_name(name) for name in _list(stored.get("accepted", []))),
    )


def in_parts(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The names, in order, in as few parts as fit; at least one, which may be empty."""
    part: list[str] = []
    size_bytes = 0
    for name in names:
        length = len(name.encode()) + 3  # quotes and comma
        if part and size_bytes + length > MAX_NAMES_BYTES:
            yield tuple(part)
            part, size_bytes = [], 0
        part.append(name)
        size_bytes += length
    yield tuple(part)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return value


def _refusal(value: object) -> Refusal:
    name, count, last, *status = _list(value)
    return Refusal(_name(name), _count(count), _moment(last), *map(_count, status[:1]))


def _words(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError("expected printable words")
    return value[:LONGEST_REASON]


def _second(value: object) -> int | None:
    return None if value is None else _count(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_COUNT:
        raise TypeError("expected a count")
    return value


def _moment(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("expected epoch seconds")
    return float(value)


def _name(value: object) -> str:
    """A plain name of a visible .json file: nothing else is ever deleted for a journal's sake."""
    if not isinstance(value, str) or not value.isprintable() or "/" in value:
        raise ValueError("expected a file name")
    if value.startswith(".") or not value.endswith(".json"):
        raise ValueError("expected the name of a report")
    if len(value.encode()) > _LONGEST_NAME_BYTES:
        raise ValueError("expected a shorter file name")
    return value
