"""Cases 17, 18 and 9, in one cycle: full, read-only and forbidden volumes, locks, stops.

What must then be seen: exit code 0 where there was a cycle, the rest done, an error that names what
was skipped, no truncated file, nothing lost; done as soon as the cause has gone.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support import made
from tests.support.chosen import few
from tests.support.ledger import Ledger, kept, reports_left, set_back_pauses, temporary_files
from tests.support.program import begin, once, until
from tests.support.stand_in_api import Behaviour, StandInApi, closed_port
from tests.support.volumes import fill, remount, tmpfs, without_privilege

START = 1_700_000_000


def well_again(base: Path, api: StandInApi, ledger: Ledger) -> None:
    """The cause has gone: one cycle, and everything is at the tix-api."""
    api.answer(Behaviour())
    set_back_pauses(base)
    assert once(base, api.port).code == 0
    ledger.settled()


def test_reports_are_kept_while_the_disk_has_no_room_for_their_result(tmp_path):
    folder = made.installation(tmp_path, START)
    neighbour = made.installation(tmp_path, START, number=3)
    with StandInApi() as api, tmpfs(folder / "failed-results", 64) as full:
        ledger = Ledger(tmp_path, api)
        filler = fill(full)
        api.answer(Behaviour(500))
        ended = once(tmp_path, api.port)
        assert ended.counts == {"windows_stored": 1, "reports_deleted": 9, "jobs_failed": 1}
        assert "No space left" in ended.events("installation_skipped")[0]["reason"]
        assert (len(reports_left(folder)), len(reports_left(neighbour))) == (19, 10)
        assert os.listdir(full) == ["filler"], "nothing truncated"
        ledger.balance()
        filler.unlink()
        assert once(tmp_path, api.port).counts["windows_stored"] == 1
        assert len(kept(tmp_path)) == 2
        well_again(tmp_path, api, ledger)


def test_a_disk_without_room_for_a_journal_does_not_stop_the_posts(tmp_path):
    with StandInApi() as api, tmpfs(tmp_path / "base", 256) as base:
        folder = made.installation(base, START, 28)
        ledger = Ledger(base, api)
        fill(base)
        ended = once(base, api.port)
        assert ended.code == 0
        assert ended.counts["windows_posted"] == 2
        assert ended.counts["journals_without_room"] >= 1
        assert len(reports_left(folder)) == 10
        ledger.settled()


def test_a_disk_without_room_for_any_file_does_not_stop_the_posts(tmp_path):
    with StandInApi() as api, tmpfs(tmp_path / "base", 1024, inodes=31) as base:
        folder = made.installation(base, START, 28)
        ledger = Ledger(base, api)
        assert fill(base) is None, "there is no room for one more file"
        ended = once(base, api.port)
        assert (ended.code, ended.counts["windows_posted"]) == (0, 2)
        assert ended.counts["journals_without_room"] == 1, "then there was room"
        assert len(reports_left(folder)) == 10
        ledger.settled()


def test_reports_that_vanish_during_the_cycle_are_processed_when_they_are_back(tmp_path):
    base, away = tmp_path / "base", tmp_path / "away"
    for user in range(1, 9):
        made.installation(base, START, user=user)
    with StandInApi() as api:
        ledger = Ledger(base, api)
        api.answer(lambda *_: Behaviour(200 if away.exists() or not base.rename(away) else 500))
        ended = once(base, api.port)
        assert ended.code == 0
        assert len(api.posts) <= 2, "the windows in hand"
        assert ended.counts["jobs_vanished"] >= 6
        away.rename(base)
        ledger.balance()
        well_again(base, api, ledger)


def test_nothing_is_posted_from_a_read_only_volume(tmp_path):
    with StandInApi() as api, tmpfs(tmp_path / "base", 1024) as base:
        folder = made.installation(base, START, 28)
        api.answer(Behaviour(500))
        once(base, api.port)
        made.installation(base, START + 28 * 60, 9)
        ledger, tried = Ledger(base, api), len(api.posts)
        set_back_pauses(base)
        api.answer(Behaviour())
        remount(base, "ro")
        ended = once(base, api.port)
        assert (ended.code, ended.counts) == (0, {"jobs_failed": 1, "results_waiting": 2})
        assert "read-only" in ended.events("installation_skipped")[0]["reason"]
        assert len(api.posts) == tried
        assert len(reports_left(folder)) == 19
        remount(base, "rw")
        well_again(base, api, ledger)


def test_a_reports_folder_that_may_not_be_read_stops_the_start_with_three(tmp_path):
    made.installation(tmp_path / "base", START)
    (tmp_path / "base").chmod(0)
    ended = once(tmp_path / "base", closed_port(), before=without_privilege())
    assert ended.code == 3
    assert "Permission denied" in ended.text
    assert "Traceback" not in ended.text
    (tmp_path / "base").chmod(0o700)  # for whoever clears up


def test_what_may_not_be_touched_is_left_and_its_neighbours_are_posted(tmp_path):
    for user, number in ((1, 1), (1, 2), (1, 3), (2, 4), (3, 5)):
        made.installation(tmp_path, START, 20, user=user, number=number)
    (tmp_path / "1/2").chmod(0)
    (tmp_path / "1/3").chmod(0o500)
    (tmp_path / "2").chmod(0)
    forbidden = tmp_path / "3/5" / f"tix-report-{START + 300}.json"
    forbidden.chmod(0)
    os.utime(forbidden, (START, START))  # a young one is waited for
    with StandInApi() as api:
        ended = once(tmp_path, api.port, before=without_privilege())
        assert {(post.user, post.installation) for post in api.accepted} == {(1, 1), (3, 5)}
    assert (ended.code, ended.counts["jobs_failed"]) == (0, 2)
    assert [line["user"] for line in ended.events("user_skipped")] == [2]
    assert [line["file"] for line in ended.events("report_not_permitted")] == [forbidden.name]
    assert forbidden.exists()
    assert len(reports_left(tmp_path / "1/3")) == 20
    for path in (tmp_path / "1/2", tmp_path / "1/3", tmp_path / "2"):
        path.chmod(0o700)  # for whoever clears up


def test_an_installation_that_another_process_works_on_is_left_to_it(tmp_path):
    folder = made.installation(tmp_path, START)
    made.installation(tmp_path, START, number=3)
    with StandInApi() as api, open(folder / ".tixd.lock", "w") as lock:
        ledger = Ledger(tmp_path, api)
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = once(tmp_path, api.port)
        assert ended.counts == {"jobs_locked": 1, "windows_posted": 1, "reports_deleted": 9}
        assert [post.installation for post in api.posts] == [3]
        fcntl.flock(lock, fcntl.LOCK_UN)
        well_again(tmp_path, api, ledger)


#: Settings with which a worker waits longer for the tix-api than any test.
PATIENT = {"TIX_API_READ_SECONDS": "100", "TIX_API_TOTAL_SECONDS": "100", "TIX_WORKERS": "2"}

#: How a signal comes: from a shell, from a service manager, from a terminal.
SIGNALS = ((os.kill, signal.SIGTERM), (os.killpg, signal.SIGTERM), (os.killpg, signal.SIGINT))


@pytest.mark.parametrize(
    ("send", "number"),
    few(SIGNALS, SIGNALS[0]),
    ids=["kill", "systemd", "Ctrl-C"],
)
def test_a_signal_ends_the_cycle_after_the_windows_in_hand(tmp_path, send, number):
    for user in range(1, 9):
        made.installation(tmp_path, START, 28, user=user)
    with StandInApi() as api:
        ledger = Ledger(tmp_path, api)
        api.answer(Behaviour(fault="held"))
        with begin(tmp_path, api.port, **PATIENT) as running:
            until(lambda: len(api.posts) == 4)  # two of each worker, as none was accepted yet
            send(running.pid, number)
            until(lambda: '"stopping"' in running.stderr.readline())
            api.let_go()
            ended = running.ended()
        assert ended.code == 0
        assert ended.counts["windows_posted"] == len(api.posts) <= 8
        assert ended.counts["jobs_not_begun"] >= 4
        assert temporary_files(tmp_path) == []
        ledger.balance()
        well_again(tmp_path, api, ledger)
        assert ledger.duplicates == 0


@pytest.mark.alone
def test_a_second_signal_ends_everything_at_once_and_loses_nothing(tmp_path):
    for user in range(1, 5):
        made.installation(tmp_path, START, 28, user=user)
    with StandInApi() as api:
        ledger = Ledger(tmp_path, api)
        api.answer(Behaviour(fault="silent"))
        with begin(tmp_path, api.port, **PATIENT) as running:
            until(lambda: len(api.posts) == 4)  # two of each worker, as none was accepted yet
            running.terminate()
            until(lambda: '"stopping"' in running.stderr.readline())
            begun = time.monotonic()
            running.terminate()
            ended = running.ended()
        assert time.monotonic() - begun < 20, "not the 100 s of the tix-api"
        assert (ended.code, ended.counts["jobs_not_finished"]) == (0, 4)
        ledger.balance()
        well_again(tmp_path, api, ledger)
