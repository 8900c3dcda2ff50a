"""The parameters of a request to the records of its bundle; pure.

In: `command`, `arg1`, `from`, `bundlesize` as form.py gives them. Out: a Bundle, or a BadRequest,
which carries its HTTP status. Rules: collector.md §2; a bundle is taken whole or not at all. A MiB
takes about 0.1 s, so `reading` works in steps; what goes in and comes out can be pickled.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from tixd import bounded
from tixd.collector import split
from tixd.collector.cut import envelope
from tixd.collector.elements import Found
from tixd.collector.kinds import KINDS
from tixd.collector.limits import Limits
from tixd.collector.record import Record, record
from tixd.collector.steps import Steps, finished
from tixd.errors import BadRecord, BadRequest, Malformed, OverLimit

#: The `arg1` of a request that only asks whether somebody is there.
PING = b"xxx"

#: The root element of a `multiupdate`.
ENVELOPE = "RecordEnvelope"

#: Bytes of records between two pauses: 5 ms of work.
_STEP_BYTES = 32 * 1024
#: What a token that is no record counts as, and what a record does beside its source.
_TOKEN_BYTES, _RECORD_BYTES = 16, 400

#: Bytes whose encoding is checked between two pauses.
_DECODED_BYTES = 1 << 20

#: How many names of unknown records are told, and how much of each.
_UNKNOWN_NAMES, _NAME_CHARACTERS = 10, 100

_INTEGER = re.compile(rb"[+-]?\d{1,18}")

_Way = Callable[[bytes, Limits], Iterator[Found | None]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a request brings.

    records: in their order; unknown: how many others an envelope held, which are left out;
    unknown_names: some of their elements' names.
    """

    records: tuple[Record, ...] = ()
    unknown: int = 0
    unknown_names: tuple[str, ...] = ()


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
        raise OverLimit(f"over {limits.records} records")
    with suppress(Malformed):
        return (yield from _read_update(text, size, limits, split.by_quotes))
    return (yield from _read_update(text, size, limits, split.by_structure))


def _read_update(text: bytes, size: int, limits: Limits, way: _Way) -> Steps[Bundle]:
    records: list[Record] = []
    worked = held = 0
    for found in way(text, limits):
        worked += len(found.source) + _RECORD_BYTES if found else _TOKEN_BYTES
        if found:
            if len(records) == limits.records:
                raise OverLimit(f"over {limits.records} records")
            if found.name not in KINDS:
                raise BadRecord(f"unknown record type {found.name}")
            records.append(_record(found, len(records)))
            held += records[-1].held_bytes
        if worked > _STEP_BYTES:
            worked = 0
            yield held
    if len(records) != size:
        count = len(records)
        raise Malformed(f"number of records in bundle ({count}) different than expected ({size})")
    return Bundle(tuple(records))


def _read_envelope(text: bytes, limits: Limits) -> Steps[Bundle]:
    records: list[Record] = []
    unknown, names = 0, dict[str, None]()
    worked = held = 0
    for found in envelope(text, ENVELOPE, limits):
        worked += len(found.source) + _RECORD_BYTES
        if found.name in KINDS:
            records.append(_record(found, len(records) + unknown))
            held += records[-1].held_bytes
        elif limits.unknown_refused:
            raise BadRecord(f"unknown record type {found.name}")
        else:
            unknown += 1
            if len(names) < _UNKNOWN_NAMES:
                names[bounded.text(found.name, _NAME_CHARACTERS)] = None
        if worked > _STEP_BYTES:
            worked = 0
            yield held
    return Bundle(tuple(records), unknown, tuple(names))


def _record(found: Found, before: int) -> Record:
    try:
        return record(found)
    except BadRecord as error:
        raise BadRecord(f"record {before + 1}: {error.detail}") from error


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
