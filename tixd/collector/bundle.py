"""Read the records of a bundle from the parameters of its request.

Rules: the specification's collector.md §2; a bundle is taken whole or not at all. A MiB takes about
0.1 s, so `reading` works in steps; what goes in and comes out can be pickled. Pure.
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
from tixd.collector.cooperative import Steps, run_at_once
from tixd.collector.mapping import HANDSHAKE, KINDS
from tixd.collector.record import Record, record
from tixd.collector.record_parser import Limits, ParsedElement, describe_record
from tixd.errors import BadRecord, BadRequest, MalformedBundle, OverLimit

#: The `arg1` of a request that only asks whether the collector answers.
PING = b"xxx"

#: The root element of a `multiupdate`.
ENVELOPE = "RecordEnvelope"

#: Bytes of records between two pauses: 5 ms of work.
_STEP_BYTES = 32 * 1024

#: What a record counts as work beside its source, bytes.
_RECORD_BYTES = 400

#: Divisor of the bytes of any other text, which count as work.
_TEXT_PART = 8

#: What it counts as work whatever its length, bytes.
_PIECE_BYTES = 16

#: Bytes whose encoding is checked between two pauses.
_DECODED_BYTES = 1 << 20

#: How many names of unknown records are logged.
_UNKNOWN_NAMES = 10

#: How much of each is logged, characters.
_NAME_CHARACTERS = 100

_INTEGER = re.compile(rb"[+-]?\d{1,18}")

_Splitter = Callable[[bytes, Limits], Iterator[ParsedElement | int]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a request brings.

    records: in their order; unknown: how many others an envelope held, which are left out;
    unknown_names: names of some of them; handshakes: with which a probe begins its run.
    """

    records: tuple[Record, ...] = ()
    unknown: int = 0
    unknown_names: tuple[str, ...] = ()
    handshakes: int = 0

    @property
    def counts(self) -> Counter[str]:
        """Return how many of each type, handshakes too."""
        found = Counter(record.kind for record in self.records)
        return found + Counter({HANDSHAKE: self.handshakes})


def is_ping(parameters: Mapping[str, bytes]) -> bool:
    """Return whether the request brings no bundle; raises BadRequest where it lacks a parameter.

    Ask this first: it is quick, and reads no bundle.
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
    """Read a bundle at once; raises BadRequest, BadRecord or OverLimit."""
    return run_at_once(reading(parameters, limits))


def reading(parameters: Mapping[str, bytes], limits: Limits) -> Steps[Bundle]:
    """Read a bundle in steps of about 5 ms; a record of 512 KiB, the largest, takes 60."""
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


def _read_update(text: bytes, size: int, limits: Limits, splitter: _Splitter) -> Steps[Bundle]:
    draft = _Draft(text, limits, unknown_refused=True)
    yield from _read(splitter(text, limits), draft)
    count = len(draft.records)
    if size not in (count, count + draft.handshakes):
        raise MalformedBundle(
            f"number of records in bundle ({count}) different than expected ({size})"
        )
    return draft.bundle()


def _read_envelope(text: bytes, limits: Limits) -> Steps[Bundle]:
    draft = _Draft(text, limits, unknown_refused=limits.unknown_refused)
    yield from _read(split.envelope(text, ENVELOPE, limits), draft)
    return draft.bundle()


def _read(elements: Iterator[ParsedElement | int], draft: _Draft) -> Steps[None]:
    """Add every element to the draft; an error says which record it is about."""
    worked = 0
    try:
        for found in elements:
            if isinstance(found, int):
                worked += found // _TEXT_PART + _PIECE_BYTES
            else:
                worked += len(found.source) + _RECORD_BYTES
                draft.add(found)
            del found  # its tree would be held over a pause
            if worked > _STEP_BYTES:
                worked = 0
                yield draft.memory_bytes
    except BadRequest as error:
        if error.at is None:
            raise
        raise draft.naming_record(draft.text, error.at, error) from error


class _Draft:
    """A bundle while it is read."""

    def __init__(self, text: bytes, limits: Limits, *, unknown_refused: bool) -> None:
        self.text = text
        self._limits = limits
        self._unknown_refused = unknown_refused
        self.records: list[Record] = []
        self.memory_bytes = 0
        self.handshakes = 0
        self._unknown = 0
        self._unknown_names: dict[str, None] = {}
        self._count = 0

    def add(self, found: ParsedElement) -> None:
        """Take the next element; raises BadRecord, OverLimit."""
        if self._count == self._limits.records:
            raise OverLimit(f"over {self._limits.records} records (maxRecords)")
        if found.name in KINDS:
            try:
                made = record(found)
            except BadRequest as error:
                raise self.naming_record(found.source, 0, error) from error
            self.records.append(made)
            self.memory_bytes += made.memory_bytes
        elif found.name == HANDSHAKE:
            self.handshakes += 1
        else:
            self._add_unknown(found)
        self._count += 1

    def _add_unknown(self, found: ParsedElement) -> None:
        name = bounded.text(found.name, _NAME_CHARACTERS)
        if self._unknown_refused:
            error = BadRecord(f"unknown record type {name}")
            raise self.naming_record(found.source, 0, error)
        self._unknown += 1
        if len(self._unknown_names) < _UNKNOWN_NAMES:
            self._unknown_names[name] = None

    def naming_record(self, text: bytes, start: int, error: BadRequest) -> BadRequest:
        """Return the error with the name of the next record, whose text begins at `start`."""
        return type(error)(f"{describe_record(text, start, self._count + 1)}: {error.detail}")

    def bundle(self) -> Bundle:
        """Return the bundle, once everything was added."""
        names = tuple(self._unknown_names)
        return Bundle(tuple(self.records), self._unknown, names, self.handshakes)


def _required(parameters: Mapping[str, bytes], name: str) -> None:
    if not parameters.get(name):
        raise BadRequest(f'missing key "{name}"')


def _bundle_size(text: bytes) -> int:
    if not _INTEGER.fullmatch(text):
        raise BadRequest("error interpreting bundlesize")
    return int(text)


def _check_utf8(text: bytes) -> Steps[None]:
    """Decode piece by piece, because the text as a str can be four times as large."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(text), _DECODED_BYTES):
            if start:
                yield 0
            decoder.decode(text[start : start + _DECODED_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise BadRequest(f"arg1 is not UTF-8: {error.reason}") from error
