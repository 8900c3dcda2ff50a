"""What `tixd status` and the log of a collector say while its broker takes nothing, and after."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import Broker
from tests.support.bundles import form
from tests.support.collector import Collector
from tests.support.direct import EXCHANGE, QUEUE, bound_queue, to_broker
from tests.support.program import ROOT, TIXD, until
from tests.support.terminal import WIDTHS, screen


@pytest.fixture
def collector(tmp_path: Path, broker: Broker) -> Iterator[Collector]:
    """A collector that is ready, with a queue bound to its exchange."""
    bound_queue(broker)
    with Collector(tmp_path, to_broker(broker.port)) as running:
        running.becomes_ready()
        yield running


def status(collector: Collector, *options: str) -> str:
    """What `tixd status` prints."""
    env = {**os.environ, "RUNTIME_DIRECTORY": str(collector.runtime_folder)}
    words = [*TIXD, "status", *options]
    return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True).stdout


def output(collector: Collector) -> dict[str, Any]:
    """What status says of the only output."""
    [found] = json.loads(status(collector, "--format", "json"))["outputs"]
    return found


def test_status_names_exchange_and_remedy_while_no_queue_is_bound(broker, collector):
    assert collector.post(form(["a"])) == 200
    assert status(collector).startswith(f"collector, pid {collector.pid}: running, ready\n")
    with bound_queue(broker).channel() as channel:
        channel.queue_unbind(QUEUE, EXCHANGE)
    assert [collector.post(form([n], **{"from": "p1"})) for n in range(3)] == [503] * 3
    reason = f"no queue is bound to exchange {EXCHANGE}: RabbitMQ returned the message; bind"
    first, *rest = status(collector).splitlines()
    assert "running; NO BUNDLE TAKEN for under 1 min, the last 3 failed: 503, AMQP: " in first
    assert reason in first
    assert f"  output   AMQP: amqp://127.0.0.1:{broker.port}, exchange {EXCHANGE}" in rest
    assert any(line.strip().startswith("last refusal ") and reason in line for line in rest)
    until(lambda: collector.log("bundle_not_taken"))
    [warning] = collector.log("bundle_not_taken")
    assert (warning["level"], warning["sender"], warning["code"]) == ("warning", "p1", 503)
    assert reason in warning["reason"]
    bound_queue(broker)
    assert collector.post(form(["b"])) == 200
    assert status(collector).startswith(f"collector, pid {collector.pid}: running, ready\n")
    assert reason in output(collector)["refusal"]
    assert "  bundles  last taken " in status(collector)


def test_status_tells_the_last_confirm_while_the_broker_is_away_and_forgets_it_once_it_is_back(
    broker, collector
):
    broker.kill()
    until(lambda: not collector.ready())
    assert collector.post(form(["a"])) == 503
    found = status(collector)
    assert "running, NOT READY: AMQP: " in found.splitlines()[0]
    assert "           last confirm " in found
    assert output(collector)["reason"]
    broker.start()
    until(lambda: collector.post(form(["a"])) == 200)
    assert status(collector).startswith(f"collector, pid {collector.pid}: running, ready\n")
    assert output(collector)["reason"] == ""


def test_a_missing_vhost_is_named_with_its_setting(tmp_path, broker):
    settings = to_broker(broker.port)
    settings["AMQP"]["vhost"] = "newcomer"
    with Collector(tmp_path, settings) as running:
        running.runs()
        reason = f"amqp://127.0.0.1:{broker.port}/newcomer: vhost newcomer does not exist"
        until(lambda: f"NOT READY: AMQP: {reason} (AMQP.vhost)" in status(running))
        assert "           no confirm yet, vhost newcomer does not exist (AMQP.vhost)" in (
            status(running)
        )


def test_a_wrong_password_is_named_with_its_setting_and_a_right_one_is_used_after_sighup(
    tmp_path, broker
):
    bound_queue(broker)
    (tmp_path / "password").write_text("wrong")
    settings = to_broker(broker.port)
    settings["AMQP"]["passwordFile"] = str(tmp_path / "password")
    with Collector(tmp_path, settings) as running:
        running.runs()
        reason = "user guest or the password is refused (AMQP.user, AMQP.password)"
        until(lambda: f"amqp://127.0.0.1:{broker.port}: {reason}" in status(running))
        assert running.post(form(["a"])) == 503
        until(lambda: running.log("bundle_not_taken"))
        [warning] = running.log("bundle_not_taken")
        assert reason in warning["reason"]
        assert "wrong" not in status(running) + running.log_file.read_text()
        (tmp_path / "password").write_text("guest")
        running.send_signal(signal.SIGHUP)
        until(lambda: running.post(form(["a"])) == 200)
        assert status(running).startswith(f"collector, pid {running.pid}: running, ready\n")


def test_status_breaks_no_word_while_bundles_are_refused(broker, collector):
    with bound_queue(broker).channel() as channel:
        channel.queue_unbind(QUEUE, EXCHANGE)
    assert collector.post(form(["a"])) == 503
    own = {"RUNTIME_DIRECTORY": str(collector.runtime_folder)}
    for columns in WIDTHS:
        shown = screen("status", columns=columns, environment=own)
        assert "NO BUNDLE TAKEN" in " ".join(shown.text.split())
        assert shown.faults == []
