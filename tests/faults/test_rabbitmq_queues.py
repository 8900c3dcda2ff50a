"""The queue changed under the roles, rights and passwords too, and messages that are no jobs.

Deletion, purge, withdrawn rights, an alarm, and a new password by SIGHUP: one broker and one fleet
for all of them, so each leaves everything as it was.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import task_messages
from tests.support.broker import Broker
from tests.support.program import until
from tests.support.site import (
    ONE_POST,
    PATIENCE,
    Site,
    counted,
    held,
    open_messages,
    seconds_until,
    site,
)
from tixd.amqp.messages import Properties

#: Rights to all that tixd has and uses; the default exchange is what messages are published to.
OWN = r"^(celery|tixd\\..*|amq\\.default)$"


@pytest.fixture(scope="module")
def password(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that both roles have the password from."""
    path = tmp_path_factory.mktemp("secret") / "password"
    path.write_text("guest\n")
    return path


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory, broker: Broker, password: Path
) -> Iterator[Site]:
    options = ONE_POST | {"TIX_RABBITMQ_PASS_FILE": str(password)}
    with site(tmp_path_factory.mktemp("site"), broker, **options) as both:
        both.works()
        yield both


# --- case 27 -------------------------------------------------------------------------------------


def test_a_deleted_queue_is_declared_again(both: Site) -> None:
    before = len(both.worker.log("broker_connected"))
    both.direct.delete("celery")
    seconds_until(lambda: len(both.worker.log("broker_connected")) > before, "consuming again")
    both.works()
    assert "queue is gone" in both.worker.log("broker_disconnected")[-1]["reason"]


def test_a_purge_costs_no_more_than_a_cycle(both: Site) -> None:
    with held(both.api) as answer:
        users = [both.add() for _ in range(6)]
        until(lambda: answer.users, PATIENCE)
        until(lambda: both.direct.drain("celery"), PATIENCE)  # messages expire and come anew
    seconds_until(lambda: all(both.posts(user) for user in users), "after the purge")
    both.works()


def test_rights_that_are_withdrawn_are_missed_and_come_back(both: Site) -> None:
    both.broker.allow("^$")
    try:
        both.broker.close_connections()
        for role in both.roles:
            both.not_ready(role, "give that user the right")
        both.broker.allow(OWN)
        seconds_until(lambda: both.ready() is None, "with rights again")
        both.works()
    finally:
        both.broker.allow(".*")


def test_a_changed_password_is_read_again_when_told_to(both: Site, password: Path) -> None:
    both.broker.set_password("new")
    try:
        both.broker.close_connections()
        for role in both.roles:
            both.not_ready(role, "user guest or the password is refused")
        password.write_text("new\n")
        for role in both.roles:
            role.send_signal(signal.SIGHUP)
        seconds_until(lambda: both.ready() is None, "in with the new password")
    finally:
        both.broker.set_password("guest")
        password.write_text("guest\n")
    for role in both.roles:
        role.send_signal(signal.SIGHUP)
    both.broker.close_connections()
    both.works()


# --- case 28 -------------------------------------------------------------------------------------


class Trap:
    """Makes a file where somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._path),)


def refused(base: Path, trap: Path) -> dict[str, tuple[bytes, Properties, str]]:
    """Messages that are no jobs, by their ids, with the beginning of the reason."""
    json = task_messages.JSON
    pickled = Properties("application/x-python-serialize", "binary")
    many = [f"{base}/1/1", "1", "1", "1"]
    outside = [f"{base}/1/1/../../../1/1", "1", "1"]
    return {
        "no JSON": (b"{", json, "the body is not valid JSON"),
        "pickle": (pickle.dumps(Trap(trap)), pickled, "content type"),
        "unknown": (*task_messages.protocol_2(task="os.system"), "unknown task"),
        "arguments": (*task_messages.protocol_2(many), "4 arguments"),
        "outside": (*task_messages.protocol_2(outside), f"'{base}"[:20]),
        "huge": (b"[" + b" " * 100_000_000, json, "the body has 100000001 bytes"),
    }


def test_what_is_no_job_lies_among_the_dead_with_its_reason_once(both, tmp_path) -> None:
    bad = refused(both.base, tmp_path / "trap")
    before = counted(both.worker, "messages_dead")
    for name, (body, properties, _) in bad.items():
        both.direct.publish("celery", body, message_id=name, **as_pikas(properties))
    seconds_until(lambda: counted(both.worker, "messages_dead") == before + len(bad), "all refused")
    both.works()
    dead = {m.properties.message_id: m for m in both.direct.drain("tixd.dead")}
    assert dead.keys() == bad.keys()
    for name, (body, _, reason) in bad.items():
        assert dead[name].body == body
        assert dead[name].properties.headers["tixd-reason"].startswith(reason)
    assert not (tmp_path / "trap").exists()
    assert counted(both.worker, "messages_dead") == before + len(bad)


def as_pikas(properties: Properties) -> dict[str, object]:
    names = ("content_type", "content_encoding", "headers")
    return {name: getattr(properties, name) or None for name in names}


@pytest.mark.usefixtures("no_schedule")
def test_tasks_of_both_protocols_run_at_once_unless_they_have_expired(both: Site) -> None:
    expired = counted(both.worker, "messages_expired")
    users = [both.add() for _ in range(4)]
    paths = [[f"{both.base}/{user}/1", str(user), "1"] for user in users]
    later, past = "2090-01-01T00:00:00+00:00", "2020-01-01T00:00:00"
    bodies = [
        (task_messages.protocol_1(args=paths[0]), task_messages.JSON),
        task_messages.protocol_2(paths[1]),
        task_messages.protocol_2(paths[2], eta=later),
        task_messages.protocol_2(paths[3], expires=past),
    ]
    for body, properties in bodies:
        both.direct.publish("celery", body, **as_pikas(properties))
    until(lambda: all(both.posts(user) for user in users[:3]), PATIENCE)
    until(lambda: counted(both.worker, "messages_expired") > expired, PATIENCE)
    assert [both.posts(user) for user in users] == [1, 1, 1, 0]


@pytest.fixture
def no_schedule(both: Site) -> Iterator[None]:
    """The dispatcher stands still, so that nobody looks for windows."""
    both.dispatcher.send_signal(signal.SIGSTOP)
    until(lambda: psutil.Process(both.dispatcher.pid).status() == psutil.STATUS_STOPPED)
    yield
    both.dispatcher.send_signal(signal.SIGCONT)


# --- alarm ---------------------------------------------------------------------------------------


def test_under_an_alarm_jobs_in_hand_end_and_all_goes_on_after_it(both: Site) -> None:
    both.works()
    with held(both.api) as answer:
        user = both.add()
        until(lambda: user in answer.users, PATIENCE)
        both.broker.alarm()
        try:
            for role in both.roles:
                both.not_ready(role, "RabbitMQ takes no messages: low on memory")
                assert role.log("broker_blocked")
            answer.set()
            until(lambda: both.posts(user) and open_messages(both.worker) == 0, PATIENCE)
            assert "memory" in both.broker.eval("rabbit_alarm:get_alarms()")
        finally:
            both.broker.clear_alarm()
    seconds_until(lambda: both.ready() is None, "ready after the alarm")
    both.works()
    assert both.posts(user) == 1
