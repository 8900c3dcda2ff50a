"""Faults of the collector: hostile bodies, bad senders, and what it publishes to."""

from __future__ import annotations

import contextlib
import gzip
import os
import resource
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from urllib.parse import quote_plus

import psutil

from soaking.collecting_records import Collecting
from soaking.plan import NotActed
from soaking.registry import COLLECTOR, fault
from soaking.world import shows
from tests.support import memory
from tests.support.bundles import form
from tests.support.collecting import FORM
from tests.support.direct import EXCHANGE, QUEUE
from tests.support.gratia import job
from tests.support.relay import Withheld
from tests.support.volumes import remount
from tixd.collector.server import SERVLET

#: Most memory of a collector, whatever it is sent.
MOST_BYTES = 256 * 1000 * 1000

#: A DOCTYPE with entities in entities.
_LAUGHS = '<!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'

_ATTRIBUTES = 'a="1" ' * 100_000
_LONG = f"<S>{'x' * 1_100_000}</S>"


def _envelope(text: str) -> bytes:
    return b"command=multiupdate&from=x&arg1=" + quote_plus(text).encode()


#: Bodies by name, and whether each is gzip; each is refused.
HOSTILE: dict[str, tuple[Callable[[], bytes], bool]] = {
    "entities": (lambda: _envelope(f"{_LAUGHS}<RecordEnvelope>&b;</RecordEnvelope>"), False),
    "entities behind a mark": (lambda: _envelope(f"\ufeff{_LAUGHS}<RecordEnvelope/>"), False),
    "deep": (lambda: _envelope("<RecordEnvelope>" + "<a>" * 200_000), False),
    "attributes": (lambda: _envelope(f"<RecordEnvelope {_ATTRIBUTES}/>"), False),
    "UTF-16": (lambda: b"command=update&from=x&bundlesize=1&arg1=%ff%fe<%00", False),
    "cut gzip": (lambda: gzip.compress(form(["cut"]))[:-9], True),
    "60 MB of gzip": (lambda: gzip.compress(b"from=" + b"x" * 60_000_000), True),
    "members of gzip": (lambda: gzip.compress(b"") * 20_000, True),
    "no parameters": (lambda: b"x", False),
    "wrong bundlesize": (lambda: form(["w"], bundlesize="7"), False),
    "odd percent signs": (lambda: b"command=%zz&%%%=1&arg1=%", False),
    "a record over Kafka's limit": (
        lambda: _envelope(f"<RecordEnvelope>{job(_LONG)}</RecordEnvelope>"),
        False,
    ),
    "NUL": (lambda: form(["n"]).replace(b"LocalUserId", b"Local%00Id"), False),
}


@fault("faults 33", "G1", "field C6", "field C7", "field C8", roles=COLLECTOR)
def hostile_body(world: Collecting, random: Random) -> str:
    name = random.choice(sorted(HOSTILE))
    make, is_gzip = HOSTILE[name]
    role = world.roles["collector"]
    head = FORM | ({"Content-Encoding": "gzip"} if is_gzip else {})
    memory.forget_peak(role.pid)
    status = _post(world.port, make(), head)
    peak = memory.peak_bytes(role.pid)
    if status not in (400, 413, 415) or peak > MOST_BYTES:
        raise RuntimeError(f"{name}: status {status}, peak {peak / 1e6:.0f} MB")
    return f"{name}: {status}, peak {peak / 1e6:.0f} MB"


def _post(port: int, body: bytes, head: dict[str, str]) -> int:
    lines = [f"{name}: {value}" for name, value in {**head, "Host": "x"}.items()]
    lines += [f"Content-Length: {len(body)}", "Connection: close"]
    request = f"POST {SERVLET} HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n"
    with _connected(port) as sock:
        with contextlib.suppress(OSError):  # refused before all of it was sent
            sock.sendall(request.encode() + body)
        answer = sock.recv(65536)
    return int(answer[9:12] or 0)


def _connected(port: int, seconds: float = 30.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), seconds)


@fault("faults 34", "G6", roles=COLLECTOR)
def slow_senders(world: Collecting, random: Random) -> str:
    """Senders that stop in the midst of their bodies; probes must go on."""
    before, count = world.taken_count(), random.randint(20, 300)
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(_connected(world.port))
            head = f"POST {SERVLET} HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n"
            sock.sendall(f"{head}Content-Type: {FORM['Content-Type']}\r\n\r\narg1=".encode())
        return f"{count} stalled, " + shows(lambda: world.taken_count() > before, "probes go on")


@fault("faults 34", "G6", roles=COLLECTOR)
def large_bodies_that_stall(world: Collecting, random: Random) -> str:
    before, count = world.taken_count(), random.randint(2, 12)
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(_connected(world.port))
            head = f"POST {SERVLET} HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n"
            with contextlib.suppress(OSError):
                sock.sendall(f"{head}Content-Type: {FORM['Content-Type']}\r\n\r\narg1=".encode())
                sock.sendall(b"x" * 8_000_000)
        return f"{count} of 8 MB, " + shows(lambda: world.taken_count() > before, "probes go on")


@fault("faults 34", roles=COLLECTOR)
def senders_that_leave(world: Collecting, random: Random) -> str:
    """Each sends part of a good bundle and closes; none of its records may come out."""
    body = form([f"left.{n}" for n in range(20)])
    for _ in range(20):
        with _connected(world.port) as sock:
            head = f"POST {SERVLET} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            head += f"Content-Type: {FORM['Content-Type']}\r\n\r\n"
            sock.sendall(head.encode() + body[: random.randrange(len(body))])
    return "20 senders left in the midst of a bundle"


@fault("faults 34", "G12", roles=COLLECTOR)
def flood_of_connections(world: Collecting, random: Random) -> str:
    """Requests that are none, many at a time."""
    lines = [b"GET /metrics HTTP/1.0\r\n\r\n", b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
    lines += [random.randbytes(300) + b"\r\n\r\n", b"POST / HTTP/1.1\r\n" + b"a: b\r\n" * 3000]
    before = world.taken_count()

    def ask(line: bytes) -> None:
        with contextlib.suppress(OSError), _connected(world.port, 10) as sock:
            sock.sendall(line)
            sock.recv(65536)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, [random.choice(lines) for _ in range(300)]))
    return "300 odd requests, " + shows(lambda: world.taken_count() > before, "probes go on")


@fault("faults 34", "G13", roles=COLLECTOR)
def few_descriptors_of_the_collector(world: Collecting, random: Random) -> str:
    role = world.roles["collector"]
    process, mark = psutil.Process(role.pid), world.mark(role)
    usual = process.rlimit(resource.RLIMIT_NOFILE)
    process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds() + random.randint(1, 4), usual[1]))
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(_connected(world.port))
            return shows(lambda: world.said(mark, "Too many open files"), "Too many open files", 20)
    finally:
        process.rlimit(resource.RLIMIT_NOFILE, usual)


@fault("faults 31", roles=COLLECTOR)
def queue_unbound(world: Collecting, random: Random) -> str:
    """No queue takes the records: 503 until there is one again."""
    first = len(world.senders.answers)
    with world.direct().channel() as channel:
        channel.queue_unbind(QUEUE, EXCHANGE)
    try:
        return shows(lambda: _answers(world, first, 503), "503")
    finally:
        world.bind()


@fault("faults 31", roles=COLLECTOR)
def exchange_deleted(world: Collecting, random: Random) -> str:
    first, mark = len(world.senders.answers), world.mark(world.roles["collector"])
    with world.direct().channel() as channel:
        channel.exchange_delete(EXCHANGE)
    try:
        shows(lambda: _answers(world, first, 503), "503")
        return "503, " + shows(lambda: world.said(mark, "exchange_declared"), "exchange_declared")
    finally:
        world.bind()


@fault("faults 31", roles=COLLECTOR)
def one_confirm_withheld(world: Collecting, random: Random) -> str:
    first, withheld = len(world.senders.answers), Withheld(random.randint(2, 60))
    world.broker_relay.reset()
    world.broker_relay.filter(withheld)
    shows(lambda: withheld.acted, "withheld", 40)
    world.broker_relay.filter()
    return "confirm withheld, " + shows(lambda: _answers(world, first, 503), "503", 40)


def _answers(world: Collecting, first: int, status: int) -> bool:
    return any(answer.status == status for answer in world.senders.answers[first:])


@fault("field C5", roles=COLLECTOR)
def kafka_killed(world: Collecting, random: Random) -> str:
    first = len(world.senders.answers)
    world.kafka.kill()
    world.kafka_kills.append(time.monotonic())
    try:
        return "noida-db gone, " + shows(lambda: _answers(world, first, 503), "503", 40)
    finally:
        world.kafka.start()


@fault("field C5", roles=COLLECTOR)
def kafka_frozen(world: Collecting, random: Random) -> str:
    seconds = random.uniform(1, 10)
    world.kafka.freeze()
    time.sleep(seconds)
    world.kafka.thaw()
    return f"noida-db stopped for {seconds:.1f} s"


@fault("faults 17", "field E", roles=COLLECTOR)
def file_output_full(world: Collecting, random: Random) -> str:
    first = len(world.senders.answers)
    world.fill_volume()
    return "no room, " + shows(lambda: _answers(world, first, 503), "503", 40)


@fault("field E", roles=COLLECTOR)
def file_output_removed(world: Collecting, random: Random) -> str:
    """Somebody moves the file away while it is written to; the next records need a new one."""
    file = world.volume / "records"
    away = world.volume / f"records.moved.{len(list(world.volume.iterdir()))}"
    os.rename(file, away)
    return shows(file.exists, "a new file is there", 40)


@fault("faults 18", roles=COLLECTOR)
def file_output_read_only(world: Collecting, random: Random) -> str:
    try:
        remount(world.volume, "ro")
    except Exception as error:
        raise NotActed(f"mount: {error}") from error
    first = len(world.senders.answers)
    return "read-only, " + shows(lambda: _answers(world, first, 503), "503", 40)
