"""What uses a connection beside its owner: it gives way and comes back, however that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.broker import Broker
from tests.support.direct import Direct
from tests.support.log_events import heard
from tests.support.pools import in_loop
from tests.support.queues import guest
from tests.support.relay import Relay
from tests.support.waiting import until
from tixd.amqp import channel as channel_module
from tixd.amqp.connection import Connection
from tixd.amqp.supervised import SupervisedConnection
from tixd.dispatch import leader
from tixd.dispatch.leader import LeaderWatch
from tixd.queues.results_exchange import QUEUE, ResultsIn, ResultsOut
from tixd.queues.watch import QueueWatch
from tixd.runtime import tasks
from tixd.runtime.retry import Retry

#: All that is run beside the owner of a connection, looking as often as it can.
USERS: dict[str, Callable[[SupervisedConnection], Any]] = {
    "results in": lambda link: ResultsIn(link, lambda _: None),
    "results out": ResultsOut,
    "watch over the queue": lambda link: QueueWatch(link, 0.01),
    "watch over the dispatcher": lambda link: LeaderWatch(link, lambda: 1e6, 0.0),
}


@pytest.fixture
def in_vain() -> list[Connection]:
    """The connection of each request that came after its end: a loop of them stops all else."""
    return []


@pytest.fixture(autouse=True)
def asked(in_vain: list[Connection], monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """The connection of each request for a channel so far."""
    connections: list[Connection] = []
    usual = Connection.channel

    async def channel(connection: Connection, **options: bool) -> Any:
        connections.append(connection)
        if connection.ended.done():
            in_vain.append(connection)
            await asyncio.sleep(0)  # this test has its turn even where it fails
        return await usual(connection, **options)

    monkeypatch.setattr(Connection, "channel", channel)
    monkeypatch.setattr(leader, "RETRY_SECONDS", 0.01)
    return connections


@asynccontextmanager
async def linked(port: int, *users: str) -> AsyncIterator[SupervisedConnection]:
    """A link, ready and in use."""

    async def own(connection: Connection) -> None:
        link.mark_ready(connection)
        await asyncio.Event().wait()

    link = SupervisedConnection(guest(port), "test", own, Retry(0.001, 0.001))
    running = [tasks.start_loop(link.run, "link")]
    running += [tasks.start_loop(USERS[user](link).run, user) for user in users]
    try:
        await until(lambda: link.connection)
        yield link
    finally:
        await tasks.end(*running)


def channels(connection: Connection) -> int:
    """How many channels are open, or half so."""
    return len(connection._raw._channels)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("way", ["reset", "closed by the broker"])
@in_loop
async def test_the_end_of_a_connection_stops_nothing_else(
    broker: Broker, asked: list[Connection], in_vain: list[Connection], user: str, way: str
) -> None:
    with Relay(broker.port) as relay, heard() as log:
        end = {"reset": relay.reset, "closed by the broker": broker.close_connections}[way]
        async with linked(relay.port, user) as link:
            for _ in range(3):
                await until(lambda: link.connection in asked)
                before = link.connection
                await asyncio.to_thread(end)
                await until(lambda: link.connection not in (None, before))  # noqa: B023
            await until(lambda: link.connection in asked)
    assert not in_vain
    assert not any(event.startswith("results_not") for _, event in log.events)


@in_loop
async def test_a_silent_broker_is_asked_again_and_no_channel_stays_behind(
    broker: Broker, asked: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Relay(broker.port) as relay, heard() as log:
        async with linked(relay.port) as link:
            assert link.connection
            await asyncio.to_thread(relay.black_hole)
            with monkeypatch.context() as patched:
                patched.setattr(channel_module, "REPLY_SECONDS", 0.01)
                running = [tasks.start_loop(use(link).run, name) for name, use in USERS.items()]
                await until(lambda: len(asked) > 4 * len(USERS))
            await asyncio.to_thread(relay.pass_on)
            direct = Direct(broker.port)
            await until(lambda: direct.exists(QUEUE) and direct.consumers(QUEUE) == 1)
            await until(lambda: link.connection and channels(link.connection) <= len(USERS))
            await tasks.end(*running)
    assert not any(event.startswith("results_not") for _, event in log.events)


@in_loop
async def test_the_queue_of_results_that_is_deleted_comes_back(broker: Broker) -> None:
    direct = Direct(broker.port)
    async with linked(broker.port, "results in"):
        for _ in range(2):
            await until(lambda: direct.exists(QUEUE) and direct.consumers(QUEUE) == 1)
            await asyncio.to_thread(direct.delete, QUEUE)
        await until(lambda: direct.exists(QUEUE) and direct.consumers(QUEUE) == 1)
