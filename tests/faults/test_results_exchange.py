"""Results of other hosts: in the history of the dispatcher, and at anyone who binds a queue."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from tests.support import made
from tests.support.broker import Broker
from tests.support.direct import Direct
from tests.support.histories import rows
from tests.support.ledger import at_api
from tests.support.program import until
from tests.support.service import Service
from tests.support.site import PATIENCE, START, Fleet, is_ready, open_messages
from tests.support.stand_in_api import StandInApi
from tixd import errors
from tixd.queues.results_exchange import EXCHANGE, QUEUE

#: Longer ago than the made reports.
DAYS = {"TIX_HISTORY_DAYS": "36500"}

#: A pattern of names that leaves out what the history needs.
WITHOUT = "^(?!tixd.results|tixd.history).*"


def history_of(state: Path, name: str = "d") -> list[tuple[int, int, int]]:
    """What a dispatcher's history says was posted."""
    path = state / name / "schedule" / "history.sqlite"
    found = []
    with contextlib.suppress(errors.NotDone, sqlite3.OperationalError):  # not there, or no table
        told = "SELECT * FROM results WHERE outcome = 'posted' ORDER BY user, timestamp"
        found = rows(path, told)
    return [(row["user"], row["installation"], row["timestamp"]) for row in found]


def one_host_posts(worker: Service, base: Path, api: StandInApi, users: range) -> None:
    """Let a host work alone on installations of these users, two windows each, until its end."""
    with worker:
        until(lambda: is_ready(worker), PATIENCE)
        for user in users:
            made.installation(base, START, 28, user=user)
        until(lambda: len(api.accepted) == 2 * users.stop - 2, PATIENCE)
        until(lambda: open_messages(worker) == 0, PATIENCE)  # the jobs have ended, and told of it
        assert worker.ends()[0] == 0


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An empty reports folder, which all hosts see."""
    (tmp_path / "base").mkdir()
    return tmp_path / "base"


def bind_outside(outside: Direct, pattern: str) -> None:
    """Bind a queue of somebody else to the exchange, which is there."""
    with outside.channel() as channel:
        channel.exchange_declare(EXCHANGE, "topic", passive=True)
        channel.queue_declare("outside")
        channel.queue_bind("outside", EXCHANGE, pattern)


def test_the_history_of_the_dispatcher_has_the_results_of_both_hosts(
    tmp_path, base, broker: Broker
):
    with StandInApi() as api:
        fleet = Fleet(base, tmp_path, api.port, broker.port)
        with fleet.dispatcher(**DAYS) as dispatcher:
            until(lambda: is_ready(dispatcher), PATIENCE)
            until(lambda: QUEUE in broker.ctl("list_queues", "name"), PATIENCE)
            bind_outside(Direct(broker.port), "2.*")
            one_host_posts(fleet.worker("one"), base, api, range(1, 3))
            one_host_posts(fleet.worker("two"), base, api, range(3, 5))
            until(lambda: history_of(tmp_path) == sorted(at_api(api)), PATIENCE)
            assert dispatcher.status()["history"]["summary"]["results_kept"] == 0
    with Direct(broker.port).channel() as channel:
        bodies = [channel.basic_get("outside", auto_ack=True)[2] for _ in range(3)]
    results = [json.loads(body) for body in bodies]
    assert {message["user"] for message in results} == {2}
    posted = {p.body["timestamp"]: p.body for p in api.accepted if p.user == 2}
    first = next(message for message in results if message["kind"] == "result")
    assert abs(first["upUsage"] - posted[first["timestamp"]]["upUsage"]) < 1e-4
    assert (first["outcome"], "ip" in first) == ("posted", False)


def test_what_a_dispatcher_that_is_away_misses_waits_in_a_bounded_queue(
    tmp_path, base, broker: Broker
):
    with StandInApi() as api:
        fleet = Fleet(base, tmp_path, api.port, broker.port)
        with fleet.dispatcher() as dispatcher, fleet.worker() as worker:
            until(lambda: is_ready(dispatcher) and is_ready(worker), PATIENCE)
            until(lambda: QUEUE in broker.ctl("list_queues", "name"), PATIENCE)
            dispatcher.kill()
            dispatcher.wait()
            made.installation(base, START)
            with fleet.dispatcher("other", **DAYS) as other:  # of another host, with another folder
                until(lambda: history_of(tmp_path, "other"), PATIENCE)
                other.ends()
    assert len(api.accepted) == 1
    found = broker.ctl("list_queues", "name", "durable", "arguments")
    [queue] = [line for line in found.splitlines() if line.startswith(QUEUE)]
    assert "x-expires" in queue
    assert "x-max-length" in queue


def test_a_broker_that_refuses_the_exchange_is_one_warning_of_each_role(
    tmp_path, base, broker: Broker
):
    broker.renew()
    broker.allow(WITHOUT)
    with StandInApi() as api:
        fleet = Fleet(base, tmp_path, api.port, broker.port)
        with fleet.dispatcher() as dispatcher, fleet.worker() as worker:
            until(lambda: is_ready(dispatcher) and is_ready(worker), PATIENCE)
            for user in (1, 2):
                made.installation(base, START, user=user)
                until(lambda: len(api.accepted) == user, PATIENCE)  # noqa: B023
            assert dispatcher.ends()[0] == worker.ends()[0] == 0
    broker.allow(".*")
    told = [line["event"] for role in (dispatcher, worker) for line in role.log() if is_loud(line)]
    assert told == ["results_not_followed", "results_not_published"]


def is_loud(line: dict[str, str]) -> bool:
    """Whether an operator should look at this line; a short cycle may be skipped on a busy host."""
    return line["level"] in ("warning", "error") and line["event"] != "cycle_skipped"
