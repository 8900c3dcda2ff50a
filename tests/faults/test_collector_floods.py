"""Many hostile requests at once: memory stays bounded, good senders are served meanwhile."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from tests.support.broker import Broker
from tests.support.bundles import form, job
from tests.support.chosen import few
from tests.support.collecting import FORM
from tests.support.collector import Collector
from tests.support.direct import bound_queue, to_broker
from tests.support.program import until
from tests.support.run_delay import Stopwatch, until_soon
from tixd.collector.server import SERVLET

#: Bodies at once: fewer than there are places, for nothing tells small bundles from small ones.
AT_ONCE = 60


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
def probing(collector: Collector, broker: Broker, answers: Answers) -> Iterator[None]:
    """Post good bundles of 15 records, one after the other, while the block runs."""
    stop, good = threading.Event(), form(range(15))

    def probe() -> None:
        while not answers.good or not stop.wait(0.05):
            watch = Stopwatch(collector.pid, broker.pid)
            answers.good[post(collector.port, good)] += 1
            answers.good_seconds.append(watch.seconds())

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)


def flood(
    collector: Collector, broker: Broker, body: bytes, *, is_gzip: bool, at_once: int = AT_ONCE
) -> Answers:
    """What many of these bodies at once are answered, and good probes meanwhile."""
    answers = Answers()
    with probing(collector, broker, answers), ThreadPoolExecutor(at_once) as pool:
        answers.hostile.update(
            pool.map(lambda _: post(collector.port, body, is_gzip=is_gzip), range(at_once))
        )
    return answers


#: Most memory of a collector, whatever it is sent.
MOST_BYTES = 256 * 1000 * 1000

#: How long a good probe waits for its answer at most, and a single hostile body; not counting for
#: how long collector and broker wait for a core, which is the machine's affair.
GOOD_SECONDS, SINGLE_SECONDS = 2.0, 1.0

#: Kinds that no limit refuses: each takes its time.
ACCEPTED = ("3,000 records", "10,000 small records")

#: The kinds: the normal run has one of packed text, of long text, of parameters and of records.
PARAMETERS = few(
    KINDS, "60 MiB of blanks", "a text of 15 MiB", "many parameters", "10,000 small records"
)

#: Longest line of the log.
LINE_BYTES = 4096


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A RabbitMQ with the collector's exchange and a queue."""
    with Broker(tmp_path_factory.mktemp("broker")) as running:
        bound_queue(running)
        yield running


@contextlib.contextmanager
def collecting(
    tmp_path: Path, broker: Broker, *options: str, **settings: str
) -> Iterator[Collector]:
    """A collector of its own, because its peak counts from its start."""
    with Collector(tmp_path, to_broker(broker.port, **settings), *options) as collector:
        collector.becomes_ready()
        yield collector


@pytest.mark.alone
@pytest.mark.parametrize("kind", PARAMETERS)
def test_many_hostile_bodies_at_once_take_little_memory_and_shut_nobody_out(tmp_path, broker, kind):
    make, is_gzip = KINDS[kind]
    body = make()
    with collecting(tmp_path, broker, timeout="60s") as collector:
        watch = Stopwatch(collector.pid, broker.pid)
        alone = post(collector.port, body, is_gzip=is_gzip)
        seconds = watch.seconds()
        answers = flood(collector, broker, body, is_gzip=is_gzip)
        peak, log = collector.peak_bytes(), collector.log_file.read_bytes()
    waited = max(answers.good_seconds)
    sys.stdout.write(f"{kind}: {alone} in {seconds:.2f} s, then {dict(answers.hostile)}; ")
    sys.stdout.write(f"good {dict(answers.good)} within {waited:.2f} s; {peak >> 20} MiB\n")
    assert alone in ((200,) if kind in ACCEPTED else (400, 413))
    assert set(answers.hostile) <= {0, 200, 400, 408, 413, 503}
    assert (set(answers.good), peak < MOST_BYTES) == ({200}, True)
    assert max(map(len, log.splitlines())) <= LINE_BYTES
    assert waited < GOOD_SECONDS
    assert seconds < SINGLE_SECONDS or kind in ACCEPTED


def beginning(length: int, sent: int) -> bytes:
    """The first bytes of a request whose body has that length; of the body so many."""
    head = f"POST {SERVLET} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
    return f"{head}Content-Type: {FORM['Content-Type']}\r\n\r\narg1=".encode() + bytes(sent)


@contextlib.contextmanager
def stalling(port: int, count: int, start: bytes) -> Iterator[None]:
    """So many connections that send the beginning of a request, and then nothing more."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            with contextlib.suppress(OSError):  # it may be closed to make room
                sock.sendall(start)
        yield


@pytest.mark.alone
def test_a_good_bundle_is_taken_although_large_bodies_stall(tmp_path, broker):
    start = beginning(16 << 20, (16 << 20) - 2048)
    with collecting(tmp_path, broker) as collector, stalling(collector.port, 17, start):
        # Until the first of them has stalled, there may be no room for a bundle.
        taken_soon(collector, broker)
        assert [collector.post(form(range(60))) for _ in range(20)] == [200] * 20
        assert collector.peak_bytes() < MOST_BYTES


def taken_soon(collector: Collector, broker: Broker) -> None:
    """Wait until a good bundle is taken, which must be soon."""
    pids = (collector.pid, broker.pid)
    until_soon(lambda: collector.post(form(range(60))) == 200, GOOD_SECONDS, *pids)


def sends_chunks_of_one_byte(port: int, ended: threading.Event) -> None:
    """Send a body in the smallest chunks there are, on and on, until told to end."""
    head = f"POST {SERVLET} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    head += f"Content-Type: {FORM['Content-Type']}\r\n\r\n5\r\narg1=\r\n"
    chunks = b"1\r\nx\r\n" * 20_000
    while not ended.is_set():
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 20) as sock,
        ):
            sock.sendall(head.encode())
            while not ended.is_set():
                sock.sendall(chunks)


@pytest.mark.alone
def test_where_every_place_is_taken_a_good_bundle_is_told_to_come_again(tmp_path, broker):
    with collecting(tmp_path, broker, maxRequests="64") as collector:
        body = KINDS["10,000 small records"][0]()
        answers = flood(collector, broker, body, is_gzip=False, at_once=64)
        assert set(answers.good) <= {200, 503}
        assert collector.post(form(range(15))) == 200


@pytest.mark.alone
def test_a_flood_of_the_smallest_chunks_keeps_no_good_bundle_waiting(tmp_path, broker):
    answers, ended = Answers(), threading.Event()
    with collecting(tmp_path, broker) as collector, ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(AT_ONCE):
            pool.submit(sends_chunks_of_one_byte, collector.port, ended)
        # Of each new connection 64 KiB are read before it is known how long they take.
        until(lambda: collector.post(form(range(15))) == 200)
        with probing(collector, broker, answers):
            until(lambda: answers.good.total() == 10, 60)
        ended.set()
    assert set(answers.good) == {200}
    assert max(answers.good_seconds) < GOOD_SECONDS


@pytest.mark.alone
def test_many_small_bodies_that_stall_make_room_for_good_ones(tmp_path, broker):
    start = beginning(1_000_000, 300_000)
    with collecting(tmp_path, broker) as collector, stalling(collector.port, 400, start):
        taken_soon(collector, broker)
        assert [collector.post(form(range(60))) for _ in range(20)] == [200] * 20
        assert collector.peak_bytes() < MOST_BYTES
        evicted = [line for line in collector.log("request") if line["code"] == 408]
        assert evicted


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["heads", "fields"])
def test_heads_that_do_not_end_take_little_memory(tmp_path, broker, kind):
    start = b"GET /" + b"a" * 1_000_000
    if kind == "fields":
        start = b"GET / HTTP/1.1\r\n" + b"".join(
            b"a%d: %b\r\n" % (n, b"x" * 16_000) for n in range(90)
        )
    with collecting(tmp_path, broker) as collector, stalling(collector.port, 300, start):
        # Until the first heads have stalled, there may be no room for a bundle.
        taken_soon(collector, broker)
        assert [collector.post(form(range(60))) for _ in range(20)] == [200] * 20
        assert collector.peak_bytes() < MOST_BYTES


@pytest.mark.parametrize("start", [b"/", SERVLET.encode() + b"?", b"http://"], ids=str)
def test_long_request_lines_leave_nothing_in_memory_once_they_are_answered(tmp_path, start):
    settings = {"AMQP": {"enable": False}, "file": {"path": str(tmp_path / "records")}}
    with Collector(tmp_path, settings) as collector:
        collector.becomes_ready()
        idle = collector.peak_bytes()
        for number in range(100):
            target = start + b"%d" % number + b"a" * 900_000
            with socket.create_connection(("127.0.0.1", collector.port), 20) as sock:
                sock.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert sock.recv(12) in (b"HTTP/1.1 404", b"HTTP/1.1 413")
        assert collector.peak_bytes() < idle + (32 << 20)


def test_connections_without_descriptors_are_events_and_accepting_goes_on(tmp_path):
    settings = {"AMQP": {"enable": False}, "file": {"path": str(tmp_path / "records")}}
    with Collector(tmp_path, settings, before=("prlimit", "--nofile=30:30")) as collector:
        collector.becomes_ready()
        held = []
        for _ in range(200):
            with contextlib.suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", collector.port), 5))
        until(lambda: any("resource" in str(line) for line in collector.log()))
        for sock in held:
            sock.close()
        until(lambda: collector.post(form(["good"])) == 200)
        lines = collector.log_file.read_text().splitlines()
    assert all(line.startswith("{") for line in lines)
    assert "Traceback" not in "".join(lines)
