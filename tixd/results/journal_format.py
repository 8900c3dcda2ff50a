"""The content of an installation's journal, and its layout in the file.

File: two slots of a page each, written in turn and in place, then room for an entry that does not
fit into its slot. A slot is one line: CRC-32, blank, JSON with a sequence number; the valid slot
with the higher number is the current one. Rules: anything but an exact journal entry is refused as
a whole; it contains only plain names of reports in the folder itself, and names of results in
failed-results. A new entry overlaps no byte of the current one. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from zlib import crc32

import orjson

from tixd import bounded
from tixd.results.backoff import MAX_REASON_CHARACTERS, Backoff, Refusal

#: Version of the format; an entry of another version counts as absent.
FORMAT = 2

#: A slot is a page: a kill of the process leaves a write within one complete or not begun.
SLOT_BYTES = 4096

#: Where an entry that fits in no slot may begin.
LONG_AT = 2 * SLOT_BYTES

#: Longest list of names in one entry; a longer one is processed in parts.
MAX_NAMES_BYTES = 2**19

#: Longest entry: a list of names, every character escaped, and as much again for the rest.
MAX_ENTRY_BYTES = 4 * MAX_NAMES_BYTES

#: With more finished reports or results that cannot be deleted, an installation is not processed:
#: the list would grow without bound.
MAX_LEFT = 1000

#: In place of the CRC until the entry is current.
PREPARED = b"--------"

#: Counts, sequence numbers and offsets below this one can be added to, and written again.
_MAX_NUMBER = 2**53

#: Longest file name of Linux's file systems.
_MAX_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """window: first second of the last window; timestamp: its result's, only for people to read.

    names: reports to be deleted; backoff: pause and refusals of kept results; accepted: kept
    results that the tix-api has accepted and that could not be removed; spreads: noise of the
    downlink in the last windows, whole microseconds in ns, oldest first; infinite where a window
    shows none. window and timestamp are None before the first window.
    """

    window: int | None = None
    timestamp: int | None = None
    names: tuple[str, ...] = ()
    backoff: Backoff = field(default_factory=Backoff)
    accepted: tuple[str, ...] = ()
    spreads: tuple[float, ...] = ()


def in_parts(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Split the names, in order, into as few parts as fit; at least one, which may be empty."""
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


# --- an entry as JSON ----------------------------------------------------------------------------


def members(entry: JournalEntry) -> dict[str, object]:
    """Return the members of the entry's JSON object."""
    backoff = entry.backoff
    return {
        "format": FORMAT,
        "window": entry.window,
        "timestamp": entry.timestamp,
        "delete": entry.names,
        "accepted": entry.accepted,
        "failures": backoff.failures,
        "not_before": backoff.not_before,
        "refusals": [[r.name, r.count, r.last, r.status] for r in backoff.refusals],
        "reason": bounded.printable(backoff.reason, "?"),
        "unanswered": backoff.unanswered,
        "unfinished": backoff.unfinished,
        **(
            {"spreads_us": [_microseconds(each) for each in entry.spreads]} if entry.spreads else {}
        ),
    }


def from_members(stored: object, version: int = FORMAT) -> JournalEntry:
    """Read the entry in a JSON object; ValueError, TypeError or KeyError where it holds none."""
    if not isinstance(stored, dict) or _count(stored["format"]) != version:
        raise ValueError("not a journal of this version")
    return JournalEntry(
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
        spreads=tuple(_spread(each) for each in _list(stored.get("spreads_us", []))),
    )


def _microseconds(spread_ns: float) -> int | None:
    return round(spread_ns / 1e3) if math.isfinite(spread_ns) else None


def _spread(value: object) -> float:
    return math.inf if value is None else _count(value) * 1e3


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
    return value[:MAX_REASON_CHARACTERS]


def _second(value: object) -> int | None:
    return None if value is None else _count(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_NUMBER:
        raise TypeError("expected a count")
    return value


def _moment(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("expected epoch seconds")
    return float(value)


def _name(value: object) -> str:
    """Accept only a plain name of a visible .json file: a journal deletes nothing else."""
    if not isinstance(value, str) or not value.isprintable() or "/" in value:
        raise ValueError("expected a file name")
    if value.startswith(".") or not value.endswith(".json"):
        raise ValueError("expected the name of a report")
    if len(value.encode()) > _MAX_NAME_BYTES:
        raise ValueError("expected a shorter file name")
    return value


# --- an entry in the file ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot: which one, and its sequence number.

    at, size_bytes: place of the entry if it does not fit into the slot, else 0; line: the bytes to
    be written; members: the JSON object that was read.
    """

    index: int
    sequence: int
    at: int = 0
    size_bytes: int = 0
    line: bytes = b""
    members: Mapping[str, object] = field(default_factory=dict)


def lay_out(entry: JournalEntry, sequence: int, current: Slot | None) -> tuple[Slot, bytes]:
    """Return the slot after `current` for an entry, and the bytes that do not fit into it."""
    index = 1 - current.index if current else 0
    content = orjson.dumps({"sequence": sequence, **members(entry)})
    line = _line(content)
    if len(line) <= SLOT_BYTES:
        return Slot(index, sequence, line=line), b""
    at, size_bytes = _free_place(len(content), current), len(content)
    place = {"sequence": sequence, "at": at, "bytes": size_bytes, "crc32": crc32(content)}
    return Slot(index, sequence, at, size_bytes, _line(orjson.dumps(place))), content


def whole_slots(pages: bytes) -> list[Slot]:
    """Return the valid slots, the latest first."""
    halves = pages[:SLOT_BYTES], pages[SLOT_BYTES:]
    slots = [slot for index, half in enumerate(halves) if (slot := _slot(index, half))]
    return sorted(slots, key=lambda slot: -slot.sequence)


def is_unused(pages: bytes) -> bool:
    """Return whether the slots are new, or their first entry was never committed."""
    halves = pages[:SLOT_BYTES], pages[SLOT_BYTES:]
    return all(half.startswith(PREPARED) or not half.strip(b"\0") for half in halves)


def entry_in(slot: Slot, read: Callable[[int, int], bytes]) -> JournalEntry:
    """Return the entry of a slot; ValueError, TypeError or KeyError where it is not valid.

    read: returns a number of bytes of the file from an offset.
    """
    if not slot.at:
        return from_members(slot.members)
    if slot.at < LONG_AT or slot.size_bytes > MAX_ENTRY_BYTES:
        raise ValueError("an entry at an offset where tixd writes none")
    content = read(slot.size_bytes, slot.at)
    if crc32(content) != slot.members.get("crc32"):
        raise ValueError("a long entry whose checksum is wrong")
    return from_members(orjson.loads(content))


def _line(head: bytes) -> bytes:
    return b"%08x %b\n" % (crc32(head), head)


def _free_place(size_bytes: int, current: Slot | None) -> int:
    """Return an offset for this many bytes that does not overlap the current entry."""
    if current and current.at and current.at < LONG_AT + size_bytes:
        return current.at + current.size_bytes
    return LONG_AT


def _slot(index: int, half: bytes) -> Slot | None:
    """Return the slot in these bytes; None where it is not valid."""
    checksum, _, head = half.partition(b"\n")[0].partition(b" ")
    if checksum != b"%08x" % crc32(head):
        return None
    try:
        stored = orjson.loads(head)
        numbers = [stored["sequence"], stored.get("at", 0), stored.get("bytes", 0)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if any(type(number) is not int or not 0 <= number < _MAX_NUMBER for number in numbers):
        return None
    sequence, at, size_bytes = numbers
    return Slot(index, sequence, at, size_bytes, members=stored)
