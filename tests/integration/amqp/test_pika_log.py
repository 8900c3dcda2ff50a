"""pika's own log: nothing of a try that its link tells of, everything unexpected."""

from __future__ import annotations

import asyncio
import logging

import pika.exceptions
import pytest

from tests.support.collector import Collector
from tests.support.direct import to_broker
from tests.support.log_events import heard
from tests.support.pools import in_loop
from tests.support.program import until as until_time
from tests.support.queues import guest
from tests.support.relay import Relay
from tests.support.waiting import until
from tixd import errors, logs
from tixd.amqp import connection
from tixd.runtime import tasks

LOGGER = logging.getLogger(f"{connection.pika.__name__}.adapters")


def said_of(error: Exception) -> list[tuple[str, str]]:
    """What is logged above debug when pika logs this error."""
    with heard() as log:
        try:
            raise error
        except type(error):
            LOGGER.exception("Could not: %r", "x" * 10_000)
    return log.events


def test_what_pika_says_of_a_try_is_for_debugging_alone():
    assert said_of(pika.exceptions.AMQPConnectionError("x")) == []
    assert said_of(ConnectionResetError("x")) == []
    assert LOGGER.handlers == []
    assert not logging.getLogger("pika").propagate


def test_what_pika_did_not_foresee_is_an_unexpected_error(monkeypatch):
    monkeypatch.setattr(logs, "_NOTICES", logs.RateLimiter())
    assert said_of(KeyError("x")) == [("error", "unexpected")]


@in_loop
async def test_a_handshake_that_is_never_answered_is_given_up_without_an_unexpected_error(
    broker, monkeypatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1.0)
    tasks.watch(asyncio.get_running_loop())
    before = tasks.failures()
    with Relay(broker.port) as relay, heard() as log:
        relay.black_hole()
        with pytest.raises(errors.BrokerUnavailable):
            await connection.connect(guest(relay.port), "test")
        trying = tasks.start(connection.connect(guest(relay.port), "test"), "trying")
        await until(lambda: relay.accepted == 2)
        await tasks.end(trying)
        await until(lambda: "Aborted" in log.text)
    assert log.events == []
    assert tasks.failures() == before


@pytest.mark.long
def test_a_black_hole_leaves_nothing_but_bounded_events_in_the_log(tmp_path, broker):
    settings = to_broker(0, loglevel="debug")
    with Relay(broker.port) as relay:
        relay.black_hole()
        settings["AMQP"]["port"] = relay.port
        with Collector(tmp_path, settings) as collector:
            until_time(lambda: collector.log("broker_not_connected"), 60)
            assert collector.ends()[0] == 0
        lines = collector.log_file.read_text().splitlines()
    assert [line for line in lines if not line.startswith("{")] == []
    assert max(map(len, lines)) < 4096
    assert collector.log("unexpected") == []
