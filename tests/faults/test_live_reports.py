"""A service over live installations: every window once, on the cycle after it was complete.

Each installation writes a report every so often; its first half appears at once, the rest a moment
later, which changes the file but not the folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import made
from tests.support.program import ROOT, TIXD, environment, until
from tests.support.stand_in_api import Behaviour, StandInApi
from tixd.reports.decode import decode
from tixd.reports.model import Report
from tixd.reports.window import windows

#: Epoch second of every installation's first observation.
START = 1_700_000_000


@dataclass
class Installation:
    """One client: what it has written so far, and when each report was complete (monotonic)."""

    user: int
    folder: Path
    reports: list[Report] = field(default_factory=list)
    complete: list[float] = field(default_factory=list)

    def write(self, pause_seconds: float) -> None:
        """The next report: its first half, a pause, the rest."""
        first = START + 60 * len(self.reports)
        name = f"tix-report-{first}.json"
        content = made.minute(first, userId=self.user, installationId=1)
        with (self.folder / name).open("wb", buffering=0) as file:
            file.write(content[: len(content) // 2])
            if pause_seconds:
                threading.Event().wait(pause_seconds)
            file.write(content[len(content) // 2 :])
        self.reports.append(decode(name, content))
        self.complete.append(time.monotonic())

    def due(self) -> dict[tuple[int, int], float]:
        """Every window so far by (user, timestamp), and when it was complete."""
        named = zip(self.reports, self.complete, strict=True)
        at = {report.name: moment for report, moment in named}
        found = windows(self.reports)
        return {(self.user, window[-1].last): at[window[-1].name] for window in found}


@dataclass
class Arrivals:
    """When the stand-in for the tix-api heard of each window (monotonic), as often as it did."""

    posts: list[tuple[tuple[int, int], float]] = field(default_factory=list)

    def hear(self, user: int, _installation: int, body: dict[str, Any]) -> Behaviour:
        self.posts.append(((user, body["timestamp"]), time.monotonic()))
        return Behaviour()


class Fleet:
    """Installations that write at the same pace, each at its own moment of it, in one thread."""

    def __init__(self, base: Path, count: int, backlog: int, every_seconds: float) -> None:
        self.installations = [Installation(n, base / f"{n}/1") for n in range(1, count + 1)]
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        for installation in self.installations:
            installation.folder.mkdir(parents=True)
            for _ in range(backlog):
                installation.write(0)
        self._thread = threading.Thread(target=self._write, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def due(self) -> dict[tuple[int, int], float]:
        return {key: at for each in self.installations for key, at in each.due().items()}

    def _write(self) -> None:
        """One installation after the other, so that all have written once in `every_seconds`."""
        turn = self._every_seconds / len(self.installations)
        upcoming = time.monotonic()
        while True:
            for installation in self.installations:
                upcoming += turn
                if self._stop.wait(max(0.0, upcoming - time.monotonic())):
                    return
                installation.write(min(2.0, turn / 2))


@dataclass(frozen=True)
class Pace:
    """How fast everything goes; slack: what a cycle may take beyond its period."""

    minutes: float
    period_minutes: float
    every_seconds: float
    installations: int
    slack_seconds: float = 5.0


FAST = Pace(minutes=0.15, period_minutes=0.05, every_seconds=0.5, installations=6)
LIVE = Pace(minutes=10.0, period_minutes=1.0, every_seconds=60.0, installations=24)
#: Run by hand for the figures: TIXD_SOAK_MINUTES=60.
SOAK_MINUTES = float(os.environ.get("TIXD_SOAK_MINUTES", "0"))


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.alone
@pytest.mark.parametrize(
    "pace",
    [
        FAST,
        pytest.param(
            Pace(SOAK_MINUTES or LIVE.minutes, 1.0, 60.0, LIVE.installations),
            marks=[pytest.mark.long, pytest.mark.timeout(int(SOAK_MINUTES * 60) + 900)],
        ),
    ],
    ids=["fast", "live"],
)
def test_every_window_is_posted_once_on_the_cycle_after_it_was_complete(
    tmp_path: Path, pace: Pace
) -> None:
    base, arrivals = tmp_path / "reports", Arrivals()
    fleet = Fleet(base, pace.installations, backlog=17, every_seconds=pace.every_seconds)
    with StandInApi() as api:
        api.answer(arrivals.hear)
        with running(base, tmp_path, api.port, pace) as service:
            until(lambda: b"cycle_scanned" in (tmp_path / "log").read_bytes())
            fleet.start()
            time_up = time.monotonic() + pace.minutes * 60
            until(lambda: time.monotonic() > time_up, seconds=pace.minutes * 60 + 60)
            fleet.stop()
            lag_seconds = pace.period_minutes * 60 + pace.slack_seconds
            until(lambda: {key for key, _ in arrivals.posts} >= set(fleet.due()), lag_seconds)
            megabytes = rss_bytes(service.pid) // 2**20
            service.send_signal(signal.SIGTERM)
            assert service.wait(60) == 0
    check_ledger(fleet.due(), arrivals, lag_seconds, megabytes)


def running(base: Path, state: Path, port: int, pace: Pace) -> subprocess.Popen[bytes]:
    """The service, with a schedule and a runtime folder of its own."""
    (state / "run").mkdir(mode=0o700)
    variables = {
        "TIX_PROCESSING_PERIOD": str(pace.period_minutes),
        "CELERY_BEAT_SCHEDULE_DIR": str(state / "schedule"),
        "RUNTIME_DIRECTORY": str(state / "run"),
        "TIX_HTTP_ADDRESS": "off",
    }
    env = environment(base, port, **variables)
    with (state / "log").open("wb") as log:
        return subprocess.Popen(TIXD, cwd=ROOT, env=env, stderr=log)


def check_ledger(
    due: dict[tuple[int, int], float], arrivals: Arrivals, lag_seconds: float, megabytes: int
) -> None:
    """Every window came, once, and none later than it had to."""
    came = dict(arrivals.posts)
    lags = sorted(came[key] - at for key, at in due.items())
    twice = len(arrivals.posts) - len(came)
    lag = f"lag at most {lags[-1]:.1f} s, median {lags[len(lags) // 2]:.1f} s"
    lost = len(due.keys() - came.keys())
    sys.stdout.write(f"windows {len(due)}, lost {lost}, twice {twice}, {lag}, {megabytes} MB\n")
    assert set(came) == set(due)
    assert twice == 0
    assert lags[-1] <= lag_seconds
