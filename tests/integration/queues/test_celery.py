"""Celery itself, from its own distribution: what it sends and takes is what tixd sends and takes.

The deployment that tixd joins is tests/support/original; here it runs alone, and with messages of
tixd's in place of its own. `with celery_worker(base, tmp_path, api.port, broker.port) as worker:`
runs what a host of it runs; worker.tasks() tells what its tasks were given.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.support import hosts, pools
from tests.support.broker import Broker
from tests.support.direct import Direct
from tests.support.program import ROOT, environment, until
from tests.support.site import Fleet
from tests.support.stand_in_api import StandInApi
from tests.support.task_messages import TASK_ID
from tixd.amqp.messages import Properties
from tixd.queues.celery_message import InstallationTask, ScanTask, Task, decode, encode

#: Where `celery -A processor.tasks` finds its tasks.
ORIGINAL = ROOT / "tests" / "support" / "original"

#: Minutes between cycles, unless a test says otherwise: the least that the settings allow.
PERIOD = "0.05"

#: A start takes 2 s where nothing else runs.
START_SECONDS = 60.0


class CeleryProgram(subprocess.Popen[bytes]):
    """A celery command under way; a context manager that ends all that it started."""

    def __init__(
        self, words: Sequence[str], env: dict[str, str], log: Path, netns: str | None
    ) -> None:
        self._log = log
        self._records = Path(env["RECORD_FILE"])
        celery = (sys.executable, "-m", "celery", "-A", "processor.tasks", *words)
        with log.open("ab") as file:
            super().__init__(
                hosts.command(netns, *celery),
                cwd=ORIGINAL,
                env=env,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def __exit__(self, *error: Any) -> None:
        """When the test ends first, so does all that it started."""
        self.kill_all()
        super().__exit__(*error)

    def kill_all(self) -> None:
        """kill -9 of it and all its processes, as when its host loses power."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait(60)

    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    def says(self, text: str, seconds: float = START_SECONDS) -> None:
        """Wait until its log holds this."""
        until(lambda: self.poll() is not None or text in self.log(), seconds)
        assert self.poll() is None, self.log()

    def tasks(self, name: str = "") -> list[dict[str, Any]]:
        """What tasks (of this name) were given that have ended here, in order."""
        lines = self._records.read_text().split("\n")[:-1] if self._records.exists() else []
        return [t for t in map(json.loads, lines) if name in ("", t["task"])]


@contextlib.contextmanager
def celery_beat(
    base: Path, state: Path, broker_port: int, *, netns: str | None = None, **variables: str
) -> Iterator[CeleryProgram]:
    """`celery beat`, once it has started; the first cycle comes a period later.

    state: a folder for its schedule and log; variables: further ones of its environment, such as
    TIX_RABBITMQ_HOST and TIX_PROCESSING_PERIOD.
    """
    words = ("beat", "-s", str(state / "beat-schedule"), "-l", "DEBUG", "--pidfile=")
    env = _environment(base, state, "beat", 0, broker_port, variables)
    with CeleryProgram(words, env, state / "beat.log", netns) as beat:
        beat.says("beat: Starting...")
        yield beat


@contextlib.contextmanager
def celery_worker(
    base: Path,
    state: Path,
    api_port: int,
    broker_port: int,
    *,
    name: str = "worker",
    netns: str | None = None,
    words: Sequence[str] = (),
    **variables: str,
) -> Iterator[CeleryProgram]:
    """`celery worker` of one process, once it consumes.

    state: a folder for its log and what it notes, under `name`; words: further ones of its command
    line; variables: further ones of its environment.
    """
    command = ("worker", "-l", "INFO", "-c", "1", "-n", f"{name}@%h", *words)
    env = _environment(base, state, name, api_port, broker_port, variables)
    with CeleryProgram(command, env, state / f"{name}.log", netns) as worker:
        worker.says(" ready.")
        yield worker


def _environment(
    base: Path, state: Path, name: str, api_port: int, broker_port: int, more: dict[str, str]
) -> dict[str, str]:
    state.mkdir(parents=True, exist_ok=True)
    return environment(base, api_port) | {
        "PYTHONPATH": os.pathsep.join((str(ORIGINAL), str(ROOT))),
        "TIX_RABBITMQ_HOST": "127.0.0.1",
        "TIX_RABBITMQ_PORT": str(broker_port),
        "TIX_PROCESSING_PERIOD": PERIOD,
        "RECORD_FILE": str(state / f"{name}.tasks"),
        **more,
    }


INSTALLATION = InstallationTask(TASK_ID, "/r/1/2", 1, 2)

#: Tasks, and how Celery is told to send them.
SENT: list[tuple[Task, tuple[str, ...]]] = [
    (INSTALLATION, ("processor.tasks.process_installation", "/r/1/2", "1", "2")),
    (ScanTask(TASK_ID, "/r"), ("processor.tasks.process_users_data", "/r")),
]


def sent_by_celery(protocol: int, name: str, *arguments: str) -> tuple[bytes, Properties]:
    """Body and properties of what Celery's send_task makes, as its consumer gets them."""
    app = Celery("processor.tasks", broker="memory://")
    app.conf.task_protocol = protocol
    app.send_task(name, arguments, task_id=TASK_ID, expires=600, queue="here")
    with app.connection() as connection:
        message = connection.default_channel.basic_get("here", no_ack=True)
    said = message.properties
    return bytes(message.body), Properties(
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=message.headers,
        correlation_id=said["correlation_id"],
        expiration=said["expiration"],
        persistent=said["delivery_mode"] == 2,
    )


@pytest.mark.parametrize(("task", "call"), SENT)
def test_a_message_of_ours_is_what_celery_sends_itself(task: Task, call: tuple[str, ...]) -> None:
    body, properties = sent_by_celery(2, *call)
    expires = decode(body, properties).expires
    assert expires is not None
    ours, said = encode(
        replace(task, expires=expires), now=expires - 600, origin=properties.headers["origin"]
    )
    assert said == properties
    assert ours == body.replace(b", ", b",").replace(b": ", b":")


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize(("task", "call"), SENT)
def test_what_celery_sends_is_understood(task: Task, call: tuple[str, ...], protocol: int) -> None:
    body, properties = sent_by_celery(protocol, *call)
    understood = decode(body, properties)
    assert understood.expires is not None
    assert replace(understood, expires=None) == task


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A tix-api that takes everything."""
    with StandInApi(user="tix", password="secret") as api:
        yield api


@pytest.fixture
def direct(broker: Broker) -> Direct:
    """A look into the queues, of which there are none at first."""
    direct = Direct(broker.port)
    direct.delete("celery")
    return direct


def users(base: Path, count: int) -> list[int]:
    """So many users with one window each."""
    for user in range(1, count + 1):
        pools.window(base, user)
    return list(range(1, count + 1))


def test_beat_and_worker_of_celery_process_all_installations(
    broker: Broker, api: StandInApi, direct: Direct, tmp_path: Path
) -> None:
    base = tmp_path / "reports"
    expected = users(base, 3)
    with (
        celery_worker(base, tmp_path, api.port, broker.port) as worker,
        celery_beat(base, tmp_path, broker.port),
    ):
        until(lambda: len(worker.tasks("process_installation")) >= 3, 60)
        assert worker.tasks("process_users_data")[0]["types"] == ["str"]
        done = worker.tasks("process_installation")[:3]
    assert {tuple(task["types"]) for task in done} == {("str", "str", "str")}
    assert sorted(post.user for post in api.accepted) == expected
    assert [pools.left(base, user) for user in expected] == [2, 2, 2]


def test_a_beat_of_celery_feeds_a_worker_of_tixd(
    broker: Broker, api: StandInApi, direct: Direct, tmp_path: Path
) -> None:
    base = tmp_path / "reports"
    expected = users(base, 3)
    fleet = Fleet(base, tmp_path, api.port, broker.port)
    with fleet.worker() as worker, celery_beat(base, tmp_path, broker.port):
        until(lambda: len(api.accepted) >= 3, 60)
        until(lambda: worker.log("fanned_out"))
        assert worker.ends()[0] == 0
    assert sorted(post.user for post in api.accepted) == expected
    assert not direct.exists("tixd.dead")


def test_a_dispatcher_of_tixd_feeds_a_worker_of_celery(
    broker: Broker, api: StandInApi, direct: Direct, tmp_path: Path
) -> None:
    base = tmp_path / "reports"
    expected = users(base, 3)
    fleet = Fleet(base, tmp_path, api.port, broker.port)
    with celery_worker(base, tmp_path, api.port, broker.port) as worker, fleet.dispatcher():
        until(lambda: len(given_to(worker)) >= 3, 60)
        given = worker.tasks("process_installation")
    assert sorted(map(list, given_to(worker))) == [
        [str(base / f"{user}/1"), f"{user}", "1"] for user in expected
    ]
    assert {tuple(task["types"]) for task in given} == {("str", "str", "str")}
    assert sorted(post.user for post in api.accepted) == expected


def given_to(worker: CeleryProgram) -> set[tuple[str, ...]]:
    """What different arguments its tasks for installations had; some come in several cycles."""
    return {tuple(task["arguments"]) for task in worker.tasks("process_installation")}


def test_both_systems_work_on_one_queue_at_once_and_post_the_same(
    broker: Broker, api: StandInApi, direct: Direct, tmp_path: Path
) -> None:
    base = tmp_path / "reports"
    expected = users(base, 40)
    fleet = Fleet(base, tmp_path, api.port, broker.port)
    with (
        celery_worker(base, tmp_path, api.port, broker.port) as theirs,
        fleet.worker() as ours,
        celery_beat(base, tmp_path, broker.port),
        fleet.dispatcher(),
    ):
        until(lambda: len(api.accepted) >= len(expected), 60)
        until(lambda: ours.told()["counts"].get("jobs_done") and theirs.tasks())
    assert sorted(post.user for post in api.accepted) == expected, "each window once"
    first, *others = [post.body for post in api.accepted]
    assert all(other == first for other in others), "all had the same reports"
