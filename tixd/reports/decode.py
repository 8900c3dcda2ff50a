"""Decode report files strictly, many at a time: a Report each, or a BadReport with the reason.

Format: a JSON object with the members below; "message" is base64 of 45-byte big-endian records
(analysis/observations.py). Rules: messages of a batch are decoded and checked together, which takes
a tenth of the time; where a batch fails, each file is decoded alone. A record is 60 base64
characters, so messages join without padding. Pure.
"""

from __future__ import annotations

import binascii
import functools
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import orjson
import pybase64

from tixd.analysis.observations import LONG, OBSERVATION, SHORT, Observations
from tixd.errors import BadReport
from tixd.reports.model import Report, is_source

#: A record, read as its times t1 to t4 in one field, unsigned, and what stands before them.
_TIMES = np.dtype([("before", "V13"), ("times", ">u8", 4)])

#: Bytes of one observation in a message, and the base64 characters that they take.
RECORD_BYTES = OBSERVATION.itemsize
RECORD_CHARACTERS = RECORD_BYTES * 4 // 3

#: Longest member "from", characters: a longer one reaches no cache.
MAX_FROM_CHARACTERS = 300

#: orjson's message where it gets no memory, as if the JSON were wrong.
NO_MEMORY = "Not enough memory"

#: Its message, with a word of Python's, for bytes that are not text.
_NOT_UTF8 = "is not valid UTF-8"

#: Latest time of day that is believed: some clients count on past midnight, none for a week.
MAX_TIME_NS = 7 * 24 * 3600 * 10**9

#: Largest epoch second that is believed (32 bits unsigned: the year 2106).
MAX_SECOND = 2**32 - 1

#: The type of each member that is required.
_TYPES: dict[str, type] = {
    **dict.fromkeys(("from", "to", "type", "publicKey", "signature", "message"), str),
    **dict.fromkeys(
        ("initialTimestamp", "receptionTimestamp", "sentTimestamp", "finalTimestamp"), int
    ),
    **dict.fromkeys(("userId", "installationId"), int),
}

#: The types alone, in order.
_EXPECTED = tuple(_TYPES.values())

_WORDS = {str: "a string", int: "an integer"}


@dataclass(slots=True, eq=False)
class _Envelope:
    """The members of a report that tixd uses."""

    name: str
    source: str
    message: str
    user_id: int
    installation_id: int


def decode(name: str, content: bytes) -> Report:
    """Decode one report file; raises BadReport."""
    (decoded,) = decode_many([(name, content)])
    if isinstance(decoded, BadReport):
        raise decoded
    return decoded


def decode_many(files: Sequence[tuple[str, bytes]]) -> list[Report | BadReport]:
    """Decode (name, content) pairs; the results stand in the order of the files."""
    opened = [_open_envelope(name, content) for name, content in files]
    reports = iter(_read_messages([e for e in opened if isinstance(e, _Envelope)]))
    return [next(reports) if isinstance(e, _Envelope) else e for e in opened]


def _open_envelope(name: str, content: bytes) -> _Envelope | BadReport:
    """Parse the JSON object around the message and check every member that is required."""
    try:
        members = orjson.loads(content)
        _check_members(members)
        return _Envelope(
            name,
            source_address(members["from"]),
            members["message"],
            members["userId"],
            members["installationId"],
        )
    except orjson.JSONDecodeError as error:
        if NO_MEMORY in error.msg:
            raise MemoryError(f"{name}: {error.msg}") from error
        if not content:
            return BadReport(f"{name}: empty file")
        why = "its text is not UTF-8" if _NOT_UTF8 in error.msg else error
        return BadReport(f"{name}: not JSON ({why})")
    except BadReport as error:
        return BadReport(f"{name}: {error.detail}")


def _check_members(members: object) -> None:
    if not isinstance(members, dict):
        raise BadReport("not a JSON object")
    if tuple(map(type, map(members.get, _TYPES))) != _EXPECTED:
        raise BadReport(_complaint(members))
    if len(members["from"]) > MAX_FROM_CHARACTERS:
        raise BadReport(f'member "from" has more than {MAX_FROM_CHARACTERS} characters')
    if members["type"] != "LONG":
        raise BadReport('member "type" is not "LONG"')


def _complaint(members: dict[str, object]) -> str:
    """Say what is wrong with the first member that is not of its type."""
    wrong = ((key, kind) for key, kind in _TYPES.items() if type(members.get(key)) is not kind)
    key, kind = next(wrong)
    return f'member "{key}" is ' + (f"not {_WORDS[kind]}" if key in members else "missing")


@functools.lru_cache(maxsize=1024)
def source_address(text: str) -> str:
    """Return the address in a socket address such as `/1.2.3.4:80` or `[::1%0]:80`, canonical.

    Raises BadReport where nothing is left, or a text that a result cannot hold. An IPv4 address
    mapped into IPv6 is returned as IPv4; a text that is not an address is returned as it is.
    """
    host = text.strip().removeprefix("/")
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    host = host.partition("%")[0]
    if not host:
        raise BadReport('member "from" holds no address')
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if is_source(host):
            return host
        raise BadReport('member "from" holds no address that can be posted') from None
    return str(getattr(address, "ipv4_mapped", None) or address)


def _read_messages(envelopes: Sequence[_Envelope]) -> list[Report | BadReport]:
    """Decode the messages of all envelopes together, or one by one where that fails."""
    if not envelopes:
        return []
    try:
        return list(_read_together(envelopes))
    except BadReport as error:
        if len(envelopes) > 1:
            return [report for e in envelopes for report in _read_messages([e])]
        return [BadReport(f"{envelopes[0].name}: {error.detail}")]


def _read_together(envelopes: Sequence[_Envelope]) -> list[Report]:
    rows = _records([e.message for e in envelopes])
    counts = [len(e.message) // RECORD_CHARACTERS for e in envelopes]
    known = (rows["kind"] == SHORT) | (rows["kind"] == LONG)
    if not known.all():
        cuts = list(accumulate(counts))[:-1]
        counts = [int(part.sum()) for part in np.split(known, cuts)]
        rows = rows[known]
    if not all(counts):
        raise BadReport("message holds no record of kind S or L")
    seconds = _checked_seconds(rows)
    starts = [0, *accumulate(counts)]
    firsts = np.minimum.reduceat(seconds, starts[:-1]).tolist()
    lasts = np.maximum.reduceat(seconds, starts[:-1]).tolist()
    return [
        Report(e.name, e.user_id, e.installation_id, e.source, first, last, rows[start:end])
        for e, first, last, start, end in zip(
            envelopes, firsts, lasts, starts[:-1], starts[1:], strict=True
        )
    ]


def _records(messages: Sequence[str]) -> Observations:
    """Return all records of the messages, shape (n,), in the byte order of the wire."""
    if not all(messages):
        raise BadReport("message is empty")
    try:
        data = pybase64.b64decode("".join(messages), validate=True)
    except (binascii.Error, ValueError):
        raise BadReport("message is not strict base64") from None
    if any(len(m) % RECORD_CHARACTERS for m in messages) or len(data) % RECORD_BYTES:
        raise BadReport(f"message is not made of {RECORD_BYTES}-byte records")
    return np.frombuffer(data, OBSERVATION)


def _checked_seconds(rows: Observations) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Return the epoch seconds; raises BadReport where one, or a time of day, is absurd.

    A negative number is a huge unsigned one, so all times need one look.
    """
    times = rows.view(_TIMES)["times"]
    if times.max() > MAX_TIME_NS:
        first = int((times.max(axis=0) > MAX_TIME_NS).argmax())
        raise BadReport(f"a time t{first + 1} lies outside 0..7 days")
    seconds: np.ndarray[tuple[int], np.dtype[np.uint64]] = rows["second"].astype(np.uint64)
    if seconds.max() > MAX_SECOND:
        raise BadReport("an epoch second lies outside 0..2^32-1")
    return seconds
