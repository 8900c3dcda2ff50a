"""RabbitMQ and Kafka as --connect tries them: a line for each trouble, and nothing left there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.support.direct import Direct
from tests.support.relay import Relay
from tests.support.stand_in_api import closed_port
from tixd import errors
from tixd.config.collector_settings import CollectorSettings
from tixd.config.fields import Secret
from tixd.config.settings import Settings
from tixd.diagnostics import broker as broker_module
from tixd.diagnostics import broker as tried
from tixd.diagnostics import runner
from tixd.diagnostics.runner import DEADLINE_SECONDS, Check


def settings(port: int, **changes: Any) -> Settings:
    """Those of a worker, unless a test says else."""
    changes = {"role": "worker", "rabbitmq_host": "127.0.0.1", **changes}
    return Settings(rabbitmq_port=port, **changes)


def collector(port: int, **changes: Any) -> CollectorSettings:
    return CollectorSettings(amqp_host="127.0.0.1", amqp_port=port, **changes)


def wrong(check, given) -> str:
    """What is said to be wrong."""
    with pytest.raises(errors.TixdError) as caught:
        check(given)
    return str(caught.value)


def test_the_queue_of_jobs_is_looked_at_and_left_as_it_is(broker):
    direct = Direct(broker.port)
    absent = tried.check_rabbitmq(settings(broker.port))
    assert "queue celery is not there yet, tixd will declare it; a message to a queue" in absent
    assert not direct.exists("celery")
    direct.declare("celery")
    direct.publish("celery", b"1", b"2")
    text = tried.check_rabbitmq(settings(broker.port))
    where = f"amqp://127.0.0.1:{broker.port} lets user guest in; queue celery"
    assert text.startswith(f"{where}: 2 messages wait, 0 consumers; ")
    assert text.endswith("; a message to a queue of our own was confirmed")
    assert [found.redelivered for found in direct.drain("celery")] == [False, False]
    direct.delete("celery")


@pytest.mark.long
def test_a_dispatcher_that_leads_elsewhere_is_told(broker):
    given = settings(broker.port, role="dispatcher")
    assert "; no dispatcher leads now; " in tried.check_rabbitmq(given)
    with Direct(broker.port).channel() as channel:
        channel.queue_declare("tixd.dispatcher", exclusive=True)
        assert "; a process leads now, another dispatcher would stand by; " in tried.check_rabbitmq(
            given
        )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"rabbitmq_password": Secret("hidden")},
            ": user guest or the password is refused (TIX_RABBITMQ_USER, TIX_RABBITMQ_PASS)",
        ),
        ({"rabbitmq_vhost": "none"}, "/none: vhost none does not exist (TIX_RABBITMQ_VHOST)"),
        (
            {"rabbitmq_host": "no-such-host.invalid", "rabbitmq_port": 5672},
            "amqp://no-such-host.invalid:5672: host name unknown (TIX_RABBITMQ_HOST)",
        ),
        ({"rabbitmq_tls": True, "rabbitmq_ca_file": "/nowhere"}, "cannot use /nowhere: No such"),
    ],
    ids=str,
)
def test_each_reason_not_to_get_in_has_its_line(broker, changes, words):
    text = wrong(tried.check_rabbitmq, replace(settings(broker.port), **changes))
    assert words in text
    assert "hidden" not in text


def test_a_broker_that_is_not_there_has_its_line():
    text = wrong(tried.check_rabbitmq, settings(closed_port()))
    assert text.endswith(
        ": Connection refused: nothing listens there (TIX_RABBITMQ_HOST, TIX_RABBITMQ_PORT)"
    )


def test_a_password_that_the_broker_says_back_is_not_told(broker):
    with Relay(broker.port) as relay:
        relay.filter(lambda data: data.replace(b"Login was refused", b"bad hidden-secret"))
        text = wrong(
            tried.check_rabbitmq, settings(relay.port, rabbitmq_password=Secret("hidden-secret"))
        )
    assert ": bad *** using authentication" in text


def test_a_broker_that_says_nothing_is_given_up(broker, monkeypatch):
    monkeypatch.setattr(tried, "ANSWER_SECONDS", 0.5)
    with Relay(broker.port) as relay:
        relay.black_hole()
        text = wrong(tried.check_rabbitmq, settings(relay.port))
    assert ": no answer within 0 s: see its log, firewalls on the way, and TIX_RABBITMQ_*" in text


def test_a_user_without_the_rights_is_told_which(broker):
    broker.allow("^celery$")
    try:
        text = wrong(tried.check_rabbitmq, settings(broker.port))
        assert "no message was tried" in broker_module.check_amqp(
            collector(broker.port, amqp_exchange="", amqp_routing_key="q")
        )
    finally:
        broker.allow(".*")
    assert "refused for user 'guest': give that user the right" in text
    assert "tixd.probe-" in text


@pytest.mark.long
def test_a_broker_short_of_memory_is_told(broker, monkeypatch):
    monkeypatch.setattr(tried, "CONFIRM_SECONDS", 0.5)
    check = Check("RabbitMQ", lambda: tried.check_rabbitmq(settings(broker.port)), "")
    broker.alarm()
    try:
        [found] = runner.run_checks(
            [check]
        )  # a connection that is blocked ends with its process only
    finally:
        broker.clear_alarm()
    assert "the broker accepts no messages (low on memory): free memory or disk" in found.text


def test_the_collectors_exchange_is_looked_for_and_not_made(broker):
    absent = broker_module.check_amqp(collector(broker.port))
    assert "; exchange gracc is not there, the collector will declare it (fanout); a" in absent
    assert broker_module.check_amqp(collector(broker.port)) == absent
    there = broker_module.check_amqp(collector(broker.port, amqp_exchange="amq.fanout"))
    assert "; exchange amq.fanout is there; a message to a queue of our own was confirmed" in there


def test_a_collector_that_publishes_to_nowhere_is_told(broker):
    text = wrong(broker_module.check_amqp, collector(broker.port, amqp_exchange=""))
    assert "AMQP.exchange and AMQP.routingKey are both empty, so no record arrives" in text


def test_kafka_is_asked_for_the_topic(monkeypatch):
    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    [broker] = cluster.list_topics("gracc", timeout=30).brokers.values()
    brokers = f"{broker.host}:{broker.port}"
    text = broker_module.check_kafka(CollectorSettings(kafka_brokers=brokers))
    assert text == f"{brokers}, topic gracc: is there"
    assert broker_module.KAFKA_SECONDS <= DEADLINE_SECONDS / 2, (
        "it is called off before it can tell why"
    )
    monkeypatch.setattr(broker_module, "KAFKA_SECONDS", 0.5)
    away = wrong(
        broker_module.check_kafka, CollectorSettings(kafka_brokers=f"127.0.0.1:{closed_port()}")
    )
    assert away.endswith(": see the brokers, kafka.brokers and kafka.topic")
