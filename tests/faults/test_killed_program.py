"""`tixd once` is killed with its workers, and workers of a service one by one; then it runs on."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from bisect import bisect
from collections import Counter
from pathlib import Path
from random import Random

import psutil
import pytest

from tests.support import made
from tests.support.ledger import Key, Ledger, at_api
from tests.support.program import begin, once, until
from tests.support.service import Service
from tests.support.stand_in_api import StandInApi

START = 1_700_000_000

#: Installations, and reports in each: three windows.
INSTALLATIONS, REPORTS = 140, 37

#: Kills, in the normal run and in the long one.
FEW, KILLS = 8, 20

#: Posts that a worker may have in flight, each of another installation.
IN_FLIGHT = 16

#: Longest time after a post at which a kill comes: several windows.
SPREAD_SECONDS = 0.02


def kill_everything(base: Path, api: StandInApi, random: Random) -> int:
    """Start a cycle, kill its whole process group at a random moment; how many were working."""
    seen, few = len(api.posts), random.randint(1, 6)
    with begin(base, api.port, TIX_WORKERS="2", TMPDIR=str(base.parent)) as running:
        until(lambda: len(api.posts) >= seen + few)
        moment = time.perf_counter() + random.uniform(0, SPREAD_SECONDS)
        until(lambda: time.perf_counter() >= moment)
        workers = psutil.Process(running.pid).children()
        os.killpg(running.pid, signal.SIGKILL)
        assert running.ended().code == -signal.SIGKILL, "the fault did not act"
    until(lambda: all(map(has_ended, workers)))
    until(lambda: not api.open)  # what they had sent has been read, and counts as in flight
    return len(workers)


def has_ended(process: psutil.Process) -> bool:
    """Whether the kernel is done with it, be it that nobody has asked yet how it ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def laid_out(base: Path, installations: int) -> Path:
    """So many installations of seven users."""
    for number in range(1, installations + 1):
        made.installation(base, START, REPORTS, user=number % 7 + 1, number=number)
    return base


def repeated_after_each_kill(posted: list[Key], ends: list[int]) -> list[Counter[int]]:
    """Which installations had posts repeated that were in flight at each kill, and how many.

    ends: how many posts had come at each kill.
    """
    last = {key: place for place, key in enumerate(posted)}
    found: list[Counter[int]] = [Counter() for _ in (*ends, None)]
    for place, key in enumerate(posted):
        if place != last[key]:
            found[bisect(ends, place)][key[1]] += 1
    return found


@pytest.mark.parametrize("kills", [FEW, pytest.param(KILLS, marks=pytest.mark.long)])
def test_killing_the_whole_program_at_any_moment_loses_nothing(tmp_path, kills):
    base, random = laid_out(tmp_path / "base", INSTALLATIONS), Random(19)
    with StandInApi(user="tix", password="secret") as api:
        ledger = Ledger(base, api)
        ends = []
        for kill in range(kills):
            assert kill_everything(base, api, random) >= 2, f"kill {kill}: no workers"
            ends.append(len(api.accepted))
            ledger.balance()
        assert len(api.accepted) < len(ledger.expected), "there was always something to do"
        assert once(base, api.port).code == 0
        ledger.settled()
        sys.stdout.write(
            f"{kills} kills of all processes: duplicates {ledger.duplicates}, lost 0\n"
        )
        for repeated in repeated_after_each_kill(at_api(api), ends):
            assert repeated.total() <= 2 * IN_FLIGHT, "those in flight of each worker"
            assert max(repeated.values(), default=0) <= 1, "one of an installation"


def kill_a_worker(service: Service, api: StandInApi, random: Random) -> None:
    """Kill one worker at a random moment; return when another has taken its place."""
    seen = len(api.posts)
    until(lambda: len(api.posts) > seen)
    moment = time.perf_counter() + random.uniform(0, SPREAD_SECONDS)
    until(lambda: time.perf_counter() >= moment)
    killed = random.choice(sorted(service.pids()))
    with contextlib.suppress(ProcessLookupError):
        os.kill(killed, signal.SIGKILL)
    until(lambda: len(now := service.pids()) == 2 and killed not in now)


@pytest.mark.long
def test_killing_the_workers_of_a_service_one_by_one_loses_nothing(tmp_path):
    base, random = laid_out(tmp_path / "base", 4 * INSTALLATIONS), Random(20)
    with StandInApi(user="tix", password="secret") as api:
        ledger = Ledger(base, api)
        with Service(base, tmp_path / "state", api.port, TIX_WORKERS="2") as service:
            for _ in range(KILLS):
                kill_a_worker(service, api, random)
            assert len(service.log("worker_ended")) == KILLS
            assert service.ends()[0] == 0
        ledger.balance()
        assert once(base, api.port).code == 0
        ledger.settled()
        assert ledger.duplicates <= KILLS * IN_FLIGHT, "those in flight of each killed worker"
        assert list(base.glob("*/*/bad-reports")) == []
