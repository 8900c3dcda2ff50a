"""A service over live installations: every window once, on the cycle after it was complete."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.live import Arrivals, Fleet
from tests.support.program import ROOT, TIXD, environment, until
from tests.support.stand_in_api import StandInApi


@dataclass(frozen=True)
class Pace:
    """How fast everything goes; slack: what a cycle may take beyond its period."""

    minutes: float
    period_minutes: float
    every_seconds: float
    installations: int
    slack_seconds: float = 5.0


FAST = Pace(minutes=0.25, period_minutes=0.05, every_seconds=1.0, installations=6)
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
