"""Whatever tix-api, RabbitMQ and tables of AS can make long: log, memory and time stay bounded."""

from __future__ import annotations

import asyncio
import contextlib
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from tests.support import memory
from tests.support.broker import Broker
from tests.support.chosen import few
from tests.support.log_events import heard
from tests.support.memory import peak_allocation
from tests.support.program import until
from tests.support.queues import guest
from tests.support.results import ONE, post, result, settings_for
from tests.support.site import ONE_POST, PATIENCE, Site, site
from tests.support.tables import foreign
from tests.support.task_messages import protocol_1, protocol_2
from tixd import errors, logs
from tixd.amqp import connection
from tixd.asn.table import Table
from tixd.results.client import ApiClient

MIB = 1024 * 1024

#: Lengths of the texts.
LENGTHS = (1_000, 64_000, 1_000_000, 16_000_000)

#: No line of the log and no reason is longer.
MOST_BYTES = 4096

#: So much more memory may be used.
MOST_MEMORY_BYTES = 64 * MIB

#: How long it may take to answer, or to pass over it.
MOST_SECONDS = 1.0


# --- the tix-api ---------------------------------------------------------------------------------


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server that gives this answer to whatever it is asked; yields its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            with contextlib.suppress(OSError):  # nobody need read all of it
                self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def long_answers(length: int) -> dict[str, bytes]:
    """Answers of a server with a text of this length in each place."""
    text, ok = b"x" * length, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
    away = b"HTTP/1.1 503 Away\r\n%b: %b\r\nContent-Length: 0\r\n\r\n"
    headers = (b"Server", b"Location", b"Retry-After", b"Set-Cookie", b"Transfer-Encoding", b"Date")
    return {
        "reason": b"HTTP/1.1 500 %b\r\nContent-Length: 0\r\n\r\n" % text,
        "status": b"HTTP/1.1 %b OK\r\n\r\n" % (b"9" * length),
        "version": b"HTTP/%b 200 OK\r\n\r\n" % text,
        "first line": text,
        **{name.decode(): away % (name, text) for name in headers},
        "date": away % (b"Retry-After", b"Mon, 01 Jan 2035 " + b"00:" * length),
        "header name": ok + text + b": 1\r\n\r\n",
        "header without colon": ok + text + b"\r\n\r\n",
        "headers": ok + b"X: 1\r\n" * (length // 6) + b"\r\n",
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % (b"9" * length),
        "body": b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%b" % (length, text),
        "body without end": b"HTTP/1.1 503 Away\r\n\r\n" + text,
        "chunk": b"HTTP/1.1 503 Away\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * length,
        "early answers": b"HTTP/1.1 102 Wait\r\n\r\n" * (length // 21) + ok + b"\r\n",
    }


def post_to(port: int) -> tuple[str, float]:
    """Post a result; the reason of the outcome and how long it took."""
    client = ApiClient(settings_for(port))
    begun = time.monotonic()
    try:
        return post(client, ONE, result()).reason, time.monotonic() - begun
    finally:
        client.close()


@pytest.mark.alone
@pytest.mark.parametrize("length", LENGTHS)
def test_a_long_text_in_an_answer_of_the_api_costs_little(tmp_path, length):
    wrong, log = {}, tmp_path / "log"
    with heard():
        logs.set_up("DEBUG", "json", str(log))
        for place, answer in long_answers(length).items():
            with answering(answer) as port, peak_allocation() as peak:
                reason, seconds = post_to(port)
            if peak.bytes > MOST_MEMORY_BYTES or seconds > MOST_SECONDS or len(reason) > 300:
                wrong[place] = f"{peak.bytes / MIB:.0f} MiB, {seconds:.1f} s, {reason[:50]}"
        logs.set_up("DEBUG", "json", "stderr")
    assert wrong == {}
    assert max(map(len, log.read_bytes().split(b"\n"))) <= MOST_BYTES


# --- tables of AS --------------------------------------------------------------------------------


@pytest.mark.parametrize("member", ["autonomous_system_organization", "asn", "country_code"])
@pytest.mark.parametrize("length", LENGTHS)
def test_a_long_text_in_a_table_of_as_costs_little(tmp_path, length, member):
    record = {"autonomous_system_number": 15169, member: "x" * length}
    path = foreign(tmp_path / "table.mmdb", {"8.8.8.0/24": record})
    with peak_allocation() as peak:
        said = looked_up(path)
    assert len(said) <= 400 + len(str(path))
    assert peak.bytes < MOST_MEMORY_BYTES


def looked_up(path: Path) -> str:
    """What a table says of an address, or why it cannot be used."""
    try:
        with Table(str(path)) as table:
            return repr(table.origin("8.8.8.8"))
    except errors.BadTable as error:
        return str(error)


# --- RabbitMQ ------------------------------------------------------------------------------------

#: Headers must fit a frame.
LONGEST_HEADERS = 120_000


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Site]:
    """A dispatcher and a worker with few messages in hand, which outlive each text."""
    with site(tmp_path_factory.mktemp("site"), broker, **ONE_POST) as both:
        both.works()
        yield both


def long_messages(length: int) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Bodies and properties with a text of this length in each place; none is a task of ours."""
    text, short = "x" * length, "x" * min(length, 255)
    plain = {"content_type": "application/json", "content_encoding": "utf-8"}
    for member in ("task", "id", "eta", "expires", "callbacks", "more"):
        yield protocol_1(**{"args": []} | {member: text}), plain
    yield protocol_1(args=[text, "1", "2"]), plain
    yield protocol_1(args=["/r/1/2", text, "2"]), plain
    yield protocol_1(args=[text] * 3), plain
    yield protocol_1(args=text), plain
    yield protocol_1(kwargs={text: text}), plain
    yield b'{"task": %b}' % (b"[" * length), plain
    yield b'{"task": %b}' % (b"9" * length), plain
    yield text.encode(), plain
    for name in ("content_type", "content_encoding", "correlation_id", "type", "app_id"):
        yield b"x", plain | {name: short}
    headed = text[:LONGEST_HEADERS]
    for name in ("task", "id", "expires", "lang", "argsrepr", "compression", "more"):
        body, properties = protocol_2(args=[], **{name: headed})
        yield body, plain | {"headers": dict(properties.headers)}
    yield b"[]", plain | {"headers": {"x" * 255: headed}}
    yield b"[]", plain | {"headers": {f"h{n}": "x" for n in range(len(headed) // 20)}}


def publish(workers: Site, length: int) -> int:
    """Put such messages into the queue; returns how many."""
    messages = list(long_messages(length))
    with workers.direct.channel() as channel:
        for body, properties in messages:
            made = pika.BasicProperties(delivery_mode=2, **properties)
            channel.basic_publish("", "celery", body, made, mandatory=True)
    return len(messages)


@pytest.mark.alone
@pytest.mark.parametrize("length", few([1_000, 1_000_000, 16_000_000], 1_000_000))
def test_a_long_text_in_a_message_costs_little_and_ends_in_the_dead_queue(workers, length):
    worker, direct = workers.worker, workers.direct
    before, idle_bytes = len(worker.log("message_dead_lettered")), memory.resident_bytes(worker.pid)
    memory.forget_peak(worker.pid)
    begun, number = time.monotonic(), publish(workers, length)
    until(lambda: len(worker.log("message_dead_lettered")) >= before + number, PATIENCE)
    assert time.monotonic() - begun < number * MOST_SECONDS
    in_hand = 4 * length  # two messages that wait for a worker, as they came and as they go
    assert memory.peak_bytes(worker.pid) < idle_bytes + MOST_MEMORY_BYTES + in_hand
    assert max(map(len, worker.log_file.read_bytes().split(b"\n"))) <= MOST_BYTES
    reasons = [str(m.properties.headers["tixd-reason"]) for m in direct.drain("tixd.dead")]
    assert [reason for reason in reasons if len(reason) > 300] == []
    workers.works()


#: How a frame of AMQP begins that says it has 2 GiB.
HUGE_FRAME = b"\x01\0\0\x7f\xff\xff\xff"

#: Connection.close with a reason as long as it can be (AMQP 0-9-1, 1.4.2.1).
CLOSE = b"\0\x0a\0\x32" + b"\x02\x12" + b"\xff" + b"x" * 255 + b"\0\0\0\0"
CLOSING = b"\x01\0\0" + len(CLOSE).to_bytes(4, "big") + CLOSE + b"\xce"


@pytest.mark.parametrize("begin", [HUGE_FRAME, b"HTTP/1.1 400 ", CLOSING], ids=range(3))
def test_a_stranger_in_the_brokers_place_costs_little_and_is_told_of_shortly(monkeypatch, begin):
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1.0)

    async def reason(port: int) -> str:
        with pytest.raises(errors.BrokerError) as caught:
            await connection.connect(guest(port), "test")
        return str(caught.value)

    with answering(begin + b"x" * LENGTHS[-1]) as port, peak_allocation() as peak:
        said = asyncio.run(reason(port))
    assert len(said) <= 600
    assert peak.bytes < MOST_MEMORY_BYTES


@pytest.mark.parametrize("begin", [HUGE_FRAME, b"HTTP/1.1 400 "], ids=range(2))
def test_a_stranger_in_the_brokers_place_is_left_at_its_first_frame(monkeypatch, begin):
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 60.0)

    async def reason(port: int) -> str:
        async with asyncio.timeout(20.0):
            with pytest.raises(errors.BrokerUnavailable) as caught:
                await connection.connect(guest(port), "test")
        return str(caught.value)

    with answering(begin + b"x" * 1000) as port:
        assert "not AMQP" in asyncio.run(reason(port))
