"""/debug/pprof/ over real sockets: nobody holds it who is not there any more."""

from __future__ import annotations

import asyncio

from tests.support.collecting import Client, parsed
from tests.support.waiting import until_answer
from tixd.collector import profiler
from tixd.runtime import http_server


async def begun(client: Client, seconds: int) -> asyncio.StreamWriter:
    """Ask for a profile that takes so long, and do not read it."""
    _, writer = await client.connect()
    writer.write(
        f"GET {profiler.ROOT}profile?seconds={seconds} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    )
    await until_answer(lambda: client.get(f"{profiler.ROOT}profile?seconds=1"), is_busy)
    return writer


def is_busy(said: object) -> bool:
    """Whether somebody else's profile is being taken."""
    return getattr(said, "status", 0) == 429


def test_a_profile_ends_when_its_asker_leaves():
    async def run() -> None:
        listener = await profiler.listen("127.0.0.1:0")
        client = Client(listener)
        writer = await begun(client, 300)
        writer.close()
        await until_answer(
            lambda: client.get(f"{profiler.ROOT}profile?seconds=1"), lambda said: said.status == 200
        )
        await listener.stop()

    asyncio.run(run())


def test_many_idle_connections_neither_stay_nor_end_a_profile(monkeypatch):
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 5)

    async def run() -> None:
        listener = await profiler.listen("127.0.0.1:0")
        client = Client(listener)
        reader, writer = await client.connect()
        writer.write(f"GET {profiler.ROOT}profile?seconds=2 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        idle = [await client.connect() for _ in range(20)]
        ended = await asyncio.wait_for(asyncio.gather(*(r.read() for r, _ in idle[:15])), 20)
        assert set(ended) == {b""}
        assert parsed(await reader.readuntil(b"\r\n\r\n")).status == 200
        for _, one in [*idle, (reader, writer)]:
            one.close()
        await listener.stop()

    asyncio.run(run())
