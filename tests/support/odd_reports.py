"""Reports that cannot be used: content, and words that must stand in the reason beside them."""

from __future__ import annotations

import json

from tests.support.made import TEN_O_CLOCK, minute, record, report

SECOND = 1_700_000_315

WHOLE = minute(SECOND)

_MIB = 2**20


def _with(**members: object) -> bytes:
    return report(record(SECOND), **members)


def _raw(member: str, text: str) -> bytes:
    """A report in whose JSON this text stands as the value of the member."""
    members = {**json.loads(WHOLE), member: "HERE"}
    return json.dumps(members).replace('"HERE"', text).encode()


UNUSABLE = {
    "empty": (b"", "empty file"),
    "cut": (WHOLE[: len(WHOLE) // 2], "no JSON"),
    "cut at its last byte": (WHOLE[:-1], "no JSON"),
    "text": (b"hello", "no JSON"),
    "not UTF-8": (b'{"from": "\xff"}', "no JSON"),
    "array": (b"[]", "no JSON object"),
    "number": (b"17", "no JSON object"),
    "member missing": (_with(signature=None), '"signature" is missing'),
    "string for a number": (_with(userId="1"), '"userId" is not an integer'),
    "float for a number": (_with(sentTimestamp=1.0), '"sentTimestamp" is not an integer'),
    "boolean for a number": (_with(installationId=True), '"installationId" is not an integer'),
    "number for a string": (_with(publicKey=5), '"publicKey" is not a string'),
    "other type": (_with(type="SHORT"), "LONG"),
    "source in two lines": (_with(source="203.0.113.7\nx"), "no address that can be posted"),
    "NUL in the source": (_with(source="host\0:80"), "no address that can be posted"),
    "source of 299 characters": (_with(source="h" * 299), "no address that can be posted"),
    "source of 70,000 characters": (_with(source="h" * 70_000), "more than 300 characters"),
    "lone surrogate in the source": (_raw("from", '"\\ud800"'), "no JSON"),
    "no source": (_with(source=":80"), "no address"),
    "no base64": (_with(message="%%%%" * 15), "base64"),
    "base64 in lines": (_with(message="AAAA\n" * 15), "base64"),
    "half a record": (report(record(SECOND)[:42]), "45-byte records"),
    "no record": (report(b""), "message is empty"),
    "records of unknown kind": (report(record(SECOND, kind=b"X")), "kind S or L"),
    "second below 0": (report(record(-1)), "epoch second"),
    "second beyond 2106": (report(record(2**32)), "epoch second"),
    "time below 0": (report(record(SECOND, times=(-1, 0, 0, 0))), "7 days"),
    "time of ten days": (report(record(SECOND, times=(0, 24 * TEN_O_CLOCK, 0, 0))), "7 days"),
    "NaN": (_raw("userId", "NaN"), "no JSON"),
    "1e400": (_raw("userId", "1e400"), "no JSON"),
    "lone surrogate": (_raw("to", '"\\ud800"'), "no JSON"),
    "a million digits": (_raw("userId", "9" * (_MIB - 8000)), "no JSON"),
    "100,000 deep": (_raw("extra", "[" * 100_000 + "]" * 100_000), "no JSON"),
    "over 1 MiB": (WHOLE + b" " * _MIB, "bytes are more than"),
}
