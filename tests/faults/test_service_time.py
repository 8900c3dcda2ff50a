"""Cases 10 and 11: long cycles, a wall clock that jumps; and no worker can be started."""

from __future__ import annotations

import os
import resource
import time
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from tests.support import made
from tests.support.chosen import few
from tests.support.debian import library
from tests.support.ledger import Ledger
from tests.support.program import once, until
from tests.support.service import SHORT, SHORT_SECONDS, Service, service
from tests.support.stand_in_api import Behaviour, StandInApi

START = 1_700_000_000

#: An answer that takes about half a second.
SLOW = Behaviour(fault="trickle", trickle_seconds=0.005)

#: Seconds of a day when summer time begins in Amsterdam: 2024-03-31 02:00 becomes 03:00.
BEFORE_SUMMER_TIME = "@2024-03-31 01:59:52"


def well_behaved(daemon: Service, installations: int) -> bool:
    """Whether no installation is in two hands, and no more jobs are open than there are of them."""
    status = daemon.status()
    jobs = [worker["job"] for worker in status["workers"] if "installation " in worker["job"]]
    return len(jobs) == len(set(jobs)) and status["open"] <= installations


@pytest.mark.long
@pytest.mark.timeout(240)
def test_cycles_longer_than_the_period_pile_nothing_up(tmp_path):
    for user in range(1, 5):
        made.installation(tmp_path / "base", START, 600, user=user)
    variables = {"TIX_PROCESSING_PERIOD": SHORT, "TIX_WORKERS": "2"}
    with StandInApi() as api:
        ledger = Ledger(tmp_path / "base", api)
        api.answer(SLOW)
        with service(tmp_path / "base", tmp_path, api.port, **variables) as daemon:
            ends = time.monotonic() + 20 * SHORT_SECONDS
            until(lambda: time.monotonic() > ends or not well_behaved(daemon, 4), 70)
            assert well_behaved(daemon, 4)
            counts = daemon.told()["counts"]
            assert daemon.ends()[0] == 0
        assert counts["cycles"] >= 19
        assert counts["installations_skipped"] > counts["cycles"]
        assert counts.get("jobs_locked", 0) == 0
        ledger.balance()
        assert ledger.duplicates == 0


def fake_time(tmp_path: Path, said: str) -> dict[str, str]:
    """Variables that let a program read its wall clock from `clock` in the test's folder."""
    (tmp_path / "clock").write_text(said)
    return {
        "LD_PRELOAD": library("faketime/libfaketime.so.1", "libfaketime"),
        "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "FAKE_UTIME": "1",  # a touched file gets the kernel's time, as a server gives its own
        "TIX_PROCESSING_PERIOD": SHORT,
    }


def cycles_within(daemon: Service, periods: int) -> int:
    """How many cycles come within so many periods from now on."""
    before, ends = len(daemon.log("cycle_scanned")), time.monotonic() + periods * SHORT_SECONDS
    until(lambda: time.monotonic() > ends, periods * SHORT_SECONDS + 5)
    return len(daemon.log("cycle_scanned")) - before


@pytest.mark.long
@pytest.mark.parametrize("jump", ["+3600", "-3600"])
def test_a_wall_clock_that_jumps_brings_no_burst_and_no_pause(tmp_path, jump):
    (tmp_path / "base").mkdir()
    variables = fake_time(tmp_path, "+0")
    with StandInApi() as api, service(tmp_path / "base", tmp_path, api.port, **variables) as daemon:
        assert 2 <= cycles_within(daemon, 3) <= 4
        (tmp_path / "clock").write_text(jump)
        assert 1 <= cycles_within(daemon, 1) <= 3
        assert 2 <= cycles_within(daemon, 3) <= 4
        assert len(daemon.log("clock_changed")) == 1, "the fault acted, once"


@pytest.mark.parametrize("jump", ["+86400", "-86400"])
def test_a_wall_clock_that_jumps_makes_no_role_unready(tmp_path, jump):
    """The time since the volume's last answer is no difference of two wall clocks."""
    (tmp_path / "base").mkdir()
    variables = fake_time(tmp_path, "+0")
    with StandInApi() as api, service(tmp_path / "base", tmp_path, api.port, **variables) as daemon:
        until(lambda: daemon.get("/readyz")[0] == 200)
        (tmp_path / "clock").write_text(jump)
        answers = {daemon.get("/readyz") for _ in range(20)}
        told = daemon.told()
        assert abs(told["moment"] - time.time()) > 80_000, "the fault acted"
        assert answers == {(200, "ready\n")}
        assert -1 < told["moment"] - told["volume"]["answered"] < 60


@pytest.mark.long
def test_summer_time_brings_no_burst_and_no_pause(tmp_path):
    (tmp_path / "base").mkdir()
    variables = fake_time(tmp_path, BEFORE_SUMMER_TIME) | {"TZ": "Europe/Amsterdam"}
    with StandInApi() as api, service(tmp_path / "base", tmp_path, api.port, **variables) as daemon:
        until(lambda: daemon.log("clock_changed"), 20)
        assert 2 <= cycles_within(daemon, 3) <= 4
        scanned = [line["cycle"] for line in daemon.log("cycle_scanned")]
        assert scanned == list(range(scanned[0], scanned[-1] + 1))


@pytest.mark.long
def test_while_no_worker_can_be_started_jobs_wait(tmp_path):
    made.installation(tmp_path / "base", START)
    with StandInApi() as api:
        ledger = Ledger(tmp_path / "base", api)
        variables = {"TIX_PROCESSING_PERIOD": SHORT}
        api.answer(Behaviour(fault="silent"))
        with service(tmp_path / "base", tmp_path, api.port, **variables) as daemon:
            until(lambda: api.posts)
            worker, process = daemon.workers()[0], psutil.Process(daemon.pid)
            usual = process.rlimit(resource.RLIMIT_NOFILE)
            process.rlimit(resource.RLIMIT_NOFILE, (3, usual[1]))
            api.answer(Behaviour())
            worker.kill()
            until(lambda: len(daemon.log("worker_not_started")) >= 3)
            process.rlimit(resource.RLIMIT_NOFILE, usual)
            until(lambda: api.accepted)
            assert daemon.ends()[0] == 0
        ledger.settled()


@pytest.mark.parametrize("ahead", few(["-3456000", "+90", "+3456000"], "-3456000", "+3456000"))
def test_a_host_whose_clock_differs_from_the_volumes_judges_files_as_the_volume_does(
    tmp_path, ahead
):
    folder = made.installation(tmp_path / "base", START)
    (folder / f"tix-report-{START + 19 * 60}.json").write_bytes(b'{"from":')
    (folder / "bad-reports").mkdir()
    (folder / "bad-reports/tix-report-7.json").touch()
    with StandInApi() as api:
        ended = once(tmp_path / "base", api.port, **fake_time(tmp_path, ahead))
        assert len(api.accepted) == 1
    moment = datetime.fromisoformat(ended.log[0]["time"]).timestamp()
    assert abs(moment - time.time() - int(ahead)) < 60, "the fault acted"
    assert (folder / f"tix-report-{START + 19 * 60}.json").exists()
    assert os.listdir(folder / "bad-reports") == ["tix-report-7.json"]
