"""Cases 33 and 34: hostile bundles and bad senders cost neither memory nor other senders."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import io
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote_plus

import pytest

from tests.support import gratia, memory
from tests.support.bundles import PING, form, job
from tests.support.chosen import few
from tests.support.collecting import FORM
from tests.support.collector import Collector
from tests.support.program import until
from tixd.collector.server import SERVLET

#: How much more memory a hostile request may cost.
MOST_BYTES = 64 * 1024 * 1024

#: How long it may take until it is refused; the machine may be busy with other tests.
MOST_SECONDS = 5.0


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A collector with a file as output; one for all, because it must outlive each of them."""
    tmp_path = tmp_path_factory.mktemp("collector")
    settings = {"AMQP": {"enable": False}, "file": {"path": str(tmp_path / "records")}}
    with Collector(tmp_path, {**settings, "timeout": "2s"}) as running:
        running.becomes_ready()
        assert running.post(form(["warm"])) == 200
        yield running


def envelope(content: str | bytes) -> bytes:
    """A multiupdate with this as its envelope's text."""
    text = content if isinstance(content, bytes) else content.encode()
    return b"command=multiupdate&from=x&arg1=" + quote_plus(text).encode()


def laughs() -> bytes:
    """Ten entities, each ten of the one before."""
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return envelope(
        f'<!DOCTYPE x [<!ENTITY l0 "ha">{entities}]><RecordEnvelope>&l9;</RecordEnvelope>'
    )


def quadratic() -> bytes:
    """One long entity, many times."""
    entity, uses = "a" * 100_000, "&a;" * 100_000
    return envelope(f'<!DOCTYPE x [<!ENTITY a "{entity}">]><RecordEnvelope>{uses}</RecordEnvelope>')


def deep() -> bytes:
    """200,000 elements in each other."""
    return envelope("<RecordEnvelope>" + "<a>" * 200_000)


def wide() -> bytes:
    """An element with 200,000 attributes."""
    attributes = " ".join(f'a{n}=""' for n in range(200_000))
    return envelope(f"<RecordEnvelope><JobUsageRecord {attributes}/></RecordEnvelope>")


def many() -> bytes:
    """A million records, as short as they can be."""
    return envelope(f"<RecordEnvelope>{'<UsageRecord/>' * 1_000_000}</RecordEnvelope>")


def zeros(megabytes: int) -> bytes:
    """So many MB of zeros, as gzip; made piece by piece."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9) as file:
        for _ in range(megabytes):
            file.write(bytes(1_000_000))
    return packed.getvalue()


#: Bodies, and the statuses with which they may be refused.
HOSTILE: dict[str, tuple[Callable[[], bytes], set[int]]] = {
    "billion laughs": (laughs, {400}),
    "quadratic bomb": (quadratic, {400}),
    "external entity": (
        lambda: envelope('<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x"><RecordEnvelope/>'),
        {400},
    ),
    "a file as entity": (
        lambda: envelope('<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>'),
        {400},
    ),
    "DOCTYPE alone": (lambda: envelope("<!DOCTYPE x><RecordEnvelope/>"), {400}),
    "deep": (deep, {400, 413}),
    "200,000 attributes": (wide, {400, 413}),
    "1,000,000 records": (many, {400, 413}),
    "UTF-16": (lambda: envelope("<RecordEnvelope/>".encode("utf-16")), {400}),
    "NUL bytes": (lambda: envelope("<RecordEnvelope>\0</RecordEnvelope>"), {400}),
    "no command": (lambda: b"arg1=x&from=x", {400}),
    "wrong bundlesize": (lambda: form(["a"], bundlesize="7"), {400}),
    "unknown record type": (
        lambda: form([], arg1="replication|<Zap/>|||", bundlesize="1"),
        {400},
    ),
    "a pipe and quotes in the XML": (
        lambda: form([], arg1=f'replication|{job("a")[:-9]}"|"|||', bundlesize="1"),
        {400},
    ),
    "only odd quotes": (lambda: form([], arg1='"' * 99_999, bundlesize="1"), {400}),
    "only pipes": (lambda: form([], arg1="|" * 10_000_000, bundlesize="1"), {400, 413}),
}


@pytest.mark.alone
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bundles_are_refused_soon_and_within_memory(collector, name):
    make, statuses = HOSTILE[name]
    body = make()
    collector.forget_peak()
    before, begun = collector.peak_bytes(), time.monotonic()
    status = collector.post(body)
    seconds, more = time.monotonic() - begun, collector.peak_bytes() - before
    sys.stdout.write(f"{name}: {status} in {seconds:.2f} s, {more >> 20} MiB more\n")
    assert status in statuses
    assert seconds < MOST_SECONDS
    assert more < MOST_BYTES
    assert collector.post(form(["good"])) == 200


def packed_post(collector: Collector, body: bytes, **headers: str) -> int:
    """The status of the answer to a compressed body."""
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", SERVLET, body, FORM | {"Content-Encoding": "gzip"} | headers)
        return connection.getresponse().status


@pytest.mark.alone
def test_two_gigabytes_of_gzip_are_refused_within_memory(collector):
    body = zeros(50) * 40  # gzip's streams may follow each other
    collector.forget_peak()
    before, begun = collector.peak_bytes(), time.monotonic()
    assert packed_post(collector, body) == 413
    seconds, more = time.monotonic() - begun, collector.peak_bytes() - before
    sys.stdout.write(f"2 GB of gzip: {seconds:.2f} s, {more >> 20} MiB more\n")
    assert seconds < MOST_SECONDS
    assert more < MOST_BYTES
    assert packed_post(collector, gzip.compress(form(["a"]))) == 200
    assert packed_post(collector, gzip.compress(form(["a"]))[:-5]) == 400


@pytest.mark.alone
def test_a_large_bundle_lets_others_be_answered_meanwhile(collector):
    text = "".join(f"replication|{job(n)}|||" for n in range(5000))
    body = form([], arg1=text, bundlesize="5000")
    with ThreadPoolExecutor(1) as pool:
        large, waits = pool.submit(collector.post, body, 60.0), []
        while not large.done():
            begun = time.monotonic()
            assert collector.post(PING) == 200
            waits.append(time.monotonic() - begun)
        assert large.result() == 200
    waits.sort()
    sys.stdout.write(
        f"ping beside 5000 records: {waits[len(waits) // 2]:.3f} s, {waits[-1]:.3f} s\n"
    )
    assert waits[len(waits) // 2] < 0.5


def connections(collector: Collector, count: int, begin: bytes) -> list[socket.socket]:
    """So many connections that have sent this and then nothing more."""
    found = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            sock = socket.create_connection(("127.0.0.1", collector.port), 10)
            found.append(sock)
            sock.sendall(begin)
    return found


#: Beginnings of requests that never end.
HEAD = f"POST {SERVLET} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"

SLOW = {
    "heads": HEAD.encode(),
    "bodies": f"{HEAD}Content-Length: 1000\r\n\r\ncommand=".encode(),
    "chunks": f"{HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".encode(),
    "nothing": b"",
}


@pytest.mark.alone
@pytest.mark.parametrize("kind", few(SLOW, "heads", "bodies"))
def test_a_good_sender_is_served_while_500_slow_ones_wait(collector, kind):
    slow: list[socket.socket] = []
    for _ in range(10):  # one that the kernel has no room to keep for the collector never ends
        slow += connections(collector, 50, SLOW[kind])
        until(collector.alive)
    begun = time.monotonic()
    assert collector.post(form(["good"])) == 200
    assert time.monotonic() - begun < 4
    assert not all(map(is_ended, slow)), "the slow ones still had time"
    until(lambda: all(is_ended(sock) for sock in slow))
    statuses = {answer[9:12] for sock in slow if (answer := rest(sock))}
    assert statuses <= {b"408"}


def is_ended(sock: socket.socket) -> bool:
    """Whether something came, if only the end."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError, OSError):
        sock.recv(1, socket.MSG_PEEK)
        return True
    return False


def rest(sock: socket.socket) -> bytes:
    """What came."""
    with sock, contextlib.suppress(OSError):
        return sock.recv(1000)
    return b""


def test_2000_connections_and_256_descriptors_do_not_end_accepting(tmp_path):
    settings = {"AMQP": {"enable": False}, "file": {"path": str(tmp_path / "records")}}
    limit = ("prlimit", "--nofile=256:256")
    with Collector(tmp_path, {**settings, "timeout": "5s"}, before=limit) as collector:
        collector.becomes_ready()
        held = connections(collector, 2000, SLOW["bodies"])
        begun = time.monotonic()
        until(lambda: collector.post(form(["good"])) == 200)
        sys.stdout.write(f"a good sender among {len(held)}: {time.monotonic() - begun:.2f} s\n")
        for sock in held:
            sock.close()
        assert collector.post(form(["good"])) == 200
        assert collector.log("unexpected") == []


def test_large_bodies_leave_no_memory_taken(collector):
    """Of growing size: what each frees is no reason to take the next one's from the heap."""
    assert collector.post(form(["first"])) == 200
    before = memory.resident_bytes(collector.pid)
    for size in (200_000, 400_000, 800_000, 1_100_000) * 4:
        record = gratia.job(f"<S>{'x' * size}</S>")
        assert collector.post(envelope(f"<RecordEnvelope>{record}</RecordEnvelope>")) == 200
    more = memory.resident_bytes(collector.pid) - before
    sys.stdout.write(f"16 bundles of up to 1.1 MB: {more >> 10} KiB more\n")
    assert more < 4 * 2**20
    assert collector.post(form(["good"])) == 200


@pytest.mark.alone
def test_sixty_four_bodies_of_20_mb_at_once_are_refused_within_memory(collector):
    body = b"command=update&arg1=" + bytes(20_000_000)
    collector.forget_peak()
    before = collector.peak_bytes()
    with ThreadPoolExecutor(64) as pool:
        statuses = set(pool.map(collector.post, [body] * 64))
    more = collector.peak_bytes() - before
    sys.stdout.write(f"64 x 20 MB: {statuses}, {more >> 20} MiB more\n")
    assert statuses <= {413, 0}
    assert more < MOST_BYTES
    assert collector.post(form(["good"])) == 200
