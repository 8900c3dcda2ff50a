"""Case 16, alive: very many installations of which few have work, cycle after cycle.

The first post comes soon after the tick, everybody who has work is served in the cycle that finds
it, and nothing grows.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from operator import le
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from tests.support.program import ROOT, TIXD, environment, until
from tests.support.stand_in_api import Behaviour, StandInApi
from tests.support.waves import write

#: Epoch second since which nobody has touched most folders.
LONG_AGO = 1_600_000_000

#: How long after the tick the first post may come (issue 3).
FIRST_POST_SECONDS = 2.0

#: Rounds after which nothing may grow any more, and by how much.
SETTLED_ROUNDS, MOST_GROWTH = 5, 1.1


@dataclass(frozen=True)
class Size:
    """users with `each` installations and one with `crowd`; every `nth` of them has work.

    timed: a run for which the machine does nothing else, so that its figures are judged too.
    """

    users: int
    each: int
    crowd: int
    nth: int
    period_minutes: float
    rounds: int
    timed: bool = False

    @property
    def period_seconds(self) -> float:
        return self.period_minutes * 60

    def installations(self) -> Iterator[tuple[int, int]]:
        yield from ((1, number) for number in range(1, 1 + self.crowd))
        yield from ((u, n) for u in range(2, 2 + self.users) for n in range(1, 1 + self.each))

    def lively(self) -> list[tuple[int, int]]:
        """Those that have work in every cycle."""
        return list(self.installations())[:: self.nth]


NORMAL = Size(users=20, each=200, crowd=1000, nth=50, period_minutes=0.05, rounds=5)
FULL = Size(users=400, each=200, crowd=20_000, nth=100, period_minutes=0.4, rounds=20, timed=True)


@dataclass
class Arrivals:
    """When the tix-api heard of each installation, epoch seconds, in one round."""

    at: dict[tuple[int, int], float] = field(default_factory=dict)
    posts: int = 0

    def hear(self, user: int, installation: int, _body: dict[str, Any]) -> Behaviour:
        self.at.setdefault((user, installation), time.time())
        self.posts += 1
        return Behaviour()


@dataclass(frozen=True)
class Scan:
    """When a scan began, epoch seconds, how long it took, and how many jobs it gave out."""

    began: float
    seconds: float
    queued: int


@dataclass(frozen=True)
class Seen:
    """One round: the scan that found the work, when each post came after its begin; then memory."""

    scan: Scan
    lags: list[float]
    rss_bytes: list[int]
    descriptors: list[int]


def connections(process: psutil.Process) -> list[object]:
    """Connections that a process keeps to the tix-api."""
    kept = [found for found in process.net_connections("tcp") if found.raddr]
    assert len(kept) <= 16
    return kept


def plant(base: Path, size: Size) -> None:
    """Folders alone, none of them touched for years."""
    for user, number in size.installations():
        folder = f"{base}/{user}/{number}"
        os.makedirs(folder)
        os.utime(folder, (LONG_AGO, LONG_AGO))


class Service:
    """The daemon, its workers, and its log."""

    def __init__(self, base: Path, state: Path, port: int, size: Size) -> None:
        (state / "run").mkdir(mode=0o700)
        self._log = state / "log"
        variables = {
            "TIX_PROCESSING_PERIOD": str(size.period_minutes),
            "TIX_WORKERS": "2",
            "CELERY_BEAT_SCHEDULE_DIR": str(state / "schedule"),
            "RUNTIME_DIRECTORY": str(state / "run"),
            "TIX_HTTP_ADDRESS": "off",
            "TIX_API_READ_SECONDS": "20",
            "TIX_API_TOTAL_SECONDS": "30",
        }
        env = environment(base, port, **variables)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(TIXD, cwd=ROOT, env=env, stderr=log)
        self._parent = psutil.Process(self.process.pid)

    def scans(self) -> list[Scan]:
        """The completed scans."""
        lines = [json.loads(line) for line in self._log.read_text().split("\n")[:-1]]
        events = {line["event"] for line in lines if line["level"] != "info"}
        assert events <= {"cycle_skipped"}, "which a busy machine may need"
        return [_scan(line) for line in lines if line["event"] == "cycle_scanned"]

    def processes(self) -> list[psutil.Process]:
        """The parent and its workers."""
        children = [p for p in self._parent.children() if "--multiprocessing-fork" in p.cmdline()]
        return [self._parent, *sorted(children, key=lambda p: p.pid)]

    def rss_bytes(self) -> list[int]:
        """Resident memory of each."""
        return [process.memory_info().rss for process in self.processes()]

    def descriptors(self) -> list[int]:
        """Open descriptors of each, but for connections: 16 to the tix-api are kept at most."""
        return [process.num_fds() - len(connections(process)) for process in self.processes()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0


def _scan(line: dict[str, Any]) -> Scan:
    ended = datetime.fromisoformat(line["time"]).timestamp()
    return Scan(ended - line["seconds"], line["seconds"], line.get("installations_queued", 0))


@pytest.mark.parametrize(
    "size",
    [NORMAL, pytest.param(FULL, marks=[pytest.mark.long, pytest.mark.timeout(1800)])],
    ids=["normal", "full"],
)
def test_each_cycle_serves_every_installation_that_has_work_however_many_others_have_none(
    tmp_path: Path, size: Size
) -> None:
    base, arrivals = tmp_path / "reports", Arrivals()
    plant(base, size)
    written = write(base, size.lively(), range(4))
    try:
        with StandInApi() as api:
            api.answer(arrivals.hear)
            with Service(base, tmp_path, api.port, size) as service:
                seen = [one_round(service, size, arrivals, written)]
                for number in range(1, size.rounds):
                    arrivals.at.clear()
                    written = write(base, size.lively(), range(2 * number + 2, 2 * number + 4))
                    seen.append(one_round(service, size, arrivals, written))
                check(service, size, seen)
        assert arrivals.posts == size.rounds * len(size.lively())
    finally:
        shutil.rmtree(base)


def one_round(service: Service, size: Size, arrivals: Arrivals, written: float) -> Seen:
    """Wait for everybody who has work since `written`, and look."""
    until(lambda: len(arrivals.at) == len(size.lively()), 2 * size.period_seconds + 60)
    until(lambda: [scan for scan in service.scans() if scan.began > written])
    scan = next(scan for scan in service.scans() if scan.began > written)
    lags = sorted(moment - scan.began for moment in arrivals.at.values())
    seen = Seen(scan, lags, service.rss_bytes(), service.descriptors())
    sys.stdout.write(f"{in_words(seen)}\n")
    return seen


def in_words(seen: Seen) -> str:
    rss = ", ".join(f"{each / 2**20:.1f}" for each in seen.rss_bytes)
    return (
        f"scan {seen.scan.seconds:.2f} s, {seen.scan.queued} jobs; first post after"
        f" {seen.lags[0]:.2f} s, median {statistics.median(seen.lags):.2f} s, last"
        f" {seen.lags[-1]:.2f} s; parent and workers {rss} MB, {seen.descriptors} descriptors"
    )


def check(service: Service, size: Size, seen: list[Seen]) -> None:
    """Soon, everybody, and flat."""
    if size.timed:
        assert min(each.lags[0] for each in seen) >= 0
        assert max(each.lags[0] for each in seen) < FIRST_POST_SECONDS
        assert max(each.lags[-1] for each in seen) < size.period_seconds
    settled = seen[min(SETTLED_ROUNDS, len(seen) // 2) - 1]
    for before, after in zip(settled.rss_bytes, seen[-1].rss_bytes, strict=True):
        assert after <= before * MOST_GROWTH
    until(lambda: all(map(le, service.descriptors(), settled.descriptors)))
