"""The parameters of a request to the records of its bundle.

In: `command`, `arg1`, `from`, `bundlesize` as form.py gives them. Out: a Bundle, or a BadRequest,
which carries its HTTP status. Rules: collector.md §2; a bundle is taken whole or not at all. A MiB
takes about 0.1 s, so `reading` works in steps; what goes in and comes out can be pickled. Pure.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from tixd import bounded
from tixd.collector import split
from tixd.collector.mapping import HANDSHAKE, KINDS
from tixd.collector.record import Record, record
from tixd.collector.record_parser import Found, Limits, called
from tixd.collector.split import envelope
from tixd.collector.steps import Steps, finished
from tixd.errors import BadRecord, BadRequest, MalformedBundle, OverLimit

#: The `arg1` of a request that only asks whether somebody is there.
PING = b"xxx"

#: The root element of a `multiupdate`.
ENVELOPE = "RecordEnvelope"

#: Bytes of records between two pauses: 5 ms of work.
_STEP_BYTES = 32 * 1024
#: What a record counts beside its source, and what any piece of text does: one part in so many, and
#: so many bytes.
_RECORD_BYTES, _TEXT_PART, _PIECE_BYTES = 400, 8, 16

#: Bytes whose encoding is checked between two pauses.
_DECODED_BYTES = 1 << 20

#: How many names of unknown records are told, and how much of each.
_UNKNOWN_NAMES, _NAME_CHARACTERS = 10, 100

_INTEGER = re.compile(rb"[+-]?\d{1,18}")

_Way = Callable[[bytes, Limits], Iterator[Found | int]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a request brings.

    records: in their order; unknown: how many others an envelope held, which are left out;
    unknown_names: some of their elements' names; handshakes: with which a probe begins its run.
    """

    records: tuple[Record, ...] = ()
    unknown: int = 0
    unknown_names: tuple[str, ...] = ()
    handshakes: int = 0

    @property
    def counts(self) -> Counter[str]:
        """How many of each type, handshakes too."""
        found = Counter(record.kind for record in self.records)
        return found + Counter({HANDSHAKE: self.handshakes})


def is_ping(parameters: Mapping[str, bytes]) -> bool:
    """Whether the request brings nothing; raises BadRequest where it is none that is known.

    To be asked first: it is quick, and reads no bundle.
    """
    _required(parameters, "command")
    if parameters["command"] not in (b"update", b"multiupdate"):
        raise BadRequest("unknown command")
    _required(parameters, "arg1")
    _required(parameters, "from")
    ping = parameters["command"] == b"update" and parameters["arg1"] == PING
    if parameters["command"] == b"update" and not ping:
        _required(parameters, "bundlesize")
    return ping


def read_bundle(parameters: Mapping[str, bytes], limits: Limits) -> Bundle:
    """The bundle, read at once; raises BadRequest, BadRecord or OverLimit."""
    return finished(reading(parameters, limits))


def reading(parameters: Mapping[str, bytes], limits: Limits) -> Steps[Bundle]:
    """The same in steps (steps.py) of about 5 ms; a record of 512 KiB, the largest, takes 60."""
    if is_ping(parameters):
        return Bundle()
    text = parameters["arg1"].removeprefix(codecs.BOM_UTF8)
    yield from _check_utf8(text)
    if parameters["command"] == b"multiupdate":
        return (yield from _read_envelope(text, limits))
    size = _bundle_size(parameters["bundlesize"])
    if size > limits.records:
        raise OverLimit(f"over {limits.records} records (maxRecords)")
    with suppress(MalformedBundle):
        return (yield from _read_update(text, size, limits, split.by_quotes))
    return (yield from _read_update(text, size, limits, split.by_structure))


def _read_update(text: bytes, size: int, limits: Limits, way: _Way) -> Steps[Bundle]:
    draft = _Draft(text, limits, unknown_refused=True)
    yield from _read(way(text, limits), draft)
    count = len(draft.records)
    if size not in (count, count + draft.handshakes):
        raise MalformedBundle(
            f"number of records in bundle ({count}) different than expected ({size})"
        )
    return draft.bundle()


def _read_envelope(text: bytes, limits: Limits) -> Steps[Bundle]:
    draft = _Draft(text, limits, unknown_refused=limits.unknown_refused)
    yield from _read(envelope(text, ENVELOPE, limits), draft)
    return draft.bundle()


def _read(elements: Iterator[Found | int], draft: _Draft) -> Steps[None]:
    """Add every element to the draft; an error says which record it is about."""
    worked = 0
    try:
        for found in elements:
            if isinstance(found, int):
                worked += found // _TEXT_PART + _PIECE_BYTES
            else:
                worked += len(found.source) + _RECORD_BYTES
                draft.add(found)
            del found  # whose tree would be held over a pause
            if worked > _STEP_BYTES:
                worked = 0
                yield draft.held
    except BadRequest as error:
        if error.at is None:
            raise
        raise draft.about(draft.text, error.at, error) from error


class _Draft:
    """A bundle while it is read; `held`: bytes that its records take."""

    def __init__(self, text: bytes, limits: Limits, *, unknown_refused: bool) -> None:
        self.text, self._limits, self._unknown_refused = text, limits, unknown_refused
        self.records: list[Record] = []
        self.handshakes = self.held = self._unknown = self._count = 0
        self._names: dict[str, None] = {}

    def add(self, found: Found) -> None:
        """Take the next element; raises BadRecord, OverLimit."""
        if self._count == self._limits.records:
            raise OverLimit(f"over {self._limits.records} records (maxRecords)")
        if found.name in KINDS:
            try:
                made = record(found)
            except BadRequest as error:
                raise self.about(found.source, 0, error) from error
            self.records.append(made)
            self.held += made.held_bytes
        elif found.name == HANDSHAKE:
            self.handshakes += 1
        else:
            self._add_unknown(found)
        self._count += 1

    def _add_unknown(self, found: Found) -> None:
        name = bounded.text(found.name, _NAME_CHARACTERS)
        if self._unknown_refused:
            raise self.about(found.source, 0, BadRecord(f"unknown record type {name}"))
        self._unknown += 1
        if len(self._names) < _UNKNOWN_NAMES:
            self._names[name] = None

    def about(self, text: bytes, start: int, error: BadRequest) -> BadRequest:
        """The error, with what the next record is called, whose text begins at `start`."""
        return type(error)(f"{called(text, start, self._count + 1)}: {error.detail}")

    def bundle(self) -> Bundle:
        """The bundle, once everything was added."""
        names = tuple(self._names)
        return Bundle(tuple(self.records), self._unknown, names, self.handshakes)


def _required(parameters: Mapping[str, bytes], name: str) -> None:
    if not parameters.get(name):
        raise BadRequest(f'missing key "{name}"')


def _bundle_size(text: bytes) -> int:
    if not _INTEGER.fullmatch(text):
        raise BadRequest("error interpreting bundlesize")
    return int(text)


def _check_utf8(text: bytes) -> Steps[None]:
    """Piece by piece, because the text as a str can be four times as large."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(text), _DECODED_BYTES):
            decoder.decode(text[start : start + _DECODED_BYTES])
            yield 0
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise BadRequest(f"arg1 is not UTF-8: {error.reason}") from error
