"""Made reports: the smallest that the specification allows, with whatever a test wants in them."""

from __future__ import annotations

import base64
import json
import os
import struct
import time
from pathlib import Path
from typing import Any

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
