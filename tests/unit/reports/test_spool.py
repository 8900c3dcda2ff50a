"""One installation's folder: what is read, in which order, what is left alone (§2, 5.3)."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.made import installation, minute, record, report
from tixd import errors, logs
from tixd.config.settings import Settings
from tixd.directory import Folder
from tixd.reports.ages import Ages
from tixd.reports.file_warnings import MAX_NAMED
from tixd.reports.model import LOCK_FILE, Installation
from tixd.reports.spool import MAX_REPORT_BYTES, Spool

#: When files that nobody is writing any more were last changed.
LONG_AGO = 1_700_000_000


class Opened:
    """A Spool on a real folder, and what it told."""

    def __init__(
        self,
        path: Path,
        batch_files: int = 32,
        now: float = 0.0,
        limiter: logs.RateLimiter | None = None,
        ages: Ages | None = None,
        **settings: float,
    ) -> None:
        self.tally: Counter[str] = Counter()
        self.read: list[str] = []
        self.spool = Spool(
            Folder(str(path)),
            Installation(1, 2, str(path)),
            Settings(**settings),  # type: ignore[arg-type]
            self.tally,
            now=now or time.time(),
            limiter=limiter or logs.RateLimiter(),
            ages=ages or Ages(),
            reading=self.read.extend,
            batch_files=batch_files,
        )
        self.spool.list_reports()

    def firsts(self) -> list[int]:
        firsts = [r.first for r in self.spool.reports()]
        self.spool.close()
        return firsts


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path = installation(tmp_path, 1_000_000, 3)
    for report_file in path.glob("*.json"):
        os.utime(report_file, (LONG_AGO, LONG_AGO))
    (path / LOCK_FILE).touch()
    yield path
    for name in path.rglob("*"):
        if not name.is_symlink():
            name.chmod(0o700)


def put(folder: Path, name: str, content: bytes, age_seconds: float = 3600) -> Path:
    path = folder / name
    path.write_bytes(content)
    changed = time.time() - age_seconds
    os.utime(path, (changed, changed))
    return path


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


def test_reports_come_by_the_second_in_their_names(folder: Path) -> None:
    put(folder, "tix-report-999940.json", minute(999_940))
    put(folder, "tix-report-10000000.json", minute(10_000_000))
    assert Opened(folder).firsts() == [999_940, 1_000_000, 1_000_060, 1_000_120, 10_000_000]


def test_names_without_a_second_are_ordered_by_their_first_observation(folder: Path) -> None:
    put(folder, "99-tix-log.json", minute(999_000))
    put(folder, "1505082345000-tix-log.json", minute(1_000_090, 10))
    opened = Opened(folder)
    assert opened.firsts() == [999_000, 1_000_000, 1_000_060, 1_000_090, 1_000_120]
    assert sorted(opened.read) == sorted(set(opened.read)), "each file is read once"


def test_equal_seconds_are_ordered_by_the_bytes_of_the_names(folder: Path) -> None:
    put(folder, "b-tix-log.json", minute(1_000_000, 11))
    put(folder, "ä-tix-log.json", minute(1_000_000, 12))
    put(folder, "Z-tix-log.json", minute(1_000_000, 13))
    counts = [r.count for r in Opened(folder).spool.reports()]
    assert counts == [13, 11, 60, 12, 60, 60]


def test_where_name_and_content_disagree_the_name_orders_with_one_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, "tix-report-5.json", minute(2_000_000))
    put(folder, "tix-report-6.json", minute(3_000_000))
    assert Opened(folder).firsts()[:2] == [2_000_000, 3_000_000]
    assert warnings(caplog) == ["report_name_differs"]


def test_where_ids_disagree_the_folders_count_with_one_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, "tix-report-1000180.json", minute(1_000_180, userId=7))
    put(folder, "tix-report-1000240.json", minute(1_000_240, installationId=7))
    assert len(Opened(folder).firsts()) == 5
    assert warnings(caplog) == ["report_ids_differ"]


@pytest.mark.parametrize("content", [b"", b"{", minute(5)[:-7], report(record(-1))])
def test_a_bad_report_is_set_aside_with_its_reason_and_its_neighbours_go_on(
    folder: Path, content: bytes
) -> None:
    put(folder, "tix-report-1000030.json", content, age_seconds=61)
    opened = Opened(folder)
    assert opened.firsts() == [1_000_000, 1_000_060, 1_000_120]
    assert (folder / "bad-reports/tix-report-1000030.json").read_bytes() == content
    reason = (folder / "bad-reports/tix-report-1000030.json.reason").read_text()
    assert reason.startswith("tix-report-1000030.json: ")
    assert opened.tally["reports_bad"] == 1


def test_reading_ends_before_a_bad_report_that_is_young(folder: Path) -> None:
    put(folder, "tix-report-1000070.json", minute(1_000_070)[:-9], age_seconds=30)
    opened = Opened(folder)
    assert opened.firsts() == [1_000_000, 1_000_060]
    assert not (folder / "bad-reports").exists()
    assert opened.firsts() == [1_000_000, 1_000_060], "also when asked again"


def test_nothing_is_read_while_a_young_report_of_unknown_place_is_unfinished(folder: Path) -> None:
    put(folder, "123-tix-log.json", b"", age_seconds=3)
    assert Opened(folder).firsts() == []


def test_a_bad_report_from_the_far_future_does_not_block_for_ever(folder: Path) -> None:
    put(folder, "tix-report-1000030.json", b"", age_seconds=-1_000_000)
    assert len(Opened(folder).firsts()) == 3
    assert (folder / "bad-reports/tix-report-1000030.json").exists()


def test_a_bad_report_whose_name_is_taken_gets_a_number(folder: Path) -> None:
    (folder / "bad-reports").mkdir()
    for name in ("tix-report-7.json", "tix-report-7-1.json"):
        put(folder / "bad-reports", name, b"old")
    put(folder, "tix-report-7.json", b"new")
    Opened(folder).firsts()
    assert (folder / "bad-reports/tix-report-7-2.json").read_bytes() == b"new"
    assert (folder / "bad-reports/tix-report-7.json").read_bytes() == b"old"


def test_a_report_over_one_mebibyte_is_bad_without_being_read(folder: Path) -> None:
    path = put(folder, "tix-report-1000030.json", b"")
    os.truncate(path, 2 * 1024**3)
    os.utime(path, (5, 5))
    assert len(Opened(folder).firsts()) == 3
    reason = (folder / "bad-reports/tix-report-1000030.json.reason").read_text()
    assert f"2147483648 bytes are more than {MAX_REPORT_BYTES}" in reason


def test_links_pipes_sockets_folders_and_hidden_files_are_never_touched(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside = put(tmp_path, "secret.json", minute(1_000_010))
    (folder / "tix-report-1000010.json").symlink_to(outside)
    os.mkfifo(folder / "tix-report-1000011.json")
    (folder / "tix-report-1000012.json").mkdir()
    put(folder, ".tix-report-1000013.json", minute(1_000_013))
    put(folder, "tix-report-1000014.json.part", b"")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "s.json"))
    assert Opened(folder).firsts() == [1_000_000, 1_000_060, 1_000_120]
    assert warnings(caplog) == ["file_ignored"] * 6
    assert outside.exists()


def test_whoever_makes_names_cannot_fill_the_log_with_them(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limiter = logs.RateLimiter()
    for look in range(3):
        for number in range(1000):
            put(folder, f"{look}-{number}", b"")
        assert len(Opened(folder, limiter=limiter).firsts()) == 3
    assert warnings(caplog) == ["file_ignored"] * MAX_NAMED + ["warnings_omitted"]
    assert caplog.records[-1].values["names"] == 1000 - MAX_NAMED  # type: ignore[attr-defined]


def test_names_of_one_folder_take_no_room_from_those_of_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limiter = logs.RateLimiter()
    for user in (1, 2):
        place = installation(tmp_path, 1_000_000, 3, user=user)
        for number in range(MAX_NAMED):
            put(place, str(number), b"")
        Opened(place, limiter=limiter)
        Opened(place, limiter=limiter)
    assert warnings(caplog) == ["file_ignored"] * MAX_NAMED * 2


def test_names_that_are_not_printable_utf8_are_left_alone(folder: Path) -> None:
    odd = [b"a\nb.json", b"\xff\xfe.json", b"x\x1b[31m.json"]
    for name in odd:
        Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(b"")
    assert len(Opened(folder).firsts()) == 3
    assert all(name in os.listdir(bytes(folder)) for name in odd)


def test_the_same_notice_comes_once_an_hour() -> None:
    limiter = logs.RateLimiter()
    assert limiter.allow("file_ignored", "x", now=0.0) is not None
    assert limiter.allow("file_ignored", "x", now=3599.0) is None
    assert limiter.allow("file_ignored", "y", now=3599.0) is not None
    assert limiter.allow("file_ignored", "x", now=3600.0) is not None


def test_a_report_without_permission_is_left_and_the_others_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = Folder.read

    def refuse(self: Folder, name: str, limit_bytes: int) -> tuple[bytes, os.stat_result]:
        if name == "tix-report-1000060.json":
            raise errors.NotPermitted(name)
        return read(self, name, limit_bytes)

    monkeypatch.setattr(Folder, "read", refuse)
    assert Opened(folder).firsts() == [1_000_000, 1_000_120]
    assert warnings(caplog) == ["report_not_permitted"]
    assert (folder / "tix-report-1000060.json").exists()


@pytest.mark.parametrize("error", [errors.VolumeFailed, errors.NotFound])
def test_an_unreadable_disk_or_a_vanished_file_ends_the_reading_and_moves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: type[errors.VolumeError]
) -> None:
    def fail(*_: object) -> None:
        raise error("disk")

    monkeypatch.setattr(Folder, "read", fail)
    monkeypatch.setattr(Folder, "answers", lambda *_: False)
    with pytest.raises(error):
        Opened(folder).firsts()
    assert len(list(folder.glob("*.json"))) == 3


def test_reports_whose_result_is_safe_are_left_out_though_they_are_still_there(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened = Opened(folder)
    opened.firsts()
    names = ["tix-report-1000000.json", "tix-report-1000060.json", "tix-report-77.json"]
    opened.spool.exclude(names)
    assert opened.firsts() == [1_000_120]
    assert warnings(caplog) == []
    assert len(list(folder.glob("*.json"))) == 3


def test_only_as_many_reports_are_read_as_are_asked_for(tmp_path: Path) -> None:
    opened = Opened(installation(tmp_path, 1_000_000, 100), batch_files=10)
    reports = opened.spool.reports()
    next(reports)
    assert len(opened.read) == 10
    assert len(opened.firsts()) == 100


def test_bad_reports_expire_by_age_and_number_with_their_reasons(folder: Path) -> None:
    bad = folder / "bad-reports"
    bad.mkdir()
    for i in range(5):
        put(bad, f"tix-report-{i}.json", b"")
        put(bad, f"tix-report-{i}.json.reason", b"")
    assert Opened(folder).tally["bad_reports_expired"] == 0
    assert Opened(folder, bad_reports_keep_files=2).tally["bad_reports_expired"] == 3
    assert len(list(bad.iterdir())) == 4
    assert Opened(folder, bad_reports_keep_days=0).tally["bad_reports_expired"] == 2
    assert list(bad.iterdir()) == []


def test_a_bad_report_that_cannot_be_moved_is_passed_over(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "bad-reports").symlink_to(tmp_path)
    put(folder, "tix-report-1000030.json", b"")
    assert len(Opened(folder).firsts()) == 3
    assert warnings(caplog) == ["report_not_quarantined"]
    assert (folder / "tix-report-1000030.json").exists()


# --- ages ----------------------------------------------------------------------------------------

HALF_WRITTEN = minute(1_000_030)[:-9]
DAY_SECONDS = 24 * 3600


@pytest.mark.parametrize("ahead_seconds", [-40 * DAY_SECONDS, -90, 90, 40 * DAY_SECONDS])
def test_files_are_judged_by_the_clock_of_their_volume_whatever_the_host_says(
    folder: Path, ahead_seconds: int
) -> None:
    put(folder, "tix-report-1000030.json", HALF_WRITTEN, age_seconds=1)
    (folder / "bad-reports").mkdir()
    put(folder / "bad-reports", "tix-report-7.json", b"")
    opened = Opened(folder, now=time.time() + ahead_seconds)
    assert opened.firsts() == [1_000_000]
    assert (folder / "tix-report-1000030.json").exists()
    assert (folder / "bad-reports/tix-report-7.json").exists()


@pytest.mark.parametrize("jump_seconds", [-40 * DAY_SECONDS, -90, 90, 40 * DAY_SECONDS])
def test_a_volume_whose_clock_jumps_makes_no_file_old(
    folder: Path, monkeypatch: pytest.MonkeyPatch, jump_seconds: int
) -> None:
    (folder / "bad-reports").mkdir()
    put(folder / "bad-reports", "tix-report-7.json", b"")
    ages, touch = Ages(), Folder.touch
    Opened(folder, ages=ages)
    monkeypatch.setattr(Folder, "touch", lambda *at: touch(*at) + jump_seconds)
    put(folder, "tix-report-1000030.json", HALF_WRITTEN, age_seconds=1)
    assert Opened(folder, ages=ages).firsts() == [1_000_000]
    put(folder, "tix-report-1000030.json", HALF_WRITTEN, age_seconds=1 - jump_seconds)
    assert Opened(folder, ages=ages).firsts() == [1_000_000]
    assert os.listdir(folder / "bad-reports") == ["tix-report-7.json"]


def test_without_the_volumes_clock_a_file_is_old_once_it_was_seen_unchanged_for_a_minute(
    folder: Path,
) -> None:
    (folder / LOCK_FILE).unlink()
    (folder / "bad-reports").mkdir()
    put(folder / "bad-reports", "tix-report-7.json", b"")
    put(folder, "tix-report-1000030.json", HALF_WRITTEN)
    clock = Clock()
    ages = Ages(clock)
    for seconds in (0, 59, 60):
        clock.seconds = seconds
        opened = Opened(folder, ages=ages, bad_reports_keep_days=0)
        assert len(opened.firsts()) == (3 if seconds == 60 else 1)
    assert sorted(os.listdir(folder / "bad-reports"))[0] == "tix-report-1000030.json"
    assert (folder / "bad-reports/tix-report-7.json").exists(), "its age is not known"


def test_a_report_that_is_listed_for_ever_and_never_there_is_passed_over_after_a_minute(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, "tix-report-1000030.json", minute(1_000_030))
    for name in ("open", "stat"):
        monkeypatch.setattr(os, name, missing(getattr(os, name), "tix-report-1000030.json"))
    clock = Clock()
    ages = Ages(clock)
    for clock.seconds, reports in ((0, 1), (59, 1), (60, 3)):
        assert len(Opened(folder, ages=ages).firsts()) == reports
    assert warnings(caplog) == ["report_unreadable"]


def test_a_report_that_vanishes_after_it_was_listed_ends_the_job(folder: Path) -> None:
    opened = Opened(folder)
    (folder / "tix-report-1000060.json").unlink()
    with pytest.raises(errors.NotFound):
        opened.firsts()


def missing(real: Callable[..., object], name: str) -> Callable[..., object]:
    """A function of os that does not find the file of this name."""

    def find(path: str, *arguments: object, **options: object) -> object:
        if path == name:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return real(path, *arguments, **options)

    return find


def test_a_file_that_keeps_changing_holds_up_its_installation_for_an_hour_at_most(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, limiter = Clock(), logs.RateLimiter()
    ages = Ages(clock)
    for clock.seconds in (0, 1800, 3599):
        put(folder, "tix-report-1000030.json", b"", age_seconds=0)
        assert Opened(folder, ages=ages, limiter=limiter).firsts() == [1_000_000]
    assert warnings(caplog) == []
    for clock.seconds in (3600, 4200):
        put(folder, "tix-report-1000030.json", b"", age_seconds=0)
        assert len(Opened(folder, ages=ages, limiter=limiter).firsts()) == 3
    assert set(warnings(caplog)) == {"report_unfinished"}
    assert not (folder / "bad-reports").exists(), "somebody writes it"


def test_once_a_report_was_finished_the_hour_begins_anew(folder: Path) -> None:
    clock = Clock()
    ages = Ages(clock)
    for clock.seconds in (0, 1800, 3600):
        young = put(folder, "tix-report-1000030.json", b"", age_seconds=0)
        assert Opened(folder, ages=ages).firsts() == [1_000_000]
        young.write_bytes(minute(1_000_030, 10))
        assert len(Opened(folder, ages=ages).firsts()) == 4


def test_reports_that_come_one_after_the_other_are_each_waited_for(folder: Path) -> None:
    clock = Clock()
    ages = Ages(clock)
    for clock.seconds in (0, 3600, 7200):
        young = put(folder, f"tix-report-{1_000_030 + clock.seconds // 3600}.json", b"", 0)
        assert Opened(folder, ages=ages).firsts() == [1_000_000], "seen by another worker since"
        young.unlink()


class Clock:
    """Monotonic seconds that a test sets."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


# --- many files, large files ---------------------------------------------------------------------


def test_many_bad_reports_are_named_twenty_times_and_counted(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for second in range(200):
        put(folder, f"tix-report-{second}.json", b"")
    opened = Opened(folder)
    opened.firsts()
    assert opened.tally["reports_bad"] == 200
    assert warnings(caplog) == ["report_quarantined"] * MAX_NAMED + ["warnings_omitted"]
    more = caplog.records[-1].values  # type: ignore[attr-defined]
    assert (more["of"], more["names"]) == ("report_quarantined", 200 - MAX_NAMED)


def test_ids_and_names_that_differ_are_told_once_an_hour_however_often_they_are_seen(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, "tix-report-1000180.json", minute(1_000_181, userId=7))
    limiter = logs.RateLimiter()
    for seconds in (0.0, 600.0, 3599.0, 3600.0):
        Opened(folder, limiter=limiter, now=1e9 + seconds).firsts()
    assert sorted(warnings(caplog)) == ["report_ids_differ"] * 2 + ["report_name_differs"] * 2


def test_a_batch_ends_when_it_has_many_bytes(folder: Path) -> None:
    for number in range(8):
        put(folder, f"tix-report-{number}.json", b" " * MAX_REPORT_BYTES)
    opened = Opened(folder)
    batches: list[int] = []
    opened.spool._reading = lambda names: batches.append(len(names))
    assert len(opened.firsts()) == 3
    assert batches == [11, 8, 5, 2], "three files at a time, as long as they are large"


def test_when_the_time_of_the_job_is_up_after_reports_were_moved_the_rest_is_left_to_another(
    folder: Path,
) -> None:
    for number in range(8):
        put(folder, f"tix-report-{number}.json", b"")
    opened = Opened(folder, batch_files=2)
    opened.spool._may_continue = lambda: opened.tally["reports_bad"] < 4
    assert opened.firsts() == []
    assert (opened.spool.has_more, opened.tally["reports_bad"]) == (True, 4)


def test_more_expired_reports_than_fit_one_visit_go_in_several(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tixd.reports.quarantine.MAX_EXPIRED", 5)
    (folder / "bad-reports").mkdir()
    for number in range(20):
        put(folder / "bad-reports", f"tix-report-{number}.json", b"")
    visits = [Opened(folder, bad_reports_keep_files=8) for _ in range(4)]
    expired = [opened.tally["bad_reports_expired"] for opened in visits]
    assert expired == [5, 5, 2, 0]


def test_long_names_that_differ_at_their_ends_stay_different_in_bad_reports(folder: Path) -> None:
    for letter in "ab":
        put(folder, f"{'x' * 248}{letter}.json", b"")
    put(folder, f"{'x' * 249}.json", b"")
    assert len(Opened(folder).firsts()) == 3
    kept = sorted(os.listdir(folder / "bad-reports"))
    assert len(kept) == 6, "each with its reason"
    assert max(len(name) for name in kept) <= 255
