"""`tixd status`: what a page says about roles that work, that stand by, and that cannot work."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
import pytest

from tests.support.service import snapshot
from tixd.commands.output import fold
from tixd.commands.status import page
from tixd.runtime.control_server import status_command
from tixd.runtime.status import (
    ApiView,
    BrokerView,
    BundlesView,
    CycleView,
    HistoryView,
    OutputView,
    QueueView,
    Snapshot,
    VolumeView,
    WorkerView,
)


def lines(**changes: Any) -> list[str]:
    """The page about a role, which a command gets as JSON."""
    now: Snapshot = snapshot(**changes)
    told = asyncio.run(status_command(lambda: now)({}))  # type: ignore[arg-type]
    return list(page(json.loads(orjson.dumps(told))))


def test_a_role_that_works_is_told_in_a_page():
    assert lines() == [
        "standalone, pid 77: running, ready",
        "  up       10 min 0 s, since 1970-01-01 00:06:40 UTC, tixd 1.2.3",
        "  cycle    last scan 6 min 40 s ago, took 0.2 s, next in 3 min 20 s",
        "  queue    0 waiting, 0 being done",
        "  volume   answered 5 s ago, 7.0 GiB free",
        "  tix-api  nothing posted yet",
        "  worker   78 12345/67890: post, for 2 s",
        "  worker   79 starting for 0 s",
        "        3  windows analysed and posted",
    ]


def test_the_first_line_says_why_a_role_cannot_work():
    volume = VolumeView(100.0, "the reports volume is read-only", 0)
    first, *rest = lines(workers=(), volume=volume)
    assert first == (
        "standalone, pid 77: running, NOT READY: no worker process is ready; "
        "the reports volume last answered 900 s ago; the reports volume is read-only; "
        "the reports volume is full"
    )
    assert (
        "  volume   answered 15 min 0 s ago, 0.0 MiB free, the reports volume is read-only" in rest
    )


def test_a_stand_by_says_who_leads():
    found = lines(state="standing by", leader="pid 5 on alpha", workers=(), cycle=CycleView())
    assert found[0] == "standalone, pid 77: standing by, led by pid 5 on alpha"
    assert "  cycle    no scan yet" in found


def test_a_sighup_that_could_not_be_followed_is_told():
    assert "  SIGHUP   secrets not reloaded: no file" in lines(
        reload_error="secrets not reloaded: no file"
    )


def test_a_scan_that_runs_is_told_with_its_time():
    cycle = CycleView(1, 600.0, 2.0, scanning_since=940.0, next_due=990.0)
    expected = "scanning for 1 min 0 s, last scan 6 min 40 s ago, took 2.0 s, next now"
    assert f"  cycle    {expected}" in lines(cycle=cycle)


def test_a_volume_that_never_answered_is_told():
    assert "  volume   no answer yet" in lines(volume=VolumeView())


def test_a_tix_api_that_takes_nothing_is_told_with_the_last_post():
    line = "  tix-api  last post 10 min 0 s ago, results kept for 1 min 0 s: HTTP 401"
    assert line in lines(api=ApiView(400.0, 940.0, "HTTP 401"))
    assert "  tix-api  last post 1 min 0 s ago" in lines(api=ApiView(posted=940.0))
    assert "  tix-api  http://a:80, nothing posted yet" in lines(api=ApiView(address="http://a:80"))
    assert not any(line.startswith("  tix-api") for line in lines(role="dispatcher"))


def test_what_happened_is_counted_in_words():
    found = lines(counts={"cycles": 1200, "worker_restarts_signal": 1})
    assert found[-2:] == [
        "        1  workers replaced: ended by a signal",
        "    1,200  scans completed",
    ]


@pytest.mark.parametrize(
    ("built", "line"),
    [(400, "  AS table built 10 min 0 s ago"), (0, "  AS table cannot be used, see the log")],
)
def test_the_as_table_has_a_line_where_one_is_set(built, line):
    assert line in lines(volume=VolumeView(995.0, asn_built=built))
    assert not [line for line in lines(volume=VolumeView(995.0)) if "AS table" in line]


def test_outputs_of_a_collector_have_lines_of_their_own():
    amqp = OutputView("AMQP", "amqp://b:5672, exchange gracc", "away", 940.0, 970.0, "no queue")
    file = OutputView("file", "/srv/records")
    found = lines(role="collector", outputs=(amqp, file), counts={})
    assert found[2:8] == [
        "  output   AMQP: amqp://b:5672, exchange gracc",
        "           last confirm 1 min 0 s ago, away",
        "           last refusal 30 s ago: no queue",
        "  output   file: /srv/records",
        "           no confirm yet",
        "  bundles  none taken yet",
    ]


def test_the_first_line_of_a_collector_says_that_no_bundle_is_taken():
    refused = BundlesView(None, 5, 880.0, 503, "AMQP: no queue is bound to exchange gracc")
    first = lines(role="collector", bundles=refused)[0]
    assert first == (
        "collector, pid 77: running; NO BUNDLE TAKEN for 2 min, the last 5 failed: 503, "
        "AMQP: no queue is bound to exchange gracc"
    )


def test_a_dispatcher_shows_its_scanner_its_queue_and_its_broker():
    found = lines(
        role="dispatcher",
        workers=(WorkerView(78, True, "", "", 1.0),),
        broker=BrokerView("", 998.0, "amqp://alpha:5672"),
        queue=QueueView("celery", 2, 1),
    )
    assert found[0] == "dispatcher, pid 77: running, ready"
    assert "  jobs     2 messages waiting in celery, 1 consumer" in found
    assert "  broker   amqp://alpha:5672, last confirm 2 s ago" in found
    assert "  scanner  78 waits for a job" in found


def test_a_broker_that_is_away_is_named_once():
    broker = BrokerView("amqp://alpha:5672: host name unknown (X)", None, "amqp://alpha:5672")
    found = lines(role="worker", broker=broker)
    assert "  broker   amqp://alpha:5672, host name unknown (X)" in found


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_nor_broken_within_a_word(columns):
    api = ApiView(None, 700.0, "http://api.example.org:80: the tix-api refuses the credentials")
    whole = lines(api=api, volume=VolumeView(100.0, "the reports folder /srv/reports is gone"))
    folded = list(fold(whole, columns))
    assert max(map(len, folded)) <= columns
    assert " ".join(folded).split() == " ".join(whole).split()
    assert len(folded) > len(whole) or columns == 200


def test_a_collector_names_the_senders_that_stopped_and_its_history():
    summary = {"senders_silent": 4, "senders_silent_first": ["ce1", "ce2", "ce3"]}
    found = lines(role="collector", history=HistoryView("/var/lib/c.sqlite", summary=summary))
    silent = "  silent   4 senders without a request for 2 h: ce1, ce2, ce3, ... (tixd probes)"
    assert silent in found
    assert "  history  /var/lib/c.sqlite" in found
