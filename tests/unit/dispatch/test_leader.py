"""Exactly one leader for a schedule folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.volumes import without_privilege
from tixd import errors
from tixd.dispatch.leader import LOCK_FILE, HostLock

HOLD = """
import sys
from tixd.dispatch.leader import HostLock
with HostLock(sys.argv[1]) as leadership:
    print(leadership.acquire(), flush=True)
    sys.stdin.read()
"""


def test_the_folder_is_made_and_its_first_process_leads(tmp_path: Path) -> None:
    with HostLock(str(tmp_path / "a/b")) as first:
        assert first.acquire()
        assert first.acquire(), "asking twice does no harm"
        assert first.holder().startswith("pid ")


def test_a_second_process_is_told_who_leads_and_leads_when_the_first_is_killed(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held,
        HostLock(str(tmp_path)) as second,
    ):
        assert held.stdout is not None
        assert held.stdout.readline() == "True\n"
        assert not second.acquire()
        assert second.holder().startswith(f"pid {held.pid} on ")
        held.kill()
        held.wait()
        assert second.acquire()


def test_a_schedule_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.CannotStart, match="make it, or correct CELERY_BEAT_SCHEDULE_DIR"):
        HostLock(str(tmp_path / "file/folder"))


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.CannotStart):
        HostLock(str(tmp_path))
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_that_another_user_has_made_is_locked_all_the_same(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("pid 1 on elsewhere\n")
    (tmp_path / LOCK_FILE).chmod(0o444)
    command = [*without_privilege(), sys.executable, "-c", HOLD, str(tmp_path)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held,
        HostLock(str(tmp_path)) as second,
    ):
        assert held.stdout is not None
        assert held.stdout.readline() == "True\n"
        assert not second.acquire()
        held.kill()
