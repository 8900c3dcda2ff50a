"""The line in `systemctl status`: what a role does, without chatter."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.service import snapshot
from tixd.runtime.status import (
    ApiView,
    BrokerView,
    CycleView,
    QueueView,
    VolumeView,
    WorkerView,
    headline,
    status_line,
)

WORKERS = (
    WorkerView(78, True, "installation 12/34", "post", 2.0, busy=True),
    WorkerView(79, True, "checking the volume", "", 0.5),
    WorkerView(80, True, "", "", 0.5),
)


def said(**changes: Any) -> str:
    """The line of such a role."""
    return status_line(snapshot(**{"workers": WORKERS, **changes}))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"waiting": 1200},
            "leading; 1 of 3 workers busy, 1,200 jobs waiting; last scan 6 min ago",
        ),
        ({"cycle": CycleView()}, "leading; 1 of 3 workers busy, 0 jobs waiting; no scan yet"),
        (
            {"cycle": CycleView(1, 600.0, 0.2, scanning_since=999.0)},
            "leading; 1 of 3 workers busy, 0 jobs waiting; scanning",
        ),
        ({"role": "dispatcher"}, "leading; last scan 6 min ago"),
        (
            {"role": "worker", "waiting": 1, "workers": WORKERS[:1]},
            "working; 1 of 1 worker busy, 1 job waiting",
        ),
        ({"state": "standing by", "leader": "pid 7 on alpha"}, "standing by for pid 7 on alpha"),
        ({"state": "standing by"}, "standing by for another process"),
        ({"state": "starting"}, "starting"),
        ({"state": "stopping"}, "stopping: 1 window in progress"),
    ],
)
def test_each_state_of_each_role_has_its_line(changes, line):
    assert said(**changes) == line


def test_why_a_role_cannot_work_stands_first():
    broker = BrokerView("RabbitMQ takes no messages: memory")
    assert said(role="worker", broker=broker).startswith(
        "NOT READY: RabbitMQ takes no messages: memory; 1 of 3 workers"
    )
    volume = VolumeView(995.0, "the reports volume is read-only", 0)
    assert said(volume=volume).startswith(
        "NOT READY: the reports volume is read-only, the reports volume is full; 1 of"
    )


def test_results_that_are_kept_stand_before_the_figures():
    assert said(api=ApiView(None, 900.0, "HTTP 401 Unauthorized")).startswith(
        "leading; results have been KEPT for 1 min: HTTP 401 Unauthorized; 1 of 3 workers busy"
    )


def test_in_the_first_seconds_nothing_is_called_wrong():
    young = {"workers": (), "started": 990.5}
    assert said(**young).startswith("starting: no worker process is ready; 0 of 0 workers")
    assert said(**{**young, "started": 990.0}).startswith("NOT READY: no worker process is ready;")


def test_a_reason_that_is_a_sentence_ends_like_the_others():
    assert said(volume=VolumeView(995.0, "mend it.")).startswith("NOT READY: mend it; 1 of 3")


def test_what_a_sighup_could_not_do_stands_last():
    assert said(reload_error="secrets not reloaded: x").endswith("; secrets not reloaded: x")


def test_it_says_nothing_new_while_nothing_happens():
    lines = {said(moment=1000.0 + second, started=900.0) for second in range(50)}
    assert len(lines) == 2, "the age of the last scan, once a minute"


#: A queue in which two messages wait for nobody, for 70 s at the time of the snapshot.
LONELY = QueueView("celery", 2, 0, unattended_since=930.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "running, ready"),
        ({"state": "starting"}, "starting"),
        ({"state": "standing by", "leader": "pid 7 on b"}, "standing by, led by pid 7 on b"),
        (
            {"api": ApiView(None, 760.0, "the tix-api refuses the credentials")},
            "running; results have been KEPT for 4 min 0 s: the tix-api refuses the credentials",
        ),
        (
            {"role": "dispatcher", "queue": LONELY},
            "running; NOBODY WORKS: queue celery has 2 messages, and no worker for 1 min 10 s",
        ),
        (
            {"role": "dispatcher", "queue": LONELY, "period_seconds": 60.0},
            "running, NOT READY: NOBODY WORKS: queue celery has 2 messages, and no worker for"
            " 1 min",
        ),
        (
            {"role": "worker", "queue": QueueView("celery", 0, 1), "leaderless_since": -260.0},
            "running; no job for 21 min 0 s: no dispatcher seems to run for this vhost"
            " (queue celery)",
        ),
        (
            {"api": ApiView(None, 760.0, "HTTP 401"), "volume": VolumeView(995.0, "it is gone")},
            "running, NOT READY: it is gone; results have been KEPT for 4 min 0 s: HTTP 401",
        ),
    ],
)
def test_the_headline_says_the_worst_that_there_is_to_say(changes, words):
    members = {"cycle": CycleView(1, 990.0), "workers": WORKERS, **changes}
    assert headline(snapshot(**members)) == words


def test_a_dispatcher_is_not_ready_once_nobody_has_worked_for_a_period():
    late = {"role": "dispatcher", "cycle": CycleView(1, 990.0), "queue": LONELY}
    assert snapshot(**late, period_seconds=70.0).unready_reasons() == ()
    [reason] = snapshot(**late, period_seconds=69.0).unready_reasons()
    assert reason.startswith("NOBODY WORKS: queue celery has 2 messages, and no worker for ")
