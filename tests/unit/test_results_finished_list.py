"""The end of a job in the journal: the list of names is emptied, and how that is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tixd.folder import Folder
from tixd.results import journal
from tixd.results.backoff import Backoff
from tixd.results.journal import Journal
from tixd.results.keeper import JournalKeeper

ENTRY = Journal(
    window=1_505_080_680, timestamp=1_505_081_800, names=("tix-report-1.json", "2.json")
)


@pytest.fixture
def folder(tmp_path):
    with Folder(str(tmp_path)) as opened:
        yield opened


def committed(folder: Folder, entry: Journal) -> JournalKeeper:
    """A keeper whose job has made `entry` the journal."""
    keeper = JournalKeeper(folder, Counter())
    keeper.commit(entry)
    return keeper


def test_a_list_that_is_done_with_is_emptied_in_the_same_file(folder):
    keeper = committed(folder, ENTRY)
    before = folder.facts(journal.FILE_NAME)
    keeper.close()
    assert journal.load(folder) == replace(ENTRY, names=())
    after = folder.facts(journal.FILE_NAME)
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)


def test_a_list_longer_than_a_page_goes_with_a_new_file(folder):
    entry = replace(ENTRY, names=tuple(f"tix-report-{number}.json" for number in range(1000)))
    keeper = committed(folder, entry)
    before = folder.facts(journal.FILE_NAME)
    keeper.close()
    assert journal.load(folder) == replace(ENTRY, names=())
    assert folder.facts(journal.FILE_NAME).st_ino != before.st_ino


def test_a_pause_that_came_after_the_deletions_is_kept_too(folder):
    keeper = committed(folder, ENTRY)
    pause = Backoff(failures=1, not_before=1_505_081_900.0)
    keeper.set_backoff(pause)
    keeper.close()
    assert journal.load(folder) == replace(ENTRY, names=(), backoff=pause)


def test_an_emptied_list_stays_as_it_is_in_the_next_job(folder):
    committed(folder, ENTRY).close()
    before = folder.facts(journal.FILE_NAME)
    JournalKeeper(folder, Counter()).close()
    assert folder.facts(journal.FILE_NAME).st_mtime_ns == before.st_mtime_ns


def test_a_list_committed_after_an_emptied_one_is_emptied_in_place_as_well(folder):
    committed(folder, ENTRY).close()
    keeper = committed(folder, replace(ENTRY, names=("3.json",)))
    keeper.close()
    assert journal.load(folder) == replace(ENTRY, names=())
