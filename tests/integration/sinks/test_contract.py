"""What every sink promises, asked of each of them (tixd/sinks/base.py).

Kafka is the mock cluster inside librdkafka, reached over TCP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from tests.support.broker import Broker
from tests.support.direct import Direct
from tests.support.queues import MemorySink
from tests.support.waiting import until
from tixd import errors
from tixd.config.collector_settings import CollectorSettings
from tixd.sinks.amqp import AmqpSink
from tixd.sinks.base import OutboundMessage, Sink
from tixd.sinks.json_lines import LinesSink
from tixd.sinks.kafka import KafkaSink


class Real:
    """A sink and what can be seen behind it."""

    def __init__(self, sink: Sink, bodies: Callable[[], list[bytes]]) -> None:
        self.sink, self.bodies = sink, bodies


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[Real]:
    sink = MemorySink()
    yield Real(sink, lambda: [message.body for message in sink.kept])


@asynccontextmanager
async def lines(folder: Path) -> AsyncIterator[Real]:
    file = folder / "records"
    yield Real(LinesSink(str(file), 1_000_000, 3), lambda: file.read_bytes().splitlines())


@asynccontextmanager
async def amqp(_: Path, broker: Broker) -> AsyncIterator[Real]:
    direct = Direct(broker.port)
    direct.declare("gracc.test")
    with direct.channel() as channel:
        channel.exchange_declare("gracc.test", "fanout", durable=True)
        channel.queue_bind("gracc.test", "gracc.test")
    settings = CollectorSettings(
        amqp_host=broker.host, amqp_port=broker.port, amqp_exchange="gracc.test"
    )
    yield Real(AmqpSink(settings), lambda: [found.body for found in direct.drain("gracc.test")])
    direct.delete("gracc.test")


def _next_body(consumer: Consumer) -> bytes:
    """The next message; what the library says of its connections is none."""
    while (message := consumer.poll(30)).error():
        pass
    return message.value()


@asynccontextmanager
async def kafka(_: Path) -> AsyncIterator[Real]:
    quiet = {"log_level": 0}
    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 3, **quiet})
    found = cluster.list_topics("gracc", timeout=30).brokers.values()
    brokers = ",".join(f"{broker.host}:{broker.port}" for broker in found)
    settings = CollectorSettings(kafka_brokers=brokers, timeout_seconds=30.0)
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "test", **quiet})

    def bodies() -> list[bytes]:
        numbers = cluster.list_topics("gracc").topics["gracc"].partitions
        parts = [TopicPartition("gracc", number, OFFSET_BEGINNING) for number in numbers]
        consumer.assign(parts)
        ends = [consumer.get_watermark_offsets(part, timeout=30)[1] for part in parts]
        return [_next_body(consumer) for _ in range(sum(ends))]

    yield Real(KafkaSink(settings, quiet), bodies)
    consumer.close()


REALS = {"memory": memory, "lines": lines, "amqp": amqp, "kafka": kafka}


def records(count: int, size: int = 20) -> Sequence[OutboundMessage]:
    """That many different records."""
    bodies = [b'{"n":%d,"x":"%s"}' % (number, b"x" * size) for number in range(count)]
    return [
        OutboundMessage(f"r{n}", f"m{n}", body, "application/json") for n, body in enumerate(bodies)
    ]


@pytest.fixture(params=sorted(REALS))
def run(request: pytest.FixtureRequest, tmp_path: Path):
    """Run a test on a sink that has started and is ready."""

    def run_on(test: Callable[[Real], object]) -> None:
        async def main() -> None:
            brokers = [request.getfixturevalue("broker")] * (request.param == "amqp")
            async with REALS[request.param](tmp_path, *brokers) as real:
                await real.sink.start()
                try:
                    await until(
                        lambda: not real.sink.unready_reason() and real.sink.last_confirmed_at
                    )
                    await asyncio.wait_for(test(real), 60)
                finally:
                    await real.sink.stop()

        asyncio.run(main())

    return run_on


def test_all_records_of_a_bundle_are_there_once_it_was_accepted(run):
    async def test(real: Real) -> None:
        bundle = records(250)
        await real.sink.publish(bundle)
        assert sorted(real.bodies()) == sorted(message.body for message in bundle)

    run(test)


def test_bundles_at_the_same_time_do_not_disturb_each_other(run):
    async def test(real: Real) -> None:
        await asyncio.gather(*(real.sink.publish(records(5)) for _ in range(20)))
        assert len(real.bodies()) == 100

    run(test)


def test_a_bundle_without_records_is_accepted(run):
    async def test(real: Real) -> None:
        await real.sink.publish([])
        assert real.bodies() == [] if not isinstance(real.sink, LinesSink) else True

    run(test)


def test_accepting_shows_when_it_was_seen_last(run):
    async def test(real: Real) -> None:
        before = asyncio.get_running_loop().time()
        await real.sink.publish(records(1))
        assert real.sink.last_confirmed_at >= before
        real.sink.check(records(1))
        real.sink.retry_now()

    run(test)


def test_one_who_gives_up_waiting_spoils_nothing_for_the_next(run):
    async def test(real: Real) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await real.sink.publish(records(50))
        await real.sink.publish(records(3))
        assert set(real.bodies()) >= {message.body for message in records(3)}

    run(test)


def test_what_kafka_never_takes_is_refused_before_anything_is_published(tmp_path):
    async def test() -> None:
        sink = KafkaSink(CollectorSettings(kafka_brokers="127.0.0.1:1"), {"log_level": 0})
        with pytest.raises(errors.TooLargeForOutput, match="maxMessage is 1000000"):
            sink.check([*records(1), *records(1, 1_000_000)])

    asyncio.run(test())


def test_a_kafka_that_is_not_there_does_not_stop_the_start_and_takes_nothing(tmp_path):
    async def test() -> None:
        settings = CollectorSettings(kafka_brokers="127.0.0.1:1", timeout_seconds=1.0)
        sink = KafkaSink(settings, {"log_level": 0})
        await sink.start()
        with pytest.raises(errors.Unavailable, match="Kafka: "):
            await sink.publish(records(3))
        assert sink.unready_reason()
        await sink.stop()

    asyncio.run(test())
