"""The HTTP listener over real sockets: answers, limits, addresses that are taken, tidy stop."""

import asyncio
import contextlib
import gc
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.support.log_events import heard
from tests.support.service import snapshot
from tests.support.waiting import until
from tixd import errors
from tixd.runtime import http_server
from tixd.runtime.http_server import (
    BriefConnections,
    HttpServer,
    Listener,
    bind_address,
    health_routes,
    serve,
)
from tixd.runtime.status import Snapshot


@asynccontextmanager
async def listening(now: Callable[[], Snapshot] = snapshot) -> AsyncIterator[Listener]:
    """A listener on a free port of the loopback."""
    routes = health_routes(lambda: now().unready_reasons(), lambda: b"tixd_up 1\n")
    listener = await serve(await bind_address("127.0.0.1:0"), routes)
    try:
        yield listener
    finally:
        await listener.stop()


async def connect(listener: Listener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client's connection."""
    return await asyncio.open_connection(*listener.addresses[0])


async def exchange(listener: Listener, request: bytes) -> bytes:
    """Everything that comes back for these bytes, until the listener closes."""
    reader, writer = await connect(listener)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer


async def ask(listener: Listener, target: str, method: str = "GET", head: str = "") -> bytes:
    """The whole response to a request."""
    text = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n"
    return await exchange(listener, text.encode())


def answer_to(target: str, method: str = "GET", head: str = "", **changes: object) -> bytes:
    """The response of a listener whose role is as `changes` say."""

    async def run() -> bytes:
        async with listening(lambda: snapshot(**changes)) as listener:
            return await ask(listener, target, method, head)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("target", "content_type", "body"),
    [
        ("/healthz", b"text/plain", b"ok\n"),
        ("/readyz", b"text/plain", b"ready\n"),
        ("/metrics", b"text/plain; version=0.0.4; charset=utf-8", b"tixd_up 1\n"),
        ("/metrics?name[]=a", b"text/plain", b"tixd_up 1\n"),
    ],
)
def test_a_role_that_works_says_so_under_each_path(target, content_type, body):
    answer = answer_to(target)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Type: " + content_type in answer
    assert answer.endswith(b"\r\n\r\n" + body)


def test_a_role_that_cannot_work_is_alive_and_says_why_it_is_not_ready():
    stuck = {"workers": (), "state": "running"}
    assert answer_to("/healthz", **stuck).startswith(b"HTTP/1.1 200")
    answer = answer_to("/readyz", **stuck)
    assert answer.startswith(b"HTTP/1.1 503")
    assert answer.endswith(b"\r\n\r\nno worker process is ready\n")


def test_head_says_the_same_without_the_body():
    answer = answer_to("/metrics", "HEAD")
    assert b"Content-Length: 10" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (("/", "GET"), b"404"),
        (("/metrics/../healthz", "GET"), b"404"),
        (("/metrics", "POST"), b"405"),
        (("/healthz", "OPTIONS"), b"405"),
        (("/" + "a" * 3000, "GET"), b"400"),
    ],
)
def test_anything_else_is_refused(request_line, status):
    assert answer_to(*request_line).split()[1] == status


def test_large_headers_are_refused_and_nothing_is_logged():
    with heard() as log:
        assert answer_to("/healthz", head=f"X: {'a' * 3000}\r\n").split()[1] == b"400"
        assert answer_to("/healthz", head="A: b\r\n" * 100).split()[1] == b"400"
    assert log.events == []


def test_one_who_sends_nothing_is_cut_off_after_its_time(monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTION_SECONDS", 0.1)

    async def run() -> bytes:
        async with listening() as listener:
            return await exchange(listener, b"GET /healthz HT")

    assert asyncio.run(run()) == b""


def test_a_good_sender_is_served_while_many_say_nothing():
    async def run() -> bytes:
        async with listening() as listener:
            silent = [await connect(listener) for _ in range(3 * http_server.MAX_CONNECTIONS)]
            answer = await ask(listener, "/healthz")
            for _, writer in silent:
                writer.close()
            return answer

    assert asyncio.run(run()).endswith(b"ok\n")


@pytest.fixture
def taken() -> int:
    """A port of the loopback that somebody else has."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_an_address_that_is_taken_is_said_to_be_so(taken):
    with pytest.raises(errors.CannotStart, match="Address already in use") as caught:
        asyncio.run(bind_address(f"127.0.0.1:{taken}"))
    assert caught.value.exit_code == 3


def test_a_host_that_cannot_have_an_address_stops_the_start():
    with pytest.raises(errors.CannotStart, match="label too long"):
        asyncio.run(bind_address(f"{'a' * 64}:8889"))


def test_stopping_closes_kept_connections_and_the_port():
    async def run() -> bytes:
        async with listening() as listener:
            reader, writer = await connect(listener)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"ok\n")
            await listener.stop()
            rest = await asyncio.wait_for(reader.read(), 60)
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await connect(listener)
            return rest

    assert asyncio.run(run()) == b""


def test_a_kept_connection_serves_several_requests():
    async def run() -> None:
        async with listening() as listener:
            reader, writer = await connect(listener)
            for _ in range(3):
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                await asyncio.wait_for(reader.readuntil(b"ok\n"), 60)
            writer.close()
            await until(reader.at_eof)

    asyncio.run(run())


def test_an_unexpected_error_in_an_answer_is_500_and_one_line_of_the_log():
    def broken() -> Snapshot:
        raise KeyError("phase")

    async def run() -> None:
        async with listening(broken) as listener:
            for _ in range(3):
                assert (await ask(listener, "/readyz")).startswith(b"HTTP/1.1 500")

    with heard() as log:
        asyncio.run(run())
    assert log.events == [("error", "http_request_failed")]


@pytest.mark.alone
def test_nothing_is_kept_of_connections_that_have_ended():
    def kept() -> int:
        return sum(isinstance(found, web.RequestHandler) for found in gc.get_objects())

    async def run() -> None:
        async with listening() as listener:
            for _ in range(100):
                assert (await ask(listener, "/healthz")).startswith(b"HTTP/1.1 200")
            await until(lambda: not gc.collect() or kept() < 10)
            assert kept() < 10

    asyncio.run(run())


def test_one_who_does_not_read_its_answer_holds_nothing_after_its_time(monkeypatch):
    monkeypatch.setattr(http_server, "CONNECTION_SECONDS", 0.2)
    connections = BriefConnections()

    async def long(_: web.BaseRequest) -> web.Response:
        return web.Response(body=bytes(50_000_000))

    async def run() -> None:
        http = HttpServer(long, connections)
        listener = Listener(http)
        await listener.start(await bind_address("127.0.0.1:0"))
        _, writer = await connect(listener)
        writer.transport.pause_reading()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: http.connections)
        await until(lambda: not http.connections)
        writer.close()
        await listener.stop()

    asyncio.run(run())


def test_a_request_that_goes_on_is_given_up_when_its_time_is_over():
    async def run() -> tuple[float, bytes]:
        begun = asyncio.Event()

        async def for_ever(_: web.BaseRequest) -> web.Response:
            begun.set()
            return await asyncio.get_running_loop().create_future()

        listener = Listener(web.Server(for_ever))
        await listener.start(await bind_address("127.0.0.1:0"))
        reader, writer = await connect(listener)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await begun.wait()
        before = time.monotonic()
        await listener.stop(2.0)
        rest = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        return time.monotonic() - before, rest

    seconds, rest = asyncio.run(run())
    assert (2.0 <= seconds < 3.9, rest) == (True, b""), "once, not twice"


@pytest.mark.parametrize("turns", range(6))
def test_no_request_is_answered_after_the_stop_has_waited_for_all(turns):
    running: list[int] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        running.append(1)
        await asyncio.sleep(0.05)
        running.pop()
        return web.Response()

    async def run() -> list[int]:
        listener = Listener(web.Server(answer))
        await listener.start(await bind_address("127.0.0.1:0"))
        with contextlib.ExitStack() as opened:
            asked(opened, listener)  # the kernel has the requests before the loop has
            for _ in range(turns):
                await asyncio.sleep(0)
            await listener.stop(5.0)
            return [len(running) for _ in range(20) if not await asyncio.sleep(0)]

    assert asyncio.run(run()) == [0] * 20


@pytest.mark.parametrize("turns", range(3))
def test_what_the_kernel_has_queued_at_the_stop_is_answered(turns):
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(text="answered")

    async def run(opened: contextlib.ExitStack) -> list[socket.socket]:
        listener = Listener(web.Server(answer))
        await listener.start(await bind_address("127.0.0.1:0"))
        sockets = asked(opened, listener, 3 * http_server.TAKEN_AT_ONCE)
        for _ in range(turns):
            await asyncio.sleep(0)
        await listener.stop(60.0)
        return sockets

    with contextlib.ExitStack() as opened:
        answers = [sock.makefile("rb").read() for sock in asyncio.run(run(opened))]
    assert [answer[-8:] for answer in answers] == [b"answered"] * len(answers)


def test_a_port_can_be_shared_by_those_alone_who_all_say_so():
    async def run() -> None:
        first, *_ = await bind_address("127.0.0.1:0", shared=True)
        address = f"127.0.0.1:{first.getsockname()[1]}"
        with first, (await bind_address(address, shared=True))[0]:
            first.listen()
            with pytest.raises(errors.CannotStart, match="already in use: do so"):
                await bind_address(address, "; otherwise", when_taken=": do so")

    asyncio.run(run())


def asked(opened: contextlib.ExitStack, listener: Listener, count: int = 8) -> list[socket.socket]:
    """Connections on which a request has been sent, while the loop did nothing."""
    sockets = []
    for _ in range(count):
        sock = opened.enter_context(socket.create_connection(listener.addresses[0], 60))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        sockets.append(sock)
    return sockets
