"""Reports folder, schedule folder, AS table, the collector's file: what is said of each trouble."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.tables import table as make_table
from tests.support.volumes import HangingVolume, fill, remount, tmpfs, without_privilege
from tixd import errors
from tixd.config.collector_settings import CollectorSettings
from tixd.config.settings import Settings
from tixd.diagnostics import broker, storage
from tixd.diagnostics.host import same_times
from tixd.diagnostics.runner import Check, run_checks
from tixd.diagnostics.storage import check_table
from tixd.dispatch.leader import LOCK_FILE, HostLock

#: Who nobody is on any machine.
STRANGER = 54321


def base_of(folder: Path, *installations: str) -> Settings:
    """A reports folder with these installations, each with a report."""
    for name in installations:
        (folder / name).mkdir(parents=True)
        (folder / name / "tix-report-1.json").write_text("{}")
    return Settings(reports_base_path=str(folder), schedule_dir=str(folder / "schedule"))


def everything(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def wrong(check, settings) -> str:
    """What is said to be wrong."""
    with pytest.raises(errors.TixdError) as caught:
        check(settings)
    return str(caught.value)


# --- reports -------------------------------------------------------------------------------------


def test_a_reports_folder_that_can_be_used_says_what_was_tried_and_is_as_before(tmp_path):
    settings = base_of(tmp_path, "1/2", "1/3", "7/1")
    before = everything(tmp_path)
    text = storage.check_reports(settings)
    assert "a file made and removed in 2 of its installations, as " in text
    assert "iB free; a volume of this host (" in text
    assert everything(tmp_path) == before


def test_no_folder_that_is_tried_has_another_time_afterwards(tmp_path):
    settings = base_of(tmp_path, "1/2", "3/4")
    schedule = tmp_path / "schedule"
    schedule.mkdir()
    folders = [tmp_path, schedule, *(tmp_path / name for name in ("1", "1/2", "3", "3/4"))]
    for folder in folders:
        os.utime(folder, ns=(5 * 10**9, 7 * 10**9))
    storage.check_reports(settings)
    storage.check_schedule(replace(settings, schedule_dir=str(schedule)))
    assert [(f.stat().st_atime, f.stat().st_mtime) for f in folders] == [(5, 7)] * len(folders)


def test_what_another_one_writes_during_the_try_makes_the_folder_new(tmp_path):
    os.utime(tmp_path, (5, 7))
    with same_times(str(tmp_path)):
        (tmp_path / "tix-report-1.json").touch()
    assert tmp_path.stat().st_mtime > 7


def test_a_reports_folder_without_installations_is_tried_itself(tmp_path):
    assert "no installation there yet" in storage.check_reports(base_of(tmp_path))
    assert everything(tmp_path) == []


def test_a_reports_folder_that_is_missing_is_to_be_made_or_named_right(tmp_path):
    text = wrong(storage.check_reports, base_of(tmp_path / "none"))
    assert text == f"{tmp_path}/none is not there: make it, mount it, or correct" + (
        " TIX_REPORTS_BASE_PATH"
    )


def test_a_reports_folder_that_is_a_file_is_to_be_named_right_not_removed(tmp_path):
    (tmp_path / "file").touch()
    settings = Settings(reports_base_path=str(tmp_path / "file"))
    text = f"{tmp_path}/file is a file, not a folder: correct TIX_REPORTS_BASE_PATH"
    assert wrong(storage.check_reports, settings) == text
    assert storage.check_reports_of_dispatcher(settings) == (
        f"{text}, so tixd will ask its workers to scan their reports"
    )


@pytest.mark.parametrize(("base", "folder"), [("3", "3/1"), ("3/1", "3/1")])
def test_a_reports_folder_that_is_too_deep_is_wrong_and_the_right_one_is_named(
    tmp_path, base, folder
):
    base_of(tmp_path, "3/1", "3/2")
    (tmp_path / "3/1/failed-results").mkdir()
    settings = Settings(reports_base_path=str(tmp_path / base))
    text = wrong(storage.check_reports, settings)
    assert text == (
        f"reports lie directly in {tmp_path / folder}: TIX_REPORTS_BASE_PATH must be the folder"
        f" that holds <user>/<installation>, here probably {tmp_path}"
    )
    if base == "3":
        assert wrong(storage.check_reports_of_dispatcher, settings) == text


def test_a_file_beside_the_users_is_no_fault(tmp_path):
    settings = base_of(tmp_path, "3/1")
    (tmp_path / "tix-report-1.json").touch()
    assert "of its installations" in storage.check_reports(settings)


def test_locks_that_stay_on_this_host_are_told(tmp_path, monkeypatch):
    mount = f"30 22 0:40 / {tmp_path} rw - cifs //host/x rw\n"
    monkeypatch.setattr(storage, "read_mountinfo", lambda: mount)
    text = storage.check_reports(base_of(tmp_path, "1/2"))
    assert text.endswith("locks on cifs do not reach other hosts: let one host alone work on it")


@pytest.mark.parametrize("locked", ["", "1/2"])
def test_folders_of_another_user_say_whose_they_are_and_who_tried(tmp_path, locked):
    base_of(tmp_path, "1/2")
    os.chown(tmp_path / locked, STRANGER, STRANGER)
    (tmp_path / locked).chmod(0o750)
    program = (
        "import sys\nfrom tixd.config import settings\nfrom tixd.diagnostics.runner import *\n"
        "from tixd.diagnostics.storage import check_reports\n"
        "values = settings.Settings(reports_base_path=sys.argv[1])\n"
        "print(run_check(Check('r', lambda: check_reports(values), '')).text)"
    )
    command = [*without_privilege(), sys.executable, "-c", program, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Permission denied, tried as root (uid 0); " in said
    assert f"{tmp_path / locked} is rwxr-x---, of uid {STRANGER} and group {STRANGER}" in said
    assert f"run tixd as uid {STRANGER} (TIX_RUN_AS, or tixd-setup), or give root" in said


def test_a_volume_that_is_full_or_read_only_says_so(tmp_path):
    with tmpfs(tmp_path / "disk", 64) as disk:
        settings = base_of(disk, "1/2")
        fill(disk)
        assert "free some" in wrong(storage.check_reports, settings)
        remount(disk, "ro")
        assert "The reports volume is read-only" in wrong(storage.check_reports, settings)


def test_a_volume_that_hangs_is_named_within_the_deadline(tmp_path):
    with HangingVolume(tmp_path / "fs") as volume:
        settings = base_of(volume.path, "1/2")
        volume.hang()
        check = Check("reports", lambda: storage.check_reports(settings), "the volume hangs")
        [found] = run_checks([check], 1.0)
        volume.answer()
    assert (found.fine, found.text) == (False, "no answer within 1 s: the volume hangs")


@pytest.mark.parametrize(
    ("installations", "words"),
    [(["1/2", "3/1"], "users listed: 2"), ([], "nothing in it, so tixd will ask its workers")],
)
def test_a_dispatcher_needs_no_sight_of_the_reports(tmp_path, installations, words):
    assert words in storage.check_reports_of_dispatcher(base_of(tmp_path, *installations))
    assert "so tixd will ask" in storage.check_reports_of_dispatcher(base_of(tmp_path / "none"))


# --- schedule ------------------------------------------------------------------------------------


def test_a_schedule_folder_that_is_missing_is_not_made(tmp_path):
    assert "not there yet; " in storage.check_schedule(Settings(schedule_dir=f"{tmp_path}/a/b"))
    by_root = storage.check_schedule(Settings(schedule_dir=f"{tmp_path}/a/b"), by_root=True)
    assert by_root == f"{tmp_path}/a/b: not there yet; root will make it"
    assert everything(tmp_path) == []


def test_a_schedule_folder_without_a_lock_file_gets_none(tmp_path):
    text = storage.check_schedule(Settings(schedule_dir=str(tmp_path)))
    assert "no process has led there yet" in text
    assert everything(tmp_path) == []


def test_who_leads_is_told_and_goes_on_leading(tmp_path):
    settings = Settings(schedule_dir=str(tmp_path))
    with HostLock(str(tmp_path)) as leader:
        assert leader.acquire()
        text = storage.check_schedule(settings)
        assert f"; pid {os.getpid()} on " in text
        assert text.endswith(" leads now, another would stand by")
        with HostLock(str(tmp_path)) as other:
            assert not other.acquire()
    assert storage.check_schedule(settings).endswith("; no process leads now")
    with HostLock(str(tmp_path)) as next_one:
        assert next_one.acquire(), "the lock was let go"


def test_a_schedule_folder_that_cannot_be_had_says_why(tmp_path):
    (tmp_path / "file").touch()
    inside = Settings(schedule_dir=str(tmp_path / "file/folder"))
    assert "Not a directory: make it for that user" in wrong(storage.check_schedule, inside)
    itself = Settings(schedule_dir=str(tmp_path / "file"))
    assert wrong(storage.check_schedule, itself) == (
        f"{tmp_path}/file is a file, not a folder: correct CELERY_BEAT_SCHEDULE_DIR"
    )
    (tmp_path / LOCK_FILE).mkdir()
    assert "Is a directory" in wrong(storage.check_schedule, Settings(schedule_dir=str(tmp_path)))


# --- table and file ------------------------------------------------------------------------------


def test_an_as_table_tells_its_size_and_when_it_was_built(tmp_path):
    path = str(make_table(tmp_path / "t.mmdb"))
    assert " nodes, built 20" in check_table(path)
    Path(path).write_bytes(b"no table")
    assert "The AS table cannot be used; replace it" in wrong(check_table, path)


def test_the_collectors_file_is_not_made(tmp_path):
    settings = CollectorSettings(file_path=str(tmp_path / "records"))
    assert broker.check_file(settings) == f"{tmp_path}/records: not there yet, can be made"
    assert everything(tmp_path) == []
    (tmp_path / "records").write_text("{}\n")
    assert broker.check_file(settings) == f"{tmp_path}/records: can be appended to"
    assert (tmp_path / "records").read_text() == "{}\n"


def test_a_file_that_cannot_be_written_says_why(tmp_path):
    settings = CollectorSettings(file_path=str(tmp_path / "none/records"))
    assert wrong(broker.check_file, settings).startswith(f"{tmp_path}/none is not there: make it")
    (tmp_path / "file").touch()
    settings = CollectorSettings(file_path=str(tmp_path / "file/records"))
    assert "/file is a file, not a folder: correct file.path" in wrong(broker.check_file, settings)
    settings = CollectorSettings(file_path=str(tmp_path))
    assert f"{tmp_path}: Is a directory: fix that" in wrong(broker.check_file, settings)
