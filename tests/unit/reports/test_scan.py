"""Which folders are installations."""

from __future__ import annotations

import os
import time
import zlib
from pathlib import Path

import pytest

from tixd import errors, logs
from tixd.directory import Folder
from tixd.jobs import ListInstallations
from tixd.reports.file_warnings import MAX_NAMED
from tixd.reports.model import LOCK_FILE
from tixd.reports.scan import free_bytes, list_installations, list_users
from tixd.results.failed_results import has_kept


def every(base: Path, *user_ids: int) -> ListInstallations:
    return ListInstallations(str(base), user_ids)


def test_only_folders_named_by_positive_decimal_integers_count(tmp_path: Path) -> None:
    odd = ["0", "01", "-1", "+1", "1.0", "²", "\u0661", "x", "..2", "%2f", "1 ", "9" * 19, "1\n"]
    for name in ["7", "12", "9" * 18, *odd]:
        (tmp_path / name).mkdir()
    (tmp_path / "5").touch()
    (tmp_path / "6").symlink_to(tmp_path / "7")
    assert list_users(str(tmp_path), logs.RateLimiter()) == [7, 12, int("9" * 18)]


def test_installations_come_sorted_by_user_and_number(tmp_path: Path) -> None:
    for path in ("2/10", "2/9", "1/5", "1/x", "3"):
        (tmp_path / path).mkdir(parents=True)
    found = list_installations(every(tmp_path, 1, 2, 3, 4), logs.RateLimiter())
    assert found == [(1, 5), (2, 9), (2, 10)]


def test_a_base_that_is_a_link_is_followed_but_nothing_below_it(tmp_path: Path) -> None:
    (tmp_path / "real/1/2").mkdir(parents=True)
    (tmp_path / "base").symlink_to("real")
    (tmp_path / "real/1/3").symlink_to("2")
    assert list_installations(every(tmp_path / "base", 1), logs.RateLimiter()) == [(1, 2)]


def test_a_missing_base_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound, match="nowhere"):
        list_users(str(tmp_path / "nowhere"), logs.RateLimiter())


def test_an_odd_folder_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "x").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "description.yml").touch()
    limiter = logs.RateLimiter()
    list_users(str(tmp_path), limiter)
    list_users(str(tmp_path), limiter)
    assert [r.getMessage() for r in caplog.records] == ["folder_ignored"] * 2
    assert {r.__dict__["values"]["reason"] for r in caplog.records} == {
        "not a folder whose name is a number"
    }


def test_many_odd_folders_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(MAX_NAMED + 5):
        (tmp_path / f"x{number}").mkdir()
    limiter = logs.RateLimiter()
    for _ in range(2):
        list_users(str(tmp_path), limiter)
    told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert told == ["folder_ignored"] * MAX_NAMED + ["warnings_omitted"]


def test_only_folders_that_changed_lately_and_those_whose_turn_it_is_are_listed(
    tmp_path: Path,
) -> None:
    for number in range(1, 61):
        (tmp_path / f"1/{number}").mkdir(parents=True)
        os.utime(tmp_path / f"1/{number}", (0, 1000 if number == 7 else 900))
    rounds = [
        list_installations(
            ListInstallations(str(tmp_path), (1,), 950.0, slot, 6), logs.RateLimiter()
        )
        for slot in range(6)
    ]
    assert all((1, 7) in listed for listed in rounds)
    others = [pair for listed in rounds for pair in listed if pair != (1, 7)]
    assert sorted(others) == [(1, n) for n in range(1, 61) if n != 7], "each once in a round"
    assert all(3 <= len(listed) <= 20 for listed in rounds), "and not all at the same time"


def test_an_installation_with_kept_results_is_due_whatever_its_time_says(tmp_path: Path) -> None:
    for number in range(1, 31):
        (tmp_path / f"1/{number}/failed-results/rejected").mkdir(parents=True)
        (tmp_path / f"1/{number}/failed-results/rejected/failed-report-9.json").touch()
    (tmp_path / "1/7/failed-results/failed-report-1700000000.json").touch()
    for number in range(1, 31):
        os.utime(tmp_path / f"1/{number}", (0, 900))
    for slot in range(1200):
        if zlib.crc32(b"1/7") % 1200 == slot:
            continue
        job = ListInstallations(str(tmp_path), (1,), 950.0, slot, 1200)
        listed = list_installations(job, logs.RateLimiter(), has_kept)
        assert (1, 7) in listed
        assert len(listed) <= 4
        if slot > 20:
            break


def test_a_base_that_was_deleted_but_is_still_seen_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with Folder(str(tmp_path / "base")) as folder:
        seen = f"/proc/self/fd/{folder.fd}"  # leads there, as a mount of it does
        assert list_users(seen, logs.RateLimiter()) == []
        (tmp_path / "base").rmdir()
        (tmp_path / "base" / "7").mkdir(parents=True)
        for look in (list_users, free_bytes):
            with pytest.raises(errors.NotFound, match=r"was deleted.*restart tixd"):
                look(seen, logs.RateLimiter())


def test_the_volume_tells_how_many_bytes_are_free(tmp_path: Path) -> None:
    assert free_bytes(str(tmp_path), logs.RateLimiter()) > 0
    with pytest.raises(errors.NotFound):
        free_bytes(str(tmp_path / "nowhere"), logs.RateLimiter())


def test_folders_that_file_systems_and_their_servers_make_are_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("lost+found", ".snapshot", ".zfs", "@eaDir", "@Recycle"):
        (tmp_path / name).mkdir()
        (tmp_path / "7" / name).mkdir(parents=True)
    limiter = logs.RateLimiter()
    assert list_users(str(tmp_path), limiter) == [7]
    assert list_installations(every(tmp_path, 7), limiter) == []
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "listed"), [(errors.NotFound, [1, 3]), (errors.VolumeFailed, [1, 2, 3])]
)
def test_one_installation_whose_facts_cannot_be_had_hides_no_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[errors.VolumeError],
    listed: list[int],
) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"1/{number}").mkdir(parents=True)
    facts = Folder.facts

    def fail(self: Folder, name: str) -> os.stat_result:
        if name == "2":
            raise error(name)
        return facts(self, name)

    monkeypatch.setattr(Folder, "facts", fail)
    job = ListInstallations(str(tmp_path), (1,), 950.0, 0, 6)
    assert list_installations(job, logs.RateLimiter()) == [(1, number) for number in listed]


@pytest.mark.parametrize("ahead_seconds", [-7200.0, 0.0, 7200.0])
def test_what_has_changed_is_told_by_the_clock_of_the_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead_seconds: float
) -> None:
    real = time.time
    for number in range(1, 61):
        (tmp_path / f"1/{number}").mkdir(parents=True)
        (tmp_path / f"1/{number}" / LOCK_FILE).touch()
        age_seconds = 600 if number == 7 else 3600
        os.utime(tmp_path / f"1/{number}", (0, real() - age_seconds))
    monkeypatch.setattr(time, "time", lambda: real() + ahead_seconds)
    since = time.time() - 1800
    rounds = [
        list_installations(
            ListInstallations(str(tmp_path), (1,), since, slot, 6), logs.RateLimiter()
        )
        for slot in range(6)
    ]
    assert all((1, 7) in listed for listed in rounds)
    assert sum(len(listed) for listed in rounds) == 59 + 6, "the others once in a round"
