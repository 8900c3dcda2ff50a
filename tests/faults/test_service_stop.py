"""Case 9, of the daemon: it stops after the windows in hand, in time, and leaves nothing about."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import made
from tests.support.ledger import Ledger, temporary_files
from tests.support.program import until
from tests.support.service import Service, service
from tests.support.stand_in_api import Behaviour, StandInApi

START = 1_700_000_000

#: Settings with which a worker waits longer for the tix-api than any test.
PATIENT = {"TIX_API_READ_SECONDS": "90", "TIX_API_TOTAL_SECONDS": "90", "TIX_WORKERS": "2"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Reports of eight installations, two windows each."""
    for user in range(1, 9):
        made.installation(tmp_path / "base", START, 28, user=user)
    return tmp_path / "base"


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A stand-in for the tix-api that takes posts and never answers."""
    with StandInApi() as server:
        server.answer(Behaviour(fault="silent"))
        yield server


def nothing_lies_about(daemon: Service, base: Path) -> None:
    """Neither a temporary file nor a folder of its own is left."""
    assert temporary_files(base) == []
    assert daemon.leftovers() == []


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_windows_in_hand(tmp_path, base, api, number):
    ledger = Ledger(base, api)
    api.answer(Behaviour(fault="held"))
    with service(base, tmp_path, api.port, **PATIENT) as daemon:
        until(lambda: len(api.posts) == 4)  # two of each worker, as none was accepted yet
        daemon.send_signal(number)
        until(lambda: daemon.log("stopping"))
        assert daemon.poll() is None
        api.let_go()
        until(lambda: daemon.poll() is not None, 3)
    assert daemon.returncode == 0
    assert 4 <= len(api.accepted) <= 8
    nothing_lies_about(daemon, base)
    ledger.balance()
    assert ledger.duplicates == 0


@pytest.mark.alone
def test_a_job_longer_than_the_deadline_is_given_up(tmp_path, base, api):
    ledger = Ledger(base, api)
    with service(base, tmp_path, api.port, **PATIENT, TIX_STOP_SECONDS="1") as daemon:
        until(lambda: len(api.posts) == 4)  # two of each worker, as none was accepted yet
        code, took_seconds = daemon.ends()
    assert (code, 1 <= took_seconds < 3) == (0, True)
    nothing_lies_about(daemon, base)
    ledger.balance()


@pytest.mark.alone
def test_a_second_signal_ends_it_at_once(tmp_path, base, api):
    ledger = Ledger(base, api)
    with service(base, tmp_path, api.port, **PATIENT, TIX_STOP_SECONDS="60") as daemon:
        until(lambda: len(api.posts) == 4)  # two of each worker, as none was accepted yet
        daemon.terminate()
        until(lambda: daemon.log("stopping"))
        begun = time.monotonic()
        code, took_seconds = daemon.ends()
        assert time.monotonic() - begun == pytest.approx(took_seconds, abs=1)
    assert (code, took_seconds < 2) == (0, True)
    assert [line["event"] for line in daemon.log() if line["level"] == "error"] == []
    nothing_lies_about(daemon, base)
    ledger.balance()


@pytest.mark.alone
def test_a_daemon_that_is_still_starting_ends_at_once(tmp_path, base, api):
    with Service(base, tmp_path, api.port) as daemon:
        until(lambda: daemon.log("started"))
        code, took_seconds = daemon.ends()
    assert (code, took_seconds < 3) == (0, True)
    nothing_lies_about(daemon, base)
