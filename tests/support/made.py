"""Made reports: the smallest that the specification allows, whole folders and archives of them.

And reports that cannot be used: content, and words that must stand in the reason beside them.
"""

from __future__ import annotations

import base64
import functools
import io
import json
import os
import struct
import tarfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tixd.simulation.probing import LinkDirection, Scenario
from tixd.simulation.report_files import reports

MS = 1_000_000
#: A time of day at which nothing wraps: 10:00.
TEN_O_CLOCK = 36_000 * 1_000_000_000


def record(
    second: int,
    kind: bytes = b"S",
    size: int = 32,
    times: tuple[int, int, int, int] | None = None,
) -> bytes:
    """One observation as it stands in a message; by default 20 ms up, 30 ms down."""
    t1 = TEN_O_CLOCK + second % 3600 * 10**9
    made = times or (t1, t1 + 20 * MS, t1 + 21 * MS, t1 + 51 * MS)
    return struct.pack(">qcIqqqq", second, kind, size, *made)


def report(records: bytes, **members: Any) -> bytes:
    """A report file with this message; `members` replace or, where None, remove its members."""
    made = {
        "from": "203.0.113.7:4501",
        "to": "[0:0:0:0:0:0:0:0%0]:4500",
        "type": "LONG",
        "initialTimestamp": 1,
        "receptionTimestamp": 0,
        "sentTimestamp": 0,
        "finalTimestamp": 0,
        "publicKey": "bWFkZSB1cA==",
        "message": base64.b64encode(records).decode(),
        "signature": "bWFkZSB1cA==",
        "userId": 1,
        "installationId": 2,
    } | {("from" if key == "source" else key): value for key, value in members.items()}
    return json.dumps({k: v for k, v in made.items() if v is not None}).encode()


def minute(first: int, count: int = 60, size: int = 32, **members: Any) -> bytes:
    """A report of `count` observations, one a second, that begins at `first`; delays vary."""
    rows = []
    for i in range(count):
        t1 = TEN_O_CLOCK + (first + i) % 3600 * 10**9
        up = 20 * MS + (first + i) * 7919 % 1009 * 10_000
        down = 30 * MS + (first + i) * 104_729 % 997 * 20_000
        times = (t1, t1 + up, t1 + up + MS, t1 + up + MS + down)
        rows.append(record(first + i, size=size, times=times))
    return report(b"".join(rows), **members)


def installation(base: Path, first: int, reports: int = 19, user: int = 1, number: int = 2) -> Path:
    """A folder of one-minute reports from the epoch second `first`, as the condenser leaves it."""
    folder = base / str(user) / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(reports):
        second = first + 60 * i
        content = minute(second, userId=user, installationId=number)
        (folder / f"tix-report-{second}.json").write_bytes(content)
    return lively(folder)


def lively(folder: Path) -> Path:
    """Date an installation's folder an hour ahead, so that every scan until then looks at it.

    Scans leave out what has not changed for three periods, nine seconds at the least: a service
    may start later than that, where real installations would have changed meanwhile.
    """
    later = time.time() + 3600
    os.utime(folder, (later, later))
    return folder


#: When the first made report begins.
START = 1_700_000_000

_SCENARIO = Scenario(
    start=START,
    duration_seconds=31 * 61,
    upstream=LinkDirection(1e6, 0.3, (0.1,)),
    downstream=LinkDirection(10e6, 0.15, (0.5,)),
    propagation_seconds=0.01,
    jitter_seconds=0.0005,
    loss=0.0,
    client_offset_seconds=0.0,
    client_skew_ppm=0.0,
)


@functools.cache
def made_reports(source: str = "192.0.2.1", **changes: Any) -> tuple[tuple[str, bytes], ...]:
    """Name and content of 31 reports of 60 observations each: two windows, of 19 reports each.

    changes: of the scenario.
    """
    return tuple(reports(replace(_SCENARIO, **changes), 1, 1, 1, source))


def lay_out(folder: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    """Write the files into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files:
        (folder / name).write_bytes(content)
    return folder


def member(name: str, content: bytes = b"", **header: object) -> tuple[tarfile.TarInfo, bytes]:
    """A member of an archive; `header` overrides fields of its header."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in header.items():
        setattr(info, field, value)
    return info, content


def pack(path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """Write a .tar.gz of these members as they are, sensible or not."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path


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
    "cut": (WHOLE[: len(WHOLE) // 2], "not JSON"),
    "cut at its last byte": (WHOLE[:-1], "not JSON"),
    "text": (b"hello", "not JSON"),
    "not UTF-8": (b'{"from": "\xff"}', "not JSON"),
    "array": (b"[]", "not a JSON object"),
    "number": (b"17", "not a JSON object"),
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
    "lone surrogate in the source": (_raw("from", '"\\ud800"'), "not JSON"),
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
    "NaN": (_raw("userId", "NaN"), "not JSON"),
    "1e400": (_raw("userId", "1e400"), "not JSON"),
    "lone surrogate": (_raw("to", '"\\ud800"'), "not JSON"),
    "a million digits": (_raw("userId", "9" * (_MIB - 8000)), "not JSON"),
    "100,000 deep": (_raw("extra", "[" * 100_000 + "]" * 100_000), "not JSON"),
    "over 1 MiB": (WHOLE + b" " * _MIB, "bytes are more than"),
}
