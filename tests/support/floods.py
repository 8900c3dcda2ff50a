"""Many hostile bodies at once, with a good probe between, on a collector of its own."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import quote_plus

from tests.support.bundles import form, job
from tests.support.collecting import FORM
from tixd.collector.server import SERVLET

#: Bodies at once.
AT_ONCE = 64


@dataclass(slots=True)
class Answers:
    """Statuses and how long each answer took, of hostile bodies and of good probes."""

    hostile: Counter[int] = field(default_factory=Counter)
    good: Counter[int] = field(default_factory=Counter)
    good_seconds: list[float] = field(default_factory=list)


def envelope(content: str) -> bytes:
    """A multiupdate of this."""
    text = quote_plus(f"<RecordEnvelope>{content}</RecordEnvelope>")
    return b"command=multiupdate&from=x&arg1=" + text.encode()


def packed(head: bytes, filling: bytes, mebibytes: int) -> bytes:
    """A form of few bytes as gzip, and of many once inflated."""
    packer, block = zlib.compressobj(9, wbits=31), filling * (1 << 20)
    pieces = [packer.compress(head), *(packer.compress(block) for _ in range(mebibytes))]
    return b"".join([*pieces, packer.flush()])


def members(count: int) -> bytes:
    """A good form behind so many empty members of gzip."""
    return gzip.compress(b"", mtime=0) * count + gzip.compress(form(["a"]))


#: Bodies by name: how each is made, and whether it is gzip.
KINDS: dict[str, tuple[Callable[[], bytes], bool]] = {
    "20,000 members": (lambda: members(20_000), True),
    "200,000 members": (lambda: members(200_000), True),
    "60 MiB of blanks": (lambda: packed(b"command=multiupdate&from=a&arg1=", b"+", 60), True),
    "a sender's name of 60 MiB": (
        lambda: packed(b"command=update&arg1=xxx&from=", b"\x01", 60),
        True,
    ),
    "a text of 15 MiB": (lambda: envelope(f"<UsageRecord><a>{'x' * (15 << 20)}"), False),
    "many parameters": (lambda: b"&".join([b"a=" + b"x" * 16_000] * 990), False),
    "a million elements in each other": (lambda: envelope("<a>" * 1_000_000), False),
    "3,000 records": (lambda: envelope("".join(map(job, range(3000)))), False),
    "10,000 small records": (lambda: envelope("<UsageRecord/>" * 10_000), False),
}


def post(port: int, body: bytes, *, is_gzip: bool = False) -> int:
    """The status of the answer; 0 where there is none."""
    headers = FORM | ({"Content-Encoding": "gzip"} if is_gzip else {})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("POST", SERVLET, body, headers)
        return connection.getresponse().status
    return 0


@contextlib.contextmanager
def probing(port: int, answers: Answers) -> Iterator[None]:
    """Post good bundles of 15 records, one after the other, while the block runs."""
    stop, good = threading.Event(), form(range(15))

    def probe() -> None:
        while not answers.good or not stop.wait(0.05):
            begun = time.monotonic()
            answers.good[post(port, good)] += 1
            answers.good_seconds.append(time.monotonic() - begun)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)


def flood(port: int, body: bytes, *, is_gzip: bool) -> Answers:
    """What many of these bodies at once are answered, and good probes meanwhile."""
    answers = Answers()
    with probing(port, answers), ThreadPoolExecutor(AT_ONCE) as pool:
        answers.hostile.update(
            pool.map(lambda _: post(port, body, is_gzip=is_gzip), range(AT_ONCE))
        )
    return answers
