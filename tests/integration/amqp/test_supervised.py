"""A link comes back whatever ends its connection; at any moment it has one, or a reason."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.log_events import heard
from tests.support.pools import in_loop
from tests.support.queues import guest
from tests.support.relay import Relay
from tests.support.waiting import until
from tixd import logs
from tixd.amqp import supervised as link_module
from tixd.amqp.connection import Connection, connect
from tixd.amqp.messages import Endpoint
from tixd.amqp.supervised import PROBE_PREFIX, BrokerProbe, SupervisedConnection
from tixd.config.collector_settings import CollectorSettings
from tixd.runtime import tasks
from tixd.runtime.retry import Retry
from tixd.sinks.amqp import AmqpSink

QUICK = Retry(0.001, 0.001)


@pytest.fixture(autouse=True)
def _nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unexpected errors are logged as if it were the first time in an hour."""
    monkeypatch.setattr(tasks._Failures, "count", 0)
    monkeypatch.setattr(logs, "_NOTICES", logs.RateLimiter())


@in_loop
async def test_an_unexpected_error_of_its_use_ends_a_connection_and_not_the_link(broker) -> None:
    uses: list[Connection] = []

    async def use(connection: Connection) -> None:
        uses.append(connection)
        link.mark_ready(connection)
        if len(uses) < 3:
            raise KeyError("x")
        await asyncio.Event().wait()

    link = SupervisedConnection(guest(broker.port), "test", use, QUICK)
    with heard() as log:
        running = tasks.start(link.run(), "link")
        await until(lambda: link.connection and len(uses) == 3)
        await tasks.end(running)
    assert [event for event in log.events if event[0] == "error"] == [("error", "unexpected")]
    lost = [record for record in log.records if "disconnected" in record.getMessage()]
    assert lost[0].values["reason"].startswith("unexpected KeyError: x")


@in_loop
async def test_an_unexpected_error_of_connecting_does_not_end_the_link(broker, monkeypatch) -> None:
    tries: list[int] = []
    usual = link_module.connect

    async def connect(endpoint: Endpoint, name: str) -> Connection:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError
        return await usual(endpoint, name)

    async def use(connection: Connection) -> None:
        link.mark_ready(connection)
        await asyncio.Event().wait()

    monkeypatch.setattr(link_module, "connect", connect)
    link = SupervisedConnection(guest(broker.port), "test", use, QUICK)
    running = tasks.start(link.run(), "link")
    await until(lambda: link.connection)
    await tasks.end(running)


@in_loop
async def test_a_link_has_a_connection_or_a_reason_while_the_lost_one_is_closed(broker) -> None:
    uses, gaps, go = [], [], asyncio.Event()

    async def use(connection: Connection) -> None:
        uses.append(connection)
        link.mark_ready(connection)
        await go.wait()

    with Relay(broker.port) as relay:
        link = SupervisedConnection(guest(relay.port), "test", use, QUICK)
        running = tasks.start(link.run(), "link")
        await until(lambda: link.connection)
        await asyncio.to_thread(relay.black_hole)  # closing is answered by nobody
        go.set()
        closed = uses[0].ended
        await until(lambda: link.connection is None)
        for _ in range(100):
            gaps += [] if link.connection or link.outage else ["gap"]
            await asyncio.sleep(0.001)
        assert (gaps, closed.done()) == ([], False)
        await tasks.end(running)


@in_loop
async def test_the_sink_is_not_ready_after_an_unexpected_error_and_comes_back(
    broker, monkeypatch
) -> None:
    settings = CollectorSettings(
        amqp_host=broker.host, amqp_port=broker.port, amqp_retry_seconds=0.2
    )
    reasons, usual = [], BrokerProbe.open

    async def open_probe(connection: Connection):
        if not reasons:
            reasons.append("")
            raise KeyError("x")
        reasons.append(sink.unready_reason())
        return await usual(connection)

    monkeypatch.setattr(BrokerProbe, "open", open_probe)
    sink = AmqpSink(settings)
    await sink.start()
    await until(lambda: not sink.unready_reason())
    await sink.stop()
    assert ": unexpected KeyError" in reasons[1]


@in_loop
async def test_a_probe_of_a_blocked_broker_waits_for_the_one_message_it_has_sent(broker) -> None:
    connection = await connect(guest(broker.port), "test")
    probe = await BrokerProbe.open(connection, PROBE_PREFIX)
    assert await probe.confirm(60) is None
    await asyncio.to_thread(broker.alarm)
    try:
        reasons = [await probe.confirm(60) for _ in range(3)]
        assert reasons[1:] == ["low on memory"] * 2, "it may take the first, and then blocks"
        assert probe.channel.unconfirmed == 1
    finally:
        await asyncio.to_thread(broker.clear_alarm)
    assert await probe.confirm(60) is None
    assert probe.channel.unconfirmed == 0
    await connection.close()


@in_loop
async def test_a_connection_that_has_ended_is_shown_to_nobody_for_a_moment(broker) -> None:
    seen: list[tuple[object, str | None]] = []

    async def use(connection: Connection) -> None:
        # The first to hear of the end, before the link itself.
        connection.ended.add_done_callback(lambda _: seen.append((link.connection, link.outage)))
        link.mark_ready(connection)
        await asyncio.Event().wait()

    link = SupervisedConnection(guest(broker.port), "test", use, QUICK)
    running = tasks.start(link.run(), "link")
    await until(lambda: link.connection)
    await asyncio.to_thread(broker.close_connections)
    await until(lambda: seen)
    await tasks.end(running)
    assert seen[0][0] is None
    assert str(seen[0][1]).startswith(f"{link.address}: ")
