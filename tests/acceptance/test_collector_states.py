"""What `tixd status` and the log of a collector say while its broker takes nothing, and after."""

from __future__ import annotations

import json
import os
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
    [warning] = collector.log("bundle_not_taken")
    assert (warning["level"], warning["sender"], warning["code"]) == ("warning", "p1", 503)
    assert reason in warning["reason"]
    bound_queue(broker)
    assert collector.post(form(["b"])) == 200
    assert status(collector).startswith(f"collector, pid {collector.pid}: running, ready\n")
    assert reason in output(collector)["refusal"]


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
