"""Kafka goes, freezes, loses what it had, or refuses a producer for ever: 503, then 200 again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bundles import form
from tests.support.collector import Collector
from tests.support.kafka import (
    INVALID_EPOCH,
    OUT_OF_ORDER,
    TOO_LARGE,
    MockCluster,
    NoidaDb,
    identities,
    to_kafka,
)
from tests.support.log_events import heard
from tests.support.program import until
from tests.support.senders import Senders
from tests.support.waiting import until as until_in_loop
from tixd import errors
from tixd.config.collector_settings import CollectorSettings
from tixd.sinks.base import OutboundMessage
from tixd.sinks.kafka import KafkaSink


@pytest.fixture
def noida(tmp_path: Path) -> Iterator[NoidaDb]:
    """A real broker."""
    with NoidaDb(tmp_path) as broker:
        yield broker


@pytest.fixture
def collector(tmp_path: Path, noida: NoidaDb) -> Iterator[Collector]:
    """A collector that is ready to publish to it."""
    with Collector(tmp_path, to_kafka(noida.address, timeout="3s")) as running:
        running.becomes_ready()
        yield running


def refused(collector: Collector) -> None:
    """A bundle gets 503, and readiness says no."""
    assert collector.post(form(["refused"])) == 503
    until(lambda: not collector.ready())


def taken_again(collector: Collector) -> None:
    """Bundles get 200 and readiness says yes, without a restart."""
    until(lambda: collector.post(form(["again"])) == 200)
    collector.becomes_ready()
    assert collector.log("unexpected") == []


def test_a_killed_broker_is_503_and_takes_records_once_it_is_back(collector, noida):
    with Senders(collector.port, count=2, size=20) as senders:
        for _ in range(2):
            senders.until_accepted(100)
            noida.kill()
            # Several in a row from each sender: no 200 of before the kill is on its way.
            until(lambda: [answer.status for answer in senders.answers[-6:]] == [503] * 6)
            before = set(senders.accepted)
            noida.start()
            senders.until_accepted(100)
    assert set(senders.statuses()) <= {200, 503}
    # This broker confirms before it has written: what it forgets when killed is not our loss.
    assert senders.accepted - before <= set(identities(noida.address)) <= senders.tried


def test_a_frozen_broker_is_503_and_200_once_it_goes_on(collector, noida):
    assert collector.post(form(["before"])) == 200
    noida.freeze()
    try:
        refused(collector)
    finally:
        noida.thaw()
    taken_again(collector)
    assert {"before", "again"} <= set(identities(noida.address))


def test_a_broker_that_lost_all_it_had_takes_records_without_a_restart(collector, noida):
    assert collector.post(form(["before"])) == 200
    noida.kill()
    refused(collector)
    noida.empty()
    noida.start()
    taken_again(collector)
    assert "again" in identities(noida.address)


def test_a_broker_emptied_under_load_takes_records_without_a_restart(collector, noida):
    with Senders(collector.port, count=2, size=20) as senders:
        senders.until_accepted(100)
        noida.kill()
        noida.empty()
        noida.start()
        senders.until_accepted(100)
    taken_again(collector)


@pytest.mark.parametrize("code", [OUT_OF_ORDER, INVALID_EPOCH])
def test_a_producer_that_the_broker_refuses_for_good_is_replaced(tmp_path, code):
    with MockCluster() as cluster, Collector(tmp_path, to_kafka(cluster.address)) as collector:
        collector.becomes_ready()
        assert collector.post(form(["a"])) == 200
        cluster.answer_next(code)
        with Senders(collector.port, count=4, size=5) as senders:
            senders.until_accepted(100)
        assert set(senders.statuses()) <= {200, 503}
        taken_again(collector)
        assert {"a", "again"} | senders.accepted <= set(identities(cluster.address))
        if code == OUT_OF_ORDER:
            (line,) = collector.log("kafka_producer_replaced")
            assert "sequence" in line["reason"]


def bundle(name: str) -> list[OutboundMessage]:
    """A few records."""
    return [OutboundMessage(f"{name}.{n}", f"m{n}", b"{}", "application/json") for n in range(3)]


async def fail_for_good(sink: KafkaSink, cluster: MockCluster) -> str:
    """Have the producer refused; what readiness says right after the bundle has failed."""
    cluster.answer_next(OUT_OF_ORDER)
    with pytest.raises(errors.Unavailable, match="the producer has failed"):
        await sink.publish(bundle("b"))
    return sink.unready_reason()


def test_readiness_says_that_the_producer_has_failed_until_the_new_one_works():
    async def test(cluster: MockCluster) -> None:
        sink = KafkaSink(CollectorSettings(kafka_brokers=cluster.address), {"log_level": 0})
        await sink.start()
        await until_in_loop(lambda: not sink.unready_reason())
        await sink.publish(bundle("a"))
        assert "the producer has failed" in await fail_for_good(sink, cluster)
        await until_in_loop(lambda: not sink.unready_reason())
        await sink.publish(bundle("c"))
        await sink.stop()

    with MockCluster() as cluster, heard() as log:
        asyncio.run(test(cluster))
    kafka = [event for event in log.events if "kafka" in event[1] or "broker" in event[1]]
    connected = ("info", "broker_connected")
    assert kafka == [connected, ("warning", "kafka_producer_replaced"), connected]


def test_a_topic_that_takes_less_than_the_setting_says_what_to_do():
    async def test(cluster: MockCluster) -> None:
        sink = KafkaSink(CollectorSettings(kafka_brokers=cluster.address), {"log_level": 0})
        await sink.start()
        await until_in_loop(lambda: not sink.unready_reason())
        cluster.answer_next(TOO_LARGE)
        with pytest.raises(errors.Unavailable, match=r"lower kafka\.maxMessage to the topic"):
            await sink.publish(bundle("a"))
        await sink.publish(bundle("b"))
        await sink.stop()

    with MockCluster() as cluster:
        asyncio.run(test(cluster))
