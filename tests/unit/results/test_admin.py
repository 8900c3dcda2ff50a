"""What waits in failed-results is told, and what was rejected is brought back, in real folders."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path

import pytest

from tests.support.log_events import heard
from tests.support.results import result
from tixd.directory import Folder
from tixd.jobs import JobResult, ListFailed, RetryFailed
from tixd.results.admin import list_failed, retry_failed
from tixd.results.backoff import Backoff
from tixd.results.failed_results import FailedResults
from tixd.results.journal import Journal, peek
from tixd.results.journal_format import JournalEntry

NOW = 1_600_000_000.0
PAUSED = Backoff().failed(NOW, 600.0, random.Random(1))


def store(base: Path, ids: str, *timestamps: int, reject: bool = False) -> Path:
    """Keep results of these times in the installation, parked or waiting; its folder."""
    folder = base / ids
    folder.mkdir(parents=True, exist_ok=True)
    with Folder(str(folder)) as opened, FailedResults(opened) as failed:
        for timestamp in timestamps:
            name = failed.add(result(timestamp))
            if reject:
                failed.reject(name)
    return folder


def waiting(folder: Path) -> list[str]:
    """Names in failed-results."""
    return sorted(os.listdir(folder / "failed-results"))


def put_journal(folder: Path, entry: JournalEntry) -> None:
    """Give the installation this journal."""
    with Folder(str(folder)) as opened, Journal(opened) as file:
        file.write_now(entry)


def in_journal(folder: Path) -> JournalEntry:
    """What its journal says."""
    with Folder(str(folder)) as opened:
        return peek(opened)


def listed(base: Path, *installations: tuple[int, int]) -> JobResult:
    """The answer to a ListFailed job."""
    return list_failed(ListFailed(str(base), installations), NOW)


def retried(base: Path, *installations: tuple[int, int]) -> JobResult:
    """The answer to a RetryFailed job."""
    return retry_failed(RetryFailed(str(base), installations))


def test_what_waits_is_told_with_the_oldest_the_pause_and_the_rejected(tmp_path):
    folder = store(tmp_path, "1/2", 300, 100, 200)
    store(tmp_path, "1/2", 50, reject=True)
    store(tmp_path, "3/4", 400)
    put_journal(folder, JournalEntry(backoff=PAUSED.because("no answer in time")))
    done = listed(tmp_path, (1, 2), (3, 4))
    until = math.ceil(PAUSED.not_before)
    assert done.rows == ((1, 2, 3, 100, until, 1), (3, 4, 1, 400, 0, 0))
    assert done.reasons == ("no answer in time", "")
    assert PAUSED.not_before >= NOW + 600


def test_why_results_were_rejected_is_told_where_nothing_else_is_kept(tmp_path):
    folder = tmp_path / "1/2"
    folder.mkdir(parents=True)
    with Folder(str(folder)) as opened, FailedResults(opened) as failed:
        failed.reject(failed.add(result(100)), "HTTP 500 Internal Server Error", "no AS")
    assert listed(tmp_path, (1, 2)).reasons == ("HTTP 500 Internal Server Error",)
    assert retried(tmp_path, (1, 2)).rows == ((1, 2, 1),)
    assert os.listdir(folder / "failed-results" / "rejected") == []
    assert listed(tmp_path, (1, 2)).reasons == ("",)


def test_an_installation_without_failed_results_or_without_a_folder_is_left_out(tmp_path):
    (tmp_path / "1" / "2").mkdir(parents=True)
    (tmp_path / "1" / "3" / "failed-results").mkdir(parents=True)
    done = listed(tmp_path, (1, 2), (1, 3), (1, 4), (5, 6))
    assert (done.rows, dict(done.counts)) == ((), {})


def test_a_link_below_the_base_is_counted_and_not_followed(tmp_path):
    store(tmp_path, "1/2", 100)
    (tmp_path / "1" / "3").symlink_to(tmp_path / "1" / "2")
    with heard() as log:
        done = listed(tmp_path, (1, 3), (1, 2))
    assert (done.rows, dict(done.counts)) == (((1, 2, 1, 100, 0, 0),), {"failed": 1})
    assert log.events == [("error", "failed_results_unusable")]


def test_what_waits_is_told_though_the_journal_cannot_be_read(tmp_path):
    folder = store(tmp_path, "1/2", 100)
    (folder / ".tixd.lock").mkdir()
    with heard() as log:
        assert listed(tmp_path, (1, 2)).rows == ((1, 2, 1, 100, 0, 0),)
    assert log.events == [("warning", "journal_unreadable")]


def test_what_was_rejected_waits_again_and_the_pause_has_ended(tmp_path):
    folder = store(tmp_path, "1/2", 100, 200, reject=True)
    entry = JournalEntry(7, 8, ("tix-report-1.json",), PAUSED.refused("a.json", NOW, None))
    put_journal(folder, entry)
    assert retried(tmp_path, (1, 2)).rows == ((1, 2, 2),)
    after = in_journal(folder)
    assert waiting(folder) == ["failed-report-100.json", "failed-report-200.json", "rejected"]
    assert (after.window, after.timestamp, after.names) == (7, 8, ("tix-report-1.json",))
    assert after.backoff == Backoff()


def test_a_pause_ends_even_where_nothing_was_rejected(tmp_path):
    folder = store(tmp_path, "1/2", 100)
    put_journal(folder, JournalEntry(backoff=PAUSED))
    assert retried(tmp_path, (1, 2)).rows == ()
    assert in_journal(folder).backoff == Backoff()


def test_bringing_back_overwrites_nothing_and_keeps_names_that_are_posted(tmp_path):
    folder = store(tmp_path, "1/2", 100, reject=True)
    with Folder(str(folder)) as opened, FailedResults(opened) as failed:
        failed.add(result(100, ip="192.0.2.1"))
        failed.add(result(100, ip="192.0.2.2"))
    assert retried(tmp_path, (1, 2)).rows == ((1, 2, 1),)
    with Folder(str(folder)) as opened, FailedResults(opened) as failed:
        names = failed.oldest(10)
        assert names == [f"failed-report-100{end}.json" for end in ("", "-1", "-2")]
        assert failed.load(names[2]) == result(100)


@pytest.mark.parametrize("times", [1, 3])
def test_parking_and_bringing_back_several_times_loses_no_name(tmp_path, times):
    folder = store(tmp_path, "1/2", 100, reject=True)
    with Folder(str(folder)) as opened, FailedResults(opened) as failed:
        for before in range(times):
            failed.reject(failed.add(result(100, ip="192.0.2.1")))
            assert failed.restore() == before + 2
            for name in failed.oldest(10):
                failed.reject(name)
        assert len(failed.rejected()) == 1 + times


def test_an_installation_that_another_process_works_on_is_counted_and_left(tmp_path):
    folder = store(tmp_path, "1/2", 100, reject=True)
    with Folder(str(folder)) as opened, Journal(opened):
        done = retried(tmp_path, (1, 2))
    assert (done.rows, dict(done.counts)) == ((), {"locked": 1})
    assert waiting(folder) == ["rejected"]


def test_foreign_files_among_the_rejected_stay_there(tmp_path):
    folder = store(tmp_path, "1/2", 100, reject=True)
    (folder / "failed-results" / "rejected" / "notes.txt").write_text("mine")
    assert retried(tmp_path, (1, 2)).rows == ((1, 2, 1),)
    assert os.listdir(folder / "failed-results" / "rejected") == ["notes.txt"]
