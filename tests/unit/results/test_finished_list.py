"""The journal during a job: lists that are done with, what cannot be deleted or written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from tests.unit.results.test_journal import FULL
from tixd import errors
from tixd.directory import Folder
from tixd.reports.model import LOCK_FILE
from tixd.results.backoff import Backoff, Refusal
from tixd.results.journal import OLD_FILE_NAME, Journal, Unwritten, peek
from tixd.results.journal_format import MAX_LEFT, JournalEntry

ENTRY = JournalEntry(window=1_505_080_680, timestamp=1_505_081_800)

NAMES = ("tix-report-1.json", "2.json")


class Job:
    """A job's journal in a folder, and what it has counted and warned of."""

    def __init__(self, folder: Folder, unwritten: Unwritten) -> None:
        self.tally: Counter[str] = Counter()
        self.warned: list[str] = []
        self.journal = Journal(
            folder, self.tally, unwritten, lambda event, *_: self.warned.append(event)
        )


@pytest.fixture
def folder(tmp_path):
    with Folder(str(tmp_path)) as opened:
        for name in NAMES:
            (tmp_path / name).touch()
        yield opened


@pytest.fixture
def unwritten() -> Unwritten:
    """What a worker remembers."""
    return {}


@pytest.fixture
def job(folder, unwritten) -> Iterator[Job]:
    """A job that has begun."""
    job = Job(folder, unwritten)
    with job.journal:
        yield job


def next_job(folder: Folder, unwritten: Unwritten | None = None) -> Job:
    """A job after that one, which has finished the deletions; of another worker if not told."""
    job = Job(folder, {} if unwritten is None else unwritten)
    with job.journal:
        job.journal.finish_deletions()
        job.journal.close()
    return job


def test_names_are_listed_before_and_not_after_their_deletion(folder, job):
    job.journal.prepare(ENTRY, NAMES)
    assert peek(folder) == JournalEntry()
    job.journal.commit(ENTRY, NAMES)
    assert peek(folder) == replace(ENTRY, names=NAMES)
    job.journal.delete(NAMES)
    job.journal.close()
    assert peek(folder) == ENTRY
    assert os.listdir(folder.path) == [LOCK_FILE]
    assert job.tally == {"reports_deleted": 2}


def test_a_pause_that_came_after_the_proof_is_kept_too(folder, job):
    job.journal.prepare(ENTRY, NAMES)
    pause = Backoff(failures=1, not_before=1_505_081_900.0)
    job.journal.commit(replace(ENTRY, backoff=pause), NAMES)
    assert peek(folder) == replace(ENTRY, names=NAMES, backoff=pause)


def test_a_job_with_nothing_to_do_writes_nothing(folder, job):
    job.journal.finish_deletions()
    job.journal.set_backoff(Backoff(), [])
    job.journal.close()
    assert folder.facts(LOCK_FILE).st_size == 0


def test_the_next_job_finishes_a_list_and_nothing_else(folder, job):
    job.journal.commit(ENTRY, ("2.json",))
    job.journal.__exit__()  # as if it had been killed
    assert next_job(folder).tally == {"reports_deleted": 1}
    assert sorted(os.listdir(folder.path)) == [LOCK_FILE, "tix-report-1.json"]
    assert peek(folder) == ENTRY


def test_a_listed_folder_holds_up_nothing_and_is_forgotten(folder, tmp_path):
    (tmp_path / "1.json").mkdir()
    with Journal(folder) as file:
        file.write_now(replace(ENTRY, names=("1.json", "2.json")))
    job = next_job(folder)
    assert (job.tally, job.warned) == ({"reports_deleted": 1}, ["report_not_deleted"])
    assert (peek(folder), (tmp_path / "1.json").is_dir()) == (ENTRY, True)


def test_a_report_that_cannot_be_deleted_stays_in_the_list(folder, job, monkeypatch):
    unlink = Folder.unlink

    def failing(self: Folder, name: str) -> bool:
        if name == "2.json":
            raise errors.DiskFailed(name)
        return unlink(self, name)

    monkeypatch.setattr(Folder, "unlink", failing)
    job.journal.commit(ENTRY, NAMES)
    job.journal.delete(NAMES)
    job.journal.commit(replace(ENTRY, window=7), ("3.json",))
    assert peek(folder) == replace(ENTRY, window=7, names=("2.json", "3.json"))
    assert job.tally == {"reports_deleted": 1, "reports_not_deleted": 1}
    assert job.warned == ["report_not_deleted"]


def test_too_many_that_cannot_be_deleted_stop_the_installation(folder, job, monkeypatch):
    def failing(*_: object) -> bool:
        raise errors.NotPermitted

    monkeypatch.setattr(Folder, "unlink", failing)
    names = tuple(f"{number}.json" for number in range(MAX_LEFT + 1))
    job.journal.commit(ENTRY, names)
    with pytest.raises(errors.NotDeleted):
        job.journal.delete(names)


def failing_with(error: errors.VolumeError):
    """In place of a method that writes."""

    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [errors.DiskFull(), errors.NotPermitted(), errors.DiskFailed()])
def test_what_could_not_be_written_is_remembered_until_it_is(
    folder, job, unwritten, monkeypatch, error
):
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write_now", failing_with(error))
        patch.setattr(Folder, "unlink", failing_with(error))
        if isinstance(error, errors.DiskFull):
            job.journal.commit(ENTRY, NAMES)
            job.journal.delete(NAMES)
        else:
            with pytest.raises(type(error)):
                job.journal.commit(ENTRY, NAMES)
            job.journal.delete_unlisted(NAMES)
    job.journal.__exit__()
    assert unwritten[folder.path].names == NAMES
    assert next_job(folder, unwritten).tally == {"reports_deleted": 2}
    assert unwritten == {}


def test_without_room_what_could_be_deleted_is_forgotten_again(job, unwritten, monkeypatch):
    monkeypatch.setattr(Journal, "write_now", failing_with(errors.DiskFull()))
    job.journal.commit(ENTRY, NAMES)
    job.journal.delete(NAMES)
    assert job.tally == {"journals_without_room": 1, "reports_deleted": 2}
    assert unwritten == {}


# --- the journal of 0.1.0 ------------------------------------------------------------------------

#: As 0.1.0 writes it.
OLD = {
    "format": 1,
    "window": FULL.window,
    "timestamp": FULL.timestamp,
    "delete": ["2.json"],
    "failures": 2,
    "not_before": 1505083000.5,
    "refusals": [["failed-report-7.json", 1, 1505082999.25]],
}


def test_an_old_journal_is_taken_over_its_deletions_finished_and_removed(folder, tmp_path):
    (tmp_path / OLD_FILE_NAME).write_bytes(orjson.dumps(OLD))
    (tmp_path / f"{OLD_FILE_NAME}.tmp").write_bytes(b"{")
    assert next_job(folder).tally == {"reports_deleted": 1}
    assert sorted(os.listdir(tmp_path)) == [LOCK_FILE, "tix-report-1.json"]
    backoff = Backoff(2, 1505083000.5, (Refusal("failed-report-7.json", 1, 1505082999.25),))
    assert peek(folder) == JournalEntry(FULL.window, FULL.timestamp, (), backoff)


def test_an_older_old_journal_gives_its_deletions_alone(folder, tmp_path):
    newer = replace(ENTRY, window=FULL.window + 1)
    with Journal(folder) as file:
        file.write_now(newer)
    (tmp_path / OLD_FILE_NAME).write_bytes(orjson.dumps(OLD))
    assert next_job(folder).tally == {"reports_deleted": 1}
    assert peek(folder) == newer


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[1]", b"x" * 3 * 2**20])
def test_an_old_journal_that_cannot_be_trusted_goes_with_a_warning(folder, tmp_path, content):
    (tmp_path / OLD_FILE_NAME).write_bytes(content)
    assert next_job(folder).warned == ["journal_unreadable"]
    assert OLD_FILE_NAME not in os.listdir(tmp_path)
    assert peek(folder) == JournalEntry()


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("2.json"), os.mkfifo])
def test_what_is_no_file_in_place_of_an_old_journal_is_left_with_a_warning(folder, tmp_path, make):
    make(tmp_path / OLD_FILE_NAME)
    assert next_job(folder).warned == ["journal_unreadable"]
    assert sorted(os.listdir(tmp_path)) == sorted([LOCK_FILE, OLD_FILE_NAME, *NAMES])
