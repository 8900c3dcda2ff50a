"""What a job tells the history, in one JSON text: its results, and how its installation is.

The text is `[[user, installation], state or null, results]`; STATE and RESULT name the values of a
state and of a result, in order. Numbers of a result are whole ten-thousandths there and in the
history, and as they were in messages. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from tixd import bounded, errors

#: What can become of a result, as results/posting.py says.
OUTCOMES = ("posted", "kept", "rejected")

#: Longest words that are stored, characters.
MAX_WORDS = 200

#: No number of a result is as large: the largest are ratios of some hundreds.
MAX_VALUE = 1e9

#: Largest id of a user or an installation.
MAX_ID = 2**63 - 1

#: Largest epoch second, and largest count.
MAX_SECOND = 2**32 - 1

#: What numbers are multiplied by.
SCALE = 10_000

#: The values of a direction, as the tix-api names them with Up or Down.
_UP = ("upUsage", "upQuality", "hurstUpRs", "hurstUpWavelet", "upUsageAlt")
_DOWN = ("downUsage", "downQuality", "hurstDownRs", "hurstDownWavelet", "downUsageAlt")

#: A result. timestamp: last second of its window; at: when its outcome was known; outcome: its
#: place in OUTCOMES; words: why it is not posted; again: it had been kept before.
RESULT = ("timestamp", "at", "outcome", "words", "again", "asn", "asName", *_UP, *_DOWN)

#: The state of an installation after a job. at: when the job ended; reports: how many wait; newest:
#: second of the latest report, null where none was there; kept: results that wait; nextTry: when
#: they are posted again, 0: at the next visit; reason: why they wait; setAside: how many reports
#: this job set aside; setAsideReason: why the last one; trouble: why the job could do nothing.
STATE = (
    "at",
    "reports",
    "newest",
    "kept",
    "nextTry",
    "reason",
    "setAside",
    "setAsideReason",
    "trouble",
)


class JobRecord(NamedTuple):
    """A record, as the history writes it: a state and any number of results."""

    user: int
    installation: int
    state: Sequence[Any] | None
    results: Sequence[Sequence[Any]]


def fitting(value: object) -> object:
    """Return a value as a record has it: a text in one line that is not too long, no huge number.

    >>> fitting("a\\nb"), fitting(MAX_SECOND + 1)
    ('a\\\\nb', None)
    """
    if isinstance(value, str):
        return bounded.printable(value)[:MAX_WORDS]
    return None if isinstance(value, int) and not 0 <= value <= MAX_SECOND else value


def scaled(value: float | None) -> int | None:
    """Return a number as it is stored; None where it is undefined, or no line has such a value."""
    if value is None or not abs(value) < MAX_VALUE:
        return None
    return round(value * SCALE)


def parse(text: str) -> JobRecord:
    """Read the record of a worker process of this host."""
    (user, installation), state, results = orjson.loads(text)
    return JobRecord(user, installation, state, results)


# --- messages between hosts ----------------------------------------------------------------------


def messages(text: str) -> Iterator[tuple[str, bytes]]:
    """Yield a record as messages of the exchange tixd.results: routing key and body of each."""
    found = parse(text)
    ids = {"user": found.user, "installation": found.installation}
    key = f"{found.user}.{found.installation}"
    for result in found.results:
        members = dict(zip(RESULT, result, strict=True))
        members["outcome"] = OUTCOMES[members["outcome"]]
        members |= {name: value and value / SCALE for name, value in _numbers(members)}
        yield key, orjson.dumps({"kind": "result", **ids, **members})
    if found.state:
        members = dict(zip(STATE, found.state, strict=True))
        yield key, orjson.dumps({"kind": "installation", **ids, **members})


def _numbers(members: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, members.get(name)) for name in (*_UP, *_DOWN))


def parse_message(body: bytes, now: float) -> JobRecord:
    """Read such a message; raises errors.BadMessage where it is none.

    now: epoch seconds; what a host whose clock is ahead tells happened now.
    """
    try:
        members = orjson.loads(body)
        members["at"] = min(_second(members["at"]), int(now))
        user, installation = _id(members["user"]), _id(members["installation"])
        if members["kind"] == "installation":
            return JobRecord(user, installation, _in_order(STATE, members), ())
        members["outcome"] = OUTCOMES.index(members["outcome"])
        return JobRecord(user, installation, None, (_in_order(RESULT, members),))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise errors.BadMessage(f"{bounded.error(error)}: {body[:80]!r}") from error


def _in_order(names: Sequence[str], members: Mapping[str, Any]) -> list[Any]:
    return [_CHECKS.get(name, _number)(members.get(name)) for name in names]


def _id(value: object) -> int:
    if type(value) is not int or not 0 < value <= MAX_ID:
        raise ValueError("not an id")
    return value


def _count(value: object) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value <= MAX_SECOND):
        raise ValueError("not a count")
    return value


def _second(value: object) -> int:
    if (found := _count(value)) is None:
        raise ValueError("not an epoch second")
    return found


def _words(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError("not a text")
    found = fitting(value)
    return found if isinstance(found, str) else None


def _number(value: object) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, float | int)):
        raise TypeError("not a number")
    return scaled(value)


#: What the members must be; the others are numbers or null.
_CHECKS: dict[str, Callable[[object], object]] = {
    **dict.fromkeys(("timestamp", "at", "outcome"), _second),
    **dict.fromkeys(("asn", "reports", "newest", "kept", "nextTry", "setAside"), _count),
    **dict.fromkeys(("words", "asName", "reason", "setAsideReason", "trouble"), _words),
    "again": bool,
}
