"""Case 31, of single records: one among many that comes back fails its bundle and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.broker import Broker
from tests.support.direct import QUEUE, bound_queue
from tests.support.waiting import until
from tixd import errors
from tixd.amqp.channel import Channel
from tixd.config.collector_settings import CollectorSettings
from tixd.sinks.amqp import AmqpSink
from tixd.sinks.base import OutboundMessage


def bundle(name: str, size: int) -> Sequence[OutboundMessage]:
    """Records of this bundle; the message ids are what the broker returns them by."""
    ids = [f"{name}.{number}" for number in range(size)]
    return [OutboundMessage(text, text, text.encode(), "text/plain") for text in ids]


@pytest.fixture
def lone_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of bundle `bad` that end with 57 are published where no queue is."""
    usual = Channel.publish

    def publish(self, exchange, key, body, properties):
        lost = body.startswith(b"bad.") and body.endswith(b"57")
        return usual(self, "" if lost else exchange, "nowhere" if lost else key, body, properties)

    monkeypatch.setattr(Channel, "publish", publish)


async def rounds(sink: AmqpSink, count: int) -> None:
    """A bundle with one lost record beside a good one, again and again."""
    for number in range(count):
        good, bad = await asyncio.gather(
            sink.publish(bundle(f"good.{number}", 10)),
            sink.publish(bundle("bad", 100)),
            return_exceptions=True,
        )
        assert good is None
        assert isinstance(bad, errors.Unavailable)


@pytest.mark.usefixtures("lone_way")
@pytest.mark.parametrize(
    "count", [50, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(1200)])]
)
def test_one_record_among_a_hundred_that_comes_back_fails_its_bundle_alone(
    broker: Broker, count: int
):
    direct = bound_queue(broker, x_max_length=1000)

    async def main() -> None:
        sink = AmqpSink(CollectorSettings(amqp_host=broker.host, amqp_port=broker.port))
        await sink.start()
        await until(lambda: not sink.unready_reason())
        await rounds(sink, count)
        await sink.stop()

    asyncio.run(main())
    assert len(direct.drain(QUEUE)) == min(1000, count * 109)
