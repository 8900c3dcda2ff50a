"""Cases 17 and 18: the volume is full, read-only, gone, or hangs; the daemon stays and recovers."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import made
from tests.support.ledger import Ledger
from tests.support.program import begin, until
from tests.support.service import SHORT, Service, service
from tests.support.stand_in_api import Behaviour, StandInApi, closed_port
from tests.support.volumes import HangingVolume, fill, remount, tmpfs

START = 1_700_000_000

#: How long the volume hangs, and whether that is long enough to be called not ready.
HANGS = [
    pytest.param(4.0, False, id="short"),
    pytest.param(90.0, True, id="90 s", marks=[pytest.mark.long, pytest.mark.timeout(300)]),
]


#: Before a command: it alone sees the folder $1 at $2, as a service in its sandbox does.
MOUNTED = (
    *("unshare", "--mount", "--propagation", "private"),
    *("sh", "-euc", 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "sh"),
)


def is_ready(daemon: Service) -> bool:
    """Whether /readyz says so."""
    return daemon.get("/readyz")[0] == 200


def test_a_full_volume_makes_it_not_ready_and_room_again_is_all_it_needs(tmp_path):
    with StandInApi() as api, tmpfs(tmp_path / "base", 4096) as base:
        made.installation(base, START)
        ledger, filler = Ledger(base, api), fill(base)
        api.answer(Behaviour(500))
        with service(base, tmp_path, api.port, TIX_PROCESSING_PERIOD=SHORT) as daemon:
            until(lambda: daemon.log("installation_skipped"))
            until(lambda: "the reports volume is full" in daemon.get("/readyz")[1])
            ledger.balance()
            api.answer(Behaviour())
            filler.unlink()
            until(lambda: len(api.accepted) == 1)
            until(lambda: is_ready(daemon))
            assert daemon.ends()[0] == 0
        ledger.settled()


def test_a_read_only_volume_is_waited_for(tmp_path):
    with StandInApi() as api, tmpfs(tmp_path / "base", 4096) as base:
        made.installation(base, START)
        ledger = Ledger(base, api)
        remount(base, "ro")
        with service(base, tmp_path, api.port, TIX_PROCESSING_PERIOD=SHORT) as daemon:
            until(lambda: daemon.log("installation_skipped"))
            assert "read-only" in daemon.log("installation_skipped")[0]["reason"]
            assert api.posts == []
            remount(base, "rw")
            until(lambda: len(api.accepted) == 1)
            assert daemon.ends()[0] == 0
        ledger.settled()


def test_reports_that_vanish_are_processed_when_they_are_back(tmp_path):
    base, away = tmp_path / "base", tmp_path / "away"
    with StandInApi() as api:
        base.mkdir()
        with service(base, tmp_path, api.port, TIX_PROCESSING_PERIOD=SHORT) as daemon:
            until(lambda: is_ready(daemon))
            made.installation(tmp_path / "new", START)
            base.rename(away)
            (tmp_path / "new" / "1").rename(away / "1")
            until(lambda: daemon.log("scan_failed"))
            until(lambda: daemon.get("/readyz")[0] == 503)
            until(lambda: daemon.log("volume_not_usable"))
            expected = Ledger(away, api).expected  # before any of it can be posted
            away.rename(base)
            ledger = Ledger(base, api)
            ledger.expected = expected
            until(lambda: api.accepted)
            until(lambda: is_ready(daemon) and daemon.log("volume_usable"))
            assert len(daemon.log("volume_not_usable")) == 1
            assert daemon.ends()[0] == 0
        ledger.settled()


@pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root can mount")
def test_reports_deleted_behind_a_mount_are_missed_and_told_once(tmp_path):
    base, seen = tmp_path / "base", tmp_path / "seen"
    base.mkdir()
    seen.mkdir()
    with service(seen, tmp_path, closed_port(), before=(*MOUNTED, base, seen)) as daemon:
        until(lambda: is_ready(daemon))
        base.rmdir()
        made.installation(base, START)
        until(lambda: "restart tixd" in daemon.get("/readyz")[1])
        [line] = daemon.log("volume_not_usable")
        assert (line["level"], "was deleted" in line["reason"]) == ("error", True)
        assert daemon.ends()[0] == 0


@pytest.mark.parametrize(("seconds", "noticed"), HANGS)
def test_a_volume_that_hangs_holds_up_nobody_who_asks(tmp_path, seconds, noticed):
    with StandInApi() as api, HangingVolume(tmp_path / "fs") as volume:
        for user in range(1, 5):
            made.installation(volume.path, START, 28, user=user)
        ledger = Ledger(volume.path, api)
        api.answer(lambda *_: Behaviour(200 if len(api.posts) != 1 else hang(volume)))
        with service(volume.path, tmp_path, api.port, TIX_PROCESSING_PERIOD=SHORT) as daemon:
            until(lambda: waits_for_the_volume(daemon))
            end = time.monotonic() + seconds
            until(lambda: time.monotonic() > end or not answers(daemon), seconds + 60)
            assert answers(daemon)
            assert waits_for_the_volume(daemon), "the fault acts"
            assert ("last answered" in daemon.get("/readyz")[1]) == noticed
            volume.answer()
            until(lambda: len(api.accepted) == len(ledger.expected))
            until(lambda: is_ready(daemon))
            assert daemon.ends()[0] == 0
        ledger.settled()


def answers(daemon: Service) -> bool:
    """Whether it says that it lives, over HTTP and over its socket."""
    return daemon.get("/healthz") == (200, "ok\n") and daemon.in_state("running")


def waits_for_the_volume(parent: subprocess.Popen[Any]) -> bool:
    """Whether a process that it started is in a call of a FUSE volume."""
    calls = [
        Path(f"/proc/{p.pid}/wchan").read_text() for p in psutil.Process(parent.pid).children()
    ]
    return any("request_wait" in call for call in calls)


def hang(volume: HangingVolume) -> int:
    """Let the volume hang from now on; 200."""
    volume.hang()
    return 200


@pytest.mark.alone
def test_a_daemon_on_a_volume_that_hangs_can_be_stopped(tmp_path):
    with StandInApi() as api, HangingVolume(tmp_path / "fs") as volume:
        for user in range(1, 5):
            made.installation(volume.path, START, 28, user=user)
        ledger = Ledger(volume.path, api)
        api.answer(lambda *_: Behaviour(hang(volume)))
        with service(volume.path, tmp_path, api.port, TIX_STOP_SECONDS="1") as daemon:
            until(lambda: api.posts)
            until(lambda: waits_for_the_volume(daemon))
            daemon.send_signal(signal.SIGUSR2)
            until(lambda: daemon.log("debug_toggled"))
            code, took_seconds = daemon.ends()
            assert (code, took_seconds < 5) == (0, True)
            assert daemon.log("worker_left_behind"), "it could not be killed"
            assert daemon.leftovers() == []
            volume.answer()
        ledger.balance()


@pytest.mark.alone
def test_a_cycle_on_a_volume_that_hangs_can_be_stopped(tmp_path):
    with StandInApi() as api, HangingVolume(tmp_path / "fs") as volume:
        made.installation(volume.path, START, 28)
        ledger = Ledger(volume.path, api)
        api.answer(lambda *_: Behaviour(hang(volume)))
        with begin(volume.path, api.port, TIX_STOP_SECONDS="60") as running:
            until(lambda: api.posts)
            until(lambda: waits_for_the_volume(running))
            running.terminate()
            until(lambda: '"stopping"' in running.stderr.readline())
            begun = time.monotonic()
            running.terminate()
            running.wait(60)
            assert time.monotonic() - begun < 5
            volume.answer()
            ended = running.ended()
            assert (ended.code, ended.counts["jobs_not_finished"]) == (0, 1)
            assert ended.events("worker_left_behind")
        ledger.balance()
