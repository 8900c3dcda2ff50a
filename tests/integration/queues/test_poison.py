"""A message that raises an unexpected error ends no connection and holds up no other message."""

from __future__ import annotations

import asyncio
from collections import Counter

import pika
import pytest

from tests.support.direct import Direct
from tests.support.pools import in_loop
from tests.support.queues import PREFETCH, consumer
from tests.support.task_messages import TASK_ID
from tests.support.waiting import until
from tixd import errors
from tixd.amqp.messages import Message, Properties
from tixd.queues import rabbitmq
from tixd.queues.celery_message import InstallationTask, ScanTask, Task, decode, encode


@pytest.fixture
def direct(broker) -> Direct:
    """A look into the queues, which are empty."""
    direct = Direct(broker.port)
    direct.delete("tixd.dead")
    direct.delete("celery")
    direct.declare("celery")
    return direct


async def publish(direct: Direct, *tasks: Task) -> None:
    """Put these tasks into the queue."""
    for task in tasks:
        body, properties = encode(task, now=0.0, origin="test")
        await asyncio.to_thread(put, direct, body, properties)


def put(direct: Direct, body: bytes, properties: Properties) -> None:
    """Publish one message with the headers of Celery."""
    raw = pika.BasicProperties(
        headers=dict(properties.headers),
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
    )
    with direct.channel() as channel:
        channel.basic_publish("", "celery", body, raw)


GOOD = InstallationTask(TASK_ID, "/r/1/2", 1, 2)


@in_loop
async def test_a_message_that_cannot_be_read_for_an_unknown_reason_lies_among_the_dead(
    broker, direct, monkeypatch
) -> None:
    def surprised(body: bytes, properties: Properties) -> Task:
        if b'"7"' in body:
            raise KeyError("x")
        return decode(body, properties)

    monkeypatch.setattr(rabbitmq, "decode", surprised)
    bad = InstallationTask(TASK_ID, "/r/7/7", 7, 7)
    async with consumer(broker.port, "/r") as queue:
        before = queue.link.connection
        await publish(direct, *[bad] * (PREFETCH + 1), GOOD)
        delivery = await asyncio.wait_for(queue.take(), 30)
        assert delivery.job.user_id == 1
        await delivery.ack()
        await until(lambda: direct.exists("tixd.dead") and direct.count("tixd.dead") == 3)
        assert queue.link.connection is before
    reasons = {message.properties.headers["tixd-reason"] for message in direct.drain("tixd.dead")}
    assert reasons == {"unexpected KeyError"}


@in_loop
async def test_looking_through_that_fails_for_an_unknown_reason_gives_its_message_back(
    broker, direct, monkeypatch
) -> None:
    looked: Counter[str] = Counter()

    async def fan_out() -> dict[str, int]:
        looked["times"] += 1
        if looked["times"] <= PREFETCH:
            raise KeyError("x")
        return {}

    monkeypatch.setattr(rabbitmq, "RETRY_SECONDS", 0.01)
    async with consumer(broker.port, "/r") as queue:
        queue._fan_out = fan_out
        await publish(direct, *[ScanTask(TASK_ID, "/r")] * PREFETCH, GOOD)
        delivery = await asyncio.wait_for(queue.take(), 30)
        await delivery.ack()
        # What goes back is nowhere until the broker delivers it again.
        await until(lambda: looked["times"] >= 2 * PREFETCH and not queue.open)
        assert looked["times"] == 2 * PREFETCH


@in_loop
async def test_messages_that_tixd_dead_refuses_do_not_hold_up_jobs(
    broker, direct, monkeypatch
) -> None:
    monkeypatch.setattr(rabbitmq, "RETRY_SECONDS", 0.01)
    direct.declare("tixd.dead", x_max_length=1, x_overflow="reject-publish")
    await asyncio.to_thread(direct.publish, "tixd.dead", "full")
    bad = InstallationTask(TASK_ID, "/elsewhere", 7, 7)
    async with consumer(broker.port, "/r") as queue:
        await publish(direct, *[bad] * (PREFETCH + 1), GOOD)
        delivery = await asyncio.wait_for(queue.take(), 30)
        assert delivery.job.user_id == 1
        await delivery.ack()
        direct.delete("tixd.dead")
        await until(lambda: direct.exists("tixd.dead") and direct.count("tixd.dead") == 3)
        await until(lambda: not queue.open)
    assert direct.count("celery") == 0


@in_loop
async def test_what_a_consumer_raises_ends_neither_its_channel_nor_the_connection(
    broker, direct, monkeypatch
) -> None:
    async with consumer(broker.port, "/r") as queue:
        before = queue.link.connection
        taken: list[Message] = []

        def take(message: Message) -> None:
            taken.append(message)
            raise KeyError("x") if len(taken) == 1 else errors.BrokerUnavailable("x")

        channel = await before.channel()
        direct.declare("here")
        await channel.consume("here", 0, take, no_ack=True)
        for _ in range(3):
            await asyncio.to_thread(direct.publish, "here", "x")
        await until(lambda: len(taken) == 3)
        assert queue.link.connection is before
        assert not channel.ended.done()
    direct.delete("here")
