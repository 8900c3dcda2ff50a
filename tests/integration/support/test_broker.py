"""The RabbitMQ that tests break does what they believe it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pika
import pytest

from tests.support import pools
from tests.support.broker import Broker
from tests.support.direct import Direct


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One with a setting that the fixture of that name has not."""
    with Broker(tmp_path_factory.mktemp("set"), config={"consumer_timeout": 12_000}) as broker:
        yield broker


@pytest.fixture
def direct(broker: Broker) -> Direct:
    """A look into its queues, all of which are new."""
    direct = Direct(broker.port)
    for queue in ("here", "there"):
        direct.delete(queue)
        direct.declare(queue)
    return direct


def test_a_message_is_counted_and_then_drained_in_order(direct: Direct) -> None:
    direct.publish("here", "one", "two", content_type="text/plain")
    assert direct.count("here") == 2
    drained = direct.drain("here")
    assert [message.body for message in drained] == [b"one", b"two"]
    assert drained[0].properties.content_type == "text/plain"
    assert direct.count("here") == 0


def test_a_message_to_no_queue_at_all_is_an_error(direct: Direct) -> None:
    with pytest.raises(pika.exceptions.UnroutableError):
        direct.publish("nowhere", "lost")
    assert not direct.exists("nowhere")


@pytest.mark.long
def test_persistent_messages_survive_a_killed_broker(broker: Broker, direct: Direct) -> None:
    direct.publish("here", *map(str, range(100)))
    before = broker.pid
    broker.kill()
    assert not broker.is_running()
    assert not broker.is_open()
    broker.start()
    assert broker.pid != before
    assert [message.body for message in direct.drain("here")] == [b"%d" % n for n in range(100)]


@pytest.mark.long
def test_an_alarm_blocks_whoever_publishes_until_it_is_cleared(
    broker: Broker, direct: Direct
) -> None:
    broker.alarm()
    with pytest.raises(pika.exceptions.ConnectionBlockedTimeout):
        replace(direct, seconds=5.0).publish("here", "blocked")
    broker.clear_alarm()
    direct.publish("there", "free")
    assert direct.count("there") == 1


def test_a_frozen_broker_answers_nobody_until_it_is_thawed(broker: Broker, direct: Direct) -> None:
    broker.freeze()
    try:
        with pytest.raises(TimeoutError):
            replace(direct, seconds=0.5).count("here")
    finally:
        broker.thaw()
    assert direct.count("here") == 0


def test_a_changed_password_lets_nobody_in_with_the_old_one(broker: Broker, direct: Direct) -> None:
    broker.set_password("new")
    try:
        with pytest.raises(pika.exceptions.ProbableAuthenticationError):
            direct.count("here")
        assert Direct(broker.port, password="new").count("here") == 0
    finally:
        broker.set_password("guest")
    assert direct.count("here") == 0


@pytest.mark.long
def test_a_renewed_broker_knows_nothing_of_what_was_done_to_it(
    broker: Broker, direct: Direct
) -> None:
    direct.publish("here", "old")
    broker.alarm("disk")
    broker.set_password("new")
    broker.allow("^$")
    broker.freeze()
    broker.renew()
    assert not direct.exists("here")
    direct.declare("here")
    direct.publish("here", "new")
    assert [message.body for message in direct.drain("here")] == [b"new"]


@pytest.mark.long
def test_settings_and_commands_reach_the_broker(broker: Broker) -> None:
    assert "{ok, 12000}" in broker.eval("application:get_env(rabbit, consumer_timeout)")
    assert "guest" in broker.ctl("list_users")


def test_nothing_is_left_of_a_broker_that_cannot_start(tmp_path: Path) -> None:
    before = pools.children()
    with pytest.raises(AssertionError, match="nonsense"), Broker(tmp_path, config={"nonsense": 1}):
        pass
    assert pools.children().keys() <= before.keys()
