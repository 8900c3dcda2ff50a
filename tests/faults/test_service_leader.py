"""Cases 4, 5 and 7: the parent is killed or stopped; a second one stands by and takes over."""

from __future__ import annotations

import signal
import sys
import time

import psutil
import pytest

from tests.support import made
from tests.support.ledger import Ledger, at_api
from tests.support.program import until
from tests.support.service import SHORT, SHORT_SECONDS, HeldStart, Service, gone, listening, service
from tests.support.stand_in_api import Behaviour, StandInApi

START = 1_700_000_000

#: An answer that takes about half a second.
SLOW = Behaviour(fault="trickle", trickle_seconds=0.005)

#: How long a stand-by may take to lead.
TAKE_OVER_SECONDS = 5.0


def test_a_parent_killed_in_mid_job_is_replaced_at_once_and_loses_nothing(tmp_path):
    base = tmp_path / "base"
    for user in range(1, 5):
        made.installation(base, START, 28, user=user)
    with StandInApi() as api:
        ledger = Ledger(base, api)
        api.answer(SLOW)
        with service(base, tmp_path, api.port, TIX_PROCESSING_PERIOD=SHORT) as killed:
            until(lambda: api.posts)
            workers = killed.workers()
            killed.kill()
            killed.wait()
            with service(base, tmp_path, api.port, TIX_PROCESSING_PERIOD=SHORT) as next_one:
                assert not next_one.log("standing_by"), "the lock was free"
                until(lambda: all(map(gone, workers)))
                until(lambda: set(at_api(api)) == ledger.expected)
                assert next_one.ends()[0] == 0
                assert next_one.leftovers() == []
        ledger.settled()
        assert ledger.duplicates <= 1


def test_a_parent_killed_in_mid_scan_is_followed_by_one_that_scans_all(tmp_path):
    base = tmp_path / "base"
    for user in range(1, 3):
        made.installation(base, START, user=user)
    with StandInApi() as api:
        ledger, held = Ledger(base, api), HeldStart(tmp_path)
        with Service(base, tmp_path, api.port, **held.variables) as killed:
            until(lambda: killed.status().get("cycle", {}).get("scanning_since"))
            killed.kill()
            killed.wait()
            held.let_go()
        assert killed.log("cycle_scanned") == [], "the fault came too late"
        with service(base, tmp_path, api.port) as next_one:
            until(lambda: set(at_api(api)) == ledger.expected and next_one.log("cycle_scanned"))
            assert next_one.log("cycle_scanned")[0]["installations_queued"] == 2
            assert next_one.ends()[0] == 0
        ledger.settled()


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stand_by_says_who_leads_and_takes_over(tmp_path, number):
    base = tmp_path / "base"
    made.installation(base, START)
    with (
        StandInApi() as api,
        service(base, tmp_path, api.port) as leader,
        Service(base, tmp_path, api.port, name="second") as second,
    ):
        until(lambda: second.in_state("standing by") and leader.log("cycle_scanned") and api.posts)
        told = (second.log("standing_by")[0]["leader"], second.told()["leader"])
        assert all(words.startswith(f"pid {leader.pid} on ") for words in told)
        assert second.get("/readyz") == (200, "ready\n")
        leader.send_signal(number)
        leader.wait()
        ended = time.monotonic()
        until(lambda: second.in_state("running"), TAKE_OVER_SECONDS)
        sys.stdout.write(f"leads after {time.monotonic() - ended:.2f} s\n")
        made.installation(base, START, user=2)
        second.runs()
        assert (second.ends()[0], second.leftovers()) == (0, [])
        assert len(api.posts) == 1, "that cycle had been scanned"


@pytest.mark.alone
def test_a_stand_by_ends_when_it_is_told_to(tmp_path):
    with (
        StandInApi() as api,
        service(tmp_path, tmp_path, api.port) as leader,
        Service(tmp_path, tmp_path, api.port, name="second") as second,
    ):
        until(lambda: second.in_state("standing by"))
        code, took_seconds = second.ends()
        assert (code, took_seconds < 2) == (0, True)
        assert leader.in_state("running")


def test_a_stopped_parent_feeds_no_watchdog_and_makes_up_with_one_cycle(tmp_path):
    variables = {"TIX_PROCESSING_PERIOD": SHORT, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with (
        StandInApi() as api,
        listening(tmp_path / "notify") as manager,
        service(tmp_path, tmp_path, api.port, **variables) as daemon,
    ):
        until(lambda: daemon.log("cycle_scanned"))
        daemon.send_signal(signal.SIGSTOP)
        until(lambda: psutil.Process(daemon.pid).status() == psutil.STATUS_STOPPED)
        stopped, scans, said = time.time(), len(daemon.log("cycle_scanned")), len(manager.said())
        until(lambda: time.time() > stopped + 2 * SHORT_SECONDS)
        assert manager.said()[said:] == []
        daemon.send_signal(signal.SIGCONT)
        until(lambda: len(daemon.log("cycle_scanned")) >= scans + 2)
        first, then = (line["cycle"] for line in daemon.log("cycle_scanned")[scans : scans + 2])
        assert then == first + 1
        assert first * SHORT_SECONDS > stopped + SHORT_SECONDS, "not what was missed before"
        assert "WATCHDOG=1" in manager.said()[said:]
