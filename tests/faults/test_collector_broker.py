"""Cases 29 to 32: whatever the broker, the way to it or the collector does, a 200 is a promise."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import pytest

from tests.support.broker import Broker
from tests.support.bundles import PING, form, update
from tests.support.collector import Collector
from tests.support.direct import EXCHANGE, QUEUE, Direct, bound_queue, identities, to_broker
from tests.support.program import until
from tests.support.relay import Relay, Withheld
from tests.support.senders import Senders, check_promises
from tests.support.stand_in_api import closed_port
from tixd.collector.server import SERVLET

SEED = 5


@pytest.fixture
def direct(broker: Broker) -> Direct:
    """An empty queue that gets every record."""
    return bound_queue(broker)


@pytest.fixture
def collector(tmp_path: Path, broker: Broker, direct: Direct) -> Iterator[Collector]:
    """A collector that is ready to publish."""
    with Collector(tmp_path, to_broker(broker.port)) as running:
        running.becomes_ready()
        yield running


def break_broker(
    collector: Collector, broker: Broker, senders: Senders, down_seconds: float
) -> None:
    """Kill the broker under load, keep it away for a while, have it back."""
    lost = len(collector.log("broker_disconnected"))
    broker.kill()
    until(lambda: len(collector.log("broker_disconnected")) > lost)
    known, before = time.monotonic(), len(senders.answers)
    quick: list[float] = []

    def told() -> bool:
        """Whether time is up, and all senders have been refused meanwhile."""
        quick[:] = [answer.seconds for answer in senders.answers[before:] if answer.status == 503]
        return time.monotonic() > known + down_seconds and len(quick) >= 10

    until(told)
    sys.stdout.write(f"503 while it is away: median {median(quick):.3f} s of {len(quick)}\n")
    assert median(quick) < 0.1
    broker.start()
    opened = time.monotonic()
    senders.until_accepted(1)
    seconds = time.monotonic() - opened
    sys.stdout.write(f"first 200 after its port opened: {seconds:.1f} s\n")
    assert seconds < 15


@pytest.mark.alone
@pytest.mark.parametrize(
    ("kills", "count", "size", "up_seconds"),
    [
        (2, 4, 20, 0),
        pytest.param(10, 8, 100, 55, marks=[pytest.mark.long, pytest.mark.timeout(1200)]),
    ],
)
def test_a_killed_broker_costs_no_record_that_was_accepted(
    collector, broker, direct, kills, count, size, up_seconds
):
    with Senders(collector.port, count, size) as senders:
        for _ in range(kills):
            begun = time.monotonic()
            senders.until_accepted(10 * size)
            until(lambda b=begun: time.monotonic() > b + up_seconds, up_seconds + 60)
            break_broker(collector, broker, senders, 1.0)
    assert set(senders.statuses()) <= {200, 503}
    check_promises(senders, direct)
    assert len(collector.log("broker_disconnected")) == kills, "one line per change of state"


@pytest.mark.alone
@pytest.mark.parametrize("resource", ["memory", "disk"])
def test_an_alarm_of_the_broker_is_503_and_ends_without_a_restart(
    tmp_path, broker, direct, resource
):
    with Collector(tmp_path, to_broker(broker.port, timeout="2s")) as collector:
        collector.becomes_ready()
        assert collector.post(form(["before"])) == 200
        broker.alarm(resource)
        assert collector.post(form(["during"])) == 503
        begun = time.monotonic()
        assert collector.post(form(["during"])) == 503
        assert time.monotonic() - begun < 1, "known to be blocked, so at once"
        assert collector.ask("GET", "/healthz")[0] == 200
        assert collector.ask("GET", "/readyz")[0] == 503
        assert collector.post(PING) == 200
        broker.clear_alarm(resource)
        until(lambda: collector.post(form(["after"])) == 200)
    assert {"before", "after"} <= set(identities(direct))


def bind_again(direct: Direct) -> None:
    """Have the queue get every record once more."""
    direct.declare(QUEUE)
    with direct.channel() as channel:
        channel.exchange_declare(EXCHANGE, "fanout", durable=True)
        channel.queue_bind(QUEUE, EXCHANGE)


def test_without_a_queue_every_bundle_is_503_and_with_one_again_200(collector, direct):
    direct.delete(QUEUE)
    assert [collector.post(form([n])) for n in range(5)] == [503] * 5
    bind_again(direct)
    assert collector.post(form(["a"])) == 200
    assert identities(direct) == ["a"]


def test_an_exchange_that_is_deleted_is_503_and_declared_again(collector, direct):
    with direct.channel() as channel:
        channel.exchange_delete(EXCHANGE)
    assert collector.post(form(["a"])) == 503
    assert collector.post(form(["a"])) == 503, "declared again, but nothing is bound to it"
    assert collector.log("exchange_declared")
    bind_again(direct)
    assert collector.post(form(["a"])) == 200


@pytest.fixture
def narrow(broker: Broker) -> Iterator[int]:
    """The broker takes no larger messages than this on channels that are opened from now on."""
    usual, largest = 134_217_728, 3000
    broker.eval(f"application:set_env(rabbit, max_message_size, {largest})")
    yield largest
    broker.eval(f"application:set_env(rabbit, max_message_size, {usual})")


def test_a_record_over_the_brokers_limit_is_400_by_name_and_holds_up_nobody(
    narrow, collector, broker, direct
):
    large = form(["large"], arg1=update(["large"]).replace("a job", "j" * narrow))
    with Senders(collector.port, count=2, size=10) as others:
        others.until_accepted(50)
        for _ in range(3):
            status, answer = collector.ask("POST", SERVLET, large)
            assert status == 400
            assert b"record 'large' has " in answer
            assert f"max_message_size is {narrow}".encode() in answer
        others.until_accepted(50)
    assert set(others.statuses()) == {200}
    check_promises(others, direct)
    assert len(collector.log("message_too_large")) == 1, "the limit is remembered"
    broker.eval("application:set_env(rabbit, max_message_size, 1000000)")
    broker.close_connections()
    until(lambda: collector.post(large) == 200)


def test_a_full_queue_that_refuses_is_503_and_harms_nobody_else(tmp_path, broker):
    direct = bound_queue(broker, x_max_length=99, x_overflow="reject-publish")
    with Collector(tmp_path, to_broker(broker.port)) as collector:
        collector.becomes_ready()
        assert collector.post(form(range(100))) == 503, "one of a hundred was refused"
        direct.purge(QUEUE)
        assert collector.post(form(range(99))) == 200
        assert len(identities(direct)) == 99


def test_one_confirm_of_a_hundred_withheld_is_503_and_others_are_unharmed(tmp_path, broker, direct):
    with Relay(broker.port) as relay, Collector(tmp_path, to_broker(relay.port)) as collector:
        collector.becomes_ready()
        withheld = Withheld(tag=100)
        relay.filter(withheld)
        with ThreadPoolExecutor(1) as thread:
            hundred = thread.submit(collector.post, form(range(100)))
            until(lambda: withheld.acted)  # or it would be a confirm of the others
            with Senders(collector.port, count=1, size=10) as others:
                others.until_accepted(50)
                assert hundred.result() == 503
        assert set(others.statuses()) == {200}


@pytest.mark.parametrize(
    "kills", [3, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_a_killed_collector_loses_nothing_that_it_had_accepted(tmp_path, broker, direct, kills):
    jitter, port = random.Random(SEED), closed_port()
    with Senders(port, count=4, size=20) as senders:
        for _ in range(kills):
            with Collector(tmp_path, to_broker(broker.port), port=port) as collector:
                collector.becomes_ready()
                senders.until_accepted(jitter.randrange(1, 400))
            assert collector.returncode == -signal.SIGKILL
    check_promises(senders, direct)


@pytest.mark.alone
def test_sigterm_under_load_finishes_what_is_in_hand(collector, direct):
    with Senders(collector.port, count=8, size=50) as senders:
        senders.until_accepted(1000)
        code, seconds = collector.ends(signal.SIGTERM)
    assert code == 0
    assert seconds < 10
    assert set(senders.statuses()) <= {200, 0}
    check_promises(senders, direct)


def test_a_changed_password_is_read_again_on_sighup(tmp_path, broker, direct):
    secret, settings = tmp_path / "secret", to_broker(broker.port)
    secret.write_text("guest\n")
    settings["AMQP"]["passwordFile"] = str(secret)
    with Collector(tmp_path, settings) as collector:
        collector.becomes_ready()
        broker.set_password("new")
        try:
            broker.close_connections()
            until(lambda: "error" in {one["level"] for one in collector.log("broker_disconnected")})
            secret.write_text("new\n")
            collector.send_signal(signal.SIGHUP)
            collector.becomes_ready()
        finally:
            broker.set_password("guest")
        assert collector.post(form(["a"])) == 200
        assert collector.log("secrets_reloaded")
    assert identities(direct) == ["a"]
