"""Hosts that are killed, hang or stop while they have messages, and dispatchers that take over.

Also: SIGTERM with prefetched messages, a job longer than the broker waits, a read-only root.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import task_messages
from tests.support.broker import Broker
from tests.support.direct import Direct
from tests.support.ledger import Ledger
from tests.support.made import installation
from tests.support.program import until
from tests.support.service import SHORT_SECONDS, Service
from tests.support.site import (
    ONE_POST,
    PATIENCE,
    START,
    Fleet,
    counted,
    held,
    is_ready,
    open_messages,
    seconds_until,
)
from tests.support.stand_in_api import StandInApi

#: After so long the broker takes messages back that nobody has answered for.
TIMEOUT_SECONDS = 2.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One that looks every second whether consumers answer."""
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        broker.eval("application:set_env(rabbit, channel_tick_interval, 500)")
        yield broker


@pytest.fixture
def direct(broker: Broker) -> Direct:
    """A look into its queues, which are new."""
    direct = Direct(broker.port)
    for queue in ("celery", "tixd.dead"):
        direct.delete(queue)
    direct.declare("celery")
    return direct


def send(direct: Direct, base: Path, *users: int) -> None:
    """A job each, as a Celery beat sends them; their windows are made."""
    for user in users:
        installation(base, START, user=user, number=1)
        body = task_messages.protocol_1(args=[f"{base}/{user}/1", str(user), "1"])
        direct.publish("celery", body, content_type="application/json")


def kill_host(role: Service) -> None:
    """Kill all its processes, the parent last: the locks of a host go with its connection."""
    workers = [worker["pid"] for worker in role.status()["workers"]]
    os.kill(role.pid, signal.SIGSTOP)  # else it starts others
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    until(lambda: all("Z (zombie)" in Path(f"/proc/{p}/status").read_text() for p in workers))
    os.killpg(role.pid, signal.SIGKILL)


def test_eight_messages_of_a_killed_host_are_elsewhere_in_seconds(broker, direct, tmp_path) -> None:
    base = tmp_path / "reports"
    send(direct, base, *range(1, 9))
    with StandInApi() as api, held(api) as answer:
        ledger = Ledger(base, api)
        fleet = Fleet(base, tmp_path, api.port, broker.port)
        with fleet.worker("one", TIX_WORKERS="4", **ONE_POST) as one:
            until(lambda: open_messages(one) == 8 and answer.users, PATIENCE)
            until(lambda: sum(worker["busy"] for worker in one.status()["workers"]) == 4, PATIENCE)
            with fleet.worker("two", TIX_WORKERS="4", **ONE_POST) as two:
                until(lambda: is_ready(two), PATIENCE)
                until(lambda: open_messages(two) == 0, PATIENCE)
                assert direct.count("celery") == 0
                kill_host(one)
                seconds_until(lambda: open_messages(two) == 8, "all 8 redelivered")
                answer.set()
                until(lambda: open_messages(two) == 0, PATIENCE)
        ledger.settled()


def test_messages_not_begun_go_back_when_a_worker_is_told_to_stop(broker, direct, tmp_path) -> None:
    base = tmp_path / "reports"
    send(direct, base, 1, 2, 3, 4)
    with StandInApi() as api, held(api) as answer:
        with Fleet(base, tmp_path, api.port, broker.port).worker(**ONE_POST) as worker:
            until(lambda: open_messages(worker) == 2 and answer.users, PATIENCE)
            worker.send_signal(signal.SIGTERM)
            until(lambda: direct.count("celery") == 3, PATIENCE)
            assert worker.poll() is None
            answer.set()
            assert worker.wait(PATIENCE) == 0
            assert worker.leftovers() == []
        assert len(api.accepted) == 1
    waiting = [message.body for message in direct.drain("celery")]
    assert all(b'/1", "%d"' % user in body for user, body in zip((2, 3, 4), waiting, strict=False))
    assert len(waiting) in (3, 4), "the window that was in hand may have a successor"


@pytest.mark.parametrize(
    "timeout_seconds", [TIMEOUT_SECONDS, pytest.param(10.0, marks=pytest.mark.long)]
)
def test_a_job_longer_than_the_consumers_timeout_is_done_once(
    broker, direct, tmp_path, timeout_seconds
) -> None:
    base = tmp_path / "reports"
    send(direct, base, 1)
    with (
        broker.impatient(timeout_seconds),
        StandInApi() as api,
        held(api) as answer,
        Fleet(base, tmp_path, api.port, broker.port).worker(**ONE_POST) as worker,
    ):
        until(lambda: answer.users, PATIENCE)
        until(lambda: len(worker.log("broker_connected")) >= 4, PATIENCE * 2)
        assert "timed out" in worker.log("broker_disconnected")[0]["reason"]
        answer.set()
        until(lambda: open_messages(worker) == 0 and is_ready(worker), PATIENCE)
        send(direct, base, 2)
        until(lambda: len(api.accepted) == 2, PATIENCE)
    assert [post.user for post in api.posts] == [1, 2]


# --- case 5 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "same_folder",
    [
        pytest.param(False, id="own folder"),
        pytest.param(True, id="same folder", marks=pytest.mark.long),
    ],
)
def test_a_second_dispatcher_takes_over_when_the_leader_is_killed(
    broker, direct, tmp_path, same_folder
) -> None:
    base = tmp_path / "reports"
    folders = ["schedule", "schedule" if same_folder else "schedule-2"]
    with StandInApi() as api:
        fleet = Fleet(base, tmp_path, api.port, broker.port)
        first, second = ({"CELERY_BEAT_SCHEDULE_DIR": str(tmp_path / f)} for f in folders)
        installation(base, START, 28, user=1)
        ledger = Ledger(base, api)
        with fleet.worker(), fleet.dispatcher("d1", **first) as leader:
            until(lambda: is_ready(leader), PATIENCE)
            with fleet.dispatcher("d2", **second) as other:
                until(lambda: str(leader.pid) in other.status().get("leader", ""), PATIENCE)
                until(lambda: other.in_state("standing by"), PATIENCE)
                until(lambda: len(api.accepted) == len(ledger.expected), PATIENCE)
                leads_after(leader, other)
                ledger.settled()
    assert ledger.duplicates == 0


def leads_after(leader: Service, other: Service) -> None:
    """Kill the leader; the other one leads, and completes a cycle of its own."""
    cycles = counted(other, "cycles")
    os.killpg(leader.pid, signal.SIGKILL)
    leader.wait(60)
    seconds_until(lambda: other.in_state("running") and is_ready(other), "the other one leads")
    until(lambda: counted(other, "cycles") > cycles, PATIENCE + SHORT_SECONDS)


# --- a root that cannot be written to ------------------------------------------------------------

#: Makes everything read-only but /dev/shm and what is named before "--", then runs the rest.
READ_ONLY = """
mount --make-rprivate / || exit 77
while [ "$1" != -- ]; do mount --bind "$1" "$1" || exit 77; shift; done
for top in /tmp /run; do
  ! mountpoint -q "$top" || mount -o remount,bind,ro "$top" || exit 77
done
mount -o remount,bind,ro / && mount -t tmpfs none /dev/shm || exit 77
shift
exec "$@"
"""


@pytest.mark.parametrize("runtime", [True, False], ids=["its own folder", "shared memory"])
def test_a_worker_needs_no_root_that_it_can_write_to(broker, direct, tmp_path, runtime) -> None:
    base = tmp_path / "reports"
    (tmp_path / "w" / "run").mkdir(parents=True, mode=0o700)
    send(direct, base, 1)
    writable = [str(base), *[str(tmp_path / "w" / "run")] * runtime]
    before = ("unshare", "-m", "sh", "-c", READ_ONLY, "sh", *writable, "--")
    options = {} if runtime else {"RUNTIME_DIRECTORY": ""}
    with StandInApi() as api:
        fleet = Fleet(base, tmp_path, api.port, broker.port)
        with fleet.worker(before=before, **options) as worker:
            until(lambda: worker.poll() is not None or len(api.accepted) == 1, PATIENCE)
            if worker.poll() == 77:
                pytest.skip("not run: cannot make a mount namespace")
            assert not can_write(worker, str(tmp_path))
            assert not worker.log("control_socket_not_available")
            assert worker.ends()[0] == 0


def can_write(worker: Service, path: str) -> bool:
    """Whether the process sees that file system as one that it can write to."""
    return not os.statvfs(f"/proc/{worker.pid}/root{path}").f_flag & os.ST_RDONLY
