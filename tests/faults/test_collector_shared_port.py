"""Two collectors share one port: both get requests, and the end of either loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.collector import Collector, Pair
from tests.support.direct import bound_queue, to_broker
from tests.support.program import ROOT, TIXD, until
from tests.support.senders import Senders, check_promises


@pytest.fixture
def pair(tmp_path: Path, broker: Broker) -> Pair:
    """Two that have not started."""
    return Pair(tmp_path, to_broker(broker.port))


@pytest.mark.alone
@pytest.mark.parametrize("rounds", [1, pytest.param(30, marks=pytest.mark.long)])
def test_two_share_a_port_and_the_end_of_either_loses_nothing(pair, broker, rounds):
    direct = bound_queue(broker)
    with Senders(pair.port, count=8, size=15) as senders, pair.collector(1) as stopped:
        for _ in range(rounds):
            with pair.collector(0):
                until(lambda: pair.ready(0, 1))
                before = pair.records(1)
                until(lambda b=before: pair.records(0) > 150 and pair.records(1) > b + 150)
                # the end of the block kills this one under load
            senders.until_accepted(300)
        with pair.collector(0):
            until(lambda: pair.ready(0))
            assert stopped.ends(signal.SIGTERM)[0] == 0
            senders.until_accepted(300)
    assert set(senders.statuses()) <= {200, 0, 503}
    check_promises(senders, direct)


def test_each_has_counts_and_a_control_socket_of_its_own(pair, broker):
    bound_queue(broker)
    with pair.collector(0) as one, pair.collector(1) as other:
        until(lambda: pair.ready(0, 1))
        with Senders(pair.port, count=4, size=10) as senders:
            until(lambda: pair.records(0) and pair.records(1))
        assert pair.records(0) + pair.records(1) == len(senders.accepted)
        assert f"gracc_records_total {pair.records(1)}.0" in pair.ask(1, "/metrics")
        for number, collector in enumerate((one, other)):
            told = status(collector)
            assert f"collector, pid {collector.pid}: running, ready" in told
            assert f"listens  127.0.0.1:{pair.port}, {pair.admin[number]}" in told


def status(collector: Collector) -> str:
    """What `tixd status` says of one of them."""
    environment = os.environ | {"RUNTIME_DIRECTORY": str(collector.runtime_folder)}
    return subprocess.check_output([*TIXD, "status"], cwd=ROOT, env=environment, text=True)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (True, False, "Address already in use; collectors can share it, if each has reusePort"),
        (False, True, "Address already in use, by a process without reusePort or of another user"),
        (True, True, "Address already in use: adminAddress must be one that no other process has"),
    ],
)
def test_what_cannot_be_shared_stops_the_second_and_says_what_to_do(pair, first, second, reason):
    same = {"adminAddress": pair.admin[0]}
    with pair.collector(0, reusePort=first, **same) as one:
        one.runs()
        with pair.collector(1, reusePort=second, **same) as other:
            assert other.wait(60) == 3
            assert reason in other.log_file.read_text()
        assert one.alive()
