"""The file of the journal: damaged anywhere, what counted before holds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import orjson
import pytest

from tests.support.log_events import heard
from tests.unit.results.test_journal import FULL
from tixd import errors
from tixd.directory import Folder, OpenFile
from tixd.reports.model import LOCK_FILE
from tixd.results.journal import (
    LONG_AT,
    MAX_ENTRY_BYTES,
    SLOT_BYTES,
    Journal,
    peek,
)
from tixd.results.journal_format import JournalEntry

#: An entry that fits into no slot.
LONG = replace(FULL, names=tuple(f"tix-report-{second}.json" for second in range(1000)))

#: Entries in the order in which they are written, short and long ones after each other.
HISTORY = (FULL, JournalEntry(1, 2), LONG, replace(LONG, window=3), FULL, LONG, JournalEntry(5))


@pytest.fixture
def folder(tmp_path):
    """An installation's folder."""
    with Folder(str(tmp_path)) as opened:
        yield opened


def saved(folder: Folder, *entries: JournalEntry) -> bytes:
    """Write these entries one after the other; returns what the file holds then."""
    for entry in entries:
        with Journal(folder) as file:
            file.write_now(entry)
    return content(folder)


def content(folder: Folder) -> bytes:
    return Path(folder.path, LOCK_FILE).read_bytes()


def loaded(folder: Folder) -> JournalEntry:
    """The journal, as who has the lock and who has not find it."""
    with Journal(folder) as file:
        entry = file.entry
    assert peek(folder) == entry
    return entry


def test_each_entry_replaces_the_one_before(folder):
    for entry in HISTORY:
        saved(folder, entry)
        assert loaded(folder) == entry
    assert os.listdir(folder.path) == [LOCK_FILE]


def test_a_new_file_has_room_for_both_slots_and_no_warning(folder):
    with heard() as log:
        assert peek(folder) == JournalEntry()
        assert loaded(folder) == JournalEntry()
        saved(folder, FULL)
        assert loaded(folder) == FULL
    assert log.events == []
    assert len(content(folder)) == LONG_AT


@pytest.mark.parametrize("before", [b"", b"\0" * 100, b"\0" * LONG_AT], ids=len)
def test_the_empty_lock_file_of_a_former_version_becomes_the_journal(folder, before):
    Path(folder.path, LOCK_FILE).write_bytes(before)
    with heard() as log:
        assert loaded(folder) == JournalEntry()
        saved(folder, FULL)
    assert (loaded(folder), log.events) == (FULL, [])


@pytest.mark.parametrize("entry", [FULL, LONG], ids=["short", "long"])
def test_what_is_prepared_counts_only_once_it_is_committed(folder, entry):
    for before in (JournalEntry(), JournalEntry(1, 2), LONG, JournalEntry(3, 4)):
        saved(folder, before)
        with Journal(folder) as file, heard() as log:
            file.write_ahead(entry)
            assert peek(folder) == before
            file.write_ahead(entry)
            file.write_now(entry)
            assert peek(folder) == entry
        assert log.events == []


def test_a_first_entry_that_was_never_committed_is_none_without_a_warning(folder):
    with Journal(folder) as file:
        file.write_ahead(FULL)
    with heard() as log:
        assert loaded(folder) == JournalEntry()
    assert log.events == []


def test_a_file_that_had_a_long_list_gives_its_room_back(folder):
    saved(folder, LONG, LONG, LONG)
    with Journal(folder) as file:
        file.close()
        assert file.entry == peek(folder) == LONG
        file.write_now(FULL)
        file.close()
    assert len(content(folder)) == LONG_AT
    assert loaded(folder) == FULL


# --- damage --------------------------------------------------------------------------------------


def damaged(folder: Folder, new: bytes) -> JournalEntry:
    """What is found where the file holds `new`; it can be written again afterwards."""
    Path(folder.path, LOCK_FILE).write_bytes(new)
    found = loaded(folder)
    saved(folder, JournalEntry(77, 78))
    assert loaded(folder) == JournalEntry(77, 78)
    return found


@pytest.mark.parametrize("last", [FULL, LONG], ids=["short", "long"])
def test_an_entry_torn_at_any_byte_leaves_the_one_before(folder, last):
    before = saved(folder, JournalEntry(1, 2), LONG)
    whole = saved(folder, last)
    before = before.ljust(len(whole), b"\0")
    changed = [at for at in range(len(whole)) if whole[at] != before[at]]
    for at in random.Random(1).sample(changed[1:], 40) + changed[1:20]:
        assert damaged(folder, whole[:at] + before[at:]) in (LONG, last)
        assert damaged(folder, before[:at] + whole[at:]) in (LONG, last)


@pytest.mark.parametrize("at", range(0, LONG_AT, 512))
def test_a_sector_or_page_of_zeros_costs_one_entry_at_most(folder, at):
    whole = saved(folder, JournalEntry(1, 2), FULL)
    for size in (512, 4096):
        zeroed = (whole[:at] + bytes(size) + whole[at + size :])[: len(whole)]
        assert damaged(folder, zeroed) in (FULL, JournalEntry(1, 2), JournalEntry())


def test_a_file_cut_anywhere_is_an_older_entry_or_none(folder):
    whole = saved(folder, JournalEntry(1, 2), LONG)
    for size in [*range(0, 400, 7), *range(4090, 4300, 7), *range(8190, len(whole), 997)]:
        assert damaged(folder, whole[:size]) in (LONG, JournalEntry(1, 2), JournalEntry())


def test_a_flipped_bit_anywhere_is_never_another_entry(folder):
    whole = saved(folder, FULL, LONG)
    for bit in random.Random(2).sample(range(len(whole) * 8), 300):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        Path(folder.path, LOCK_FILE).write_bytes(flipped)
        assert loaded(folder) in (LONG, FULL)


@pytest.mark.parametrize("junk", [b"x", b"pid 5 on host\n", b"{}" * 5000, b"\xff" * LONG_AT])
def test_what_somebody_else_has_written_there_is_none_with_a_warning(folder, junk):
    Path(folder.path, LOCK_FILE).write_bytes(junk)
    with heard() as log, Journal(folder) as file:
        assert file.entry == JournalEntry()
        file.write_now(FULL)
        assert peek(folder) == FULL
    assert log.events == [("warning", "journal_unreadable")]


def test_a_huge_file_is_neither_read_nor_kept(folder):
    saved(folder, FULL)
    with Path(folder.path, LOCK_FILE).open("r+b") as file:
        file.truncate(50 * MAX_ENTRY_BYTES)
    assert loaded(folder) == FULL
    with Journal(folder) as file:
        file.close()
    assert len(content(folder)) == LONG_AT


@pytest.mark.parametrize(
    "changes",
    [
        *({"sequence": value} for value in (2**64 - 1, 2**62, -1, 1.5, "1", None)),
        *({"sequence": 9, "at": at, "bytes": 5} for at in (1, 4096, 2**52, 2**63, 2**64 - 1)),
        *({"sequence": 9, "at": LONG_AT, "bytes": size} for size in (0, 2**40, 2**64 - 1)),
        {"sequence": 9, "format": 3},
    ],
)
def test_a_whole_slot_of_odd_numbers_neither_counts_nor_lasts(folder, changes):
    whole = saved(folder, FULL)
    head = orjson.dumps({"crc32": 0} | changes)
    slot = b"%08x %b\n" % (crc32(head), head)
    assert damaged(folder, whole[:SLOT_BYTES] + slot.ljust(SLOT_BYTES, b"\0")) == FULL


# --- what cannot be written ----------------------------------------------------------------------


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("x")])
def test_what_is_no_file_in_its_place_is_left_alone(folder, make):
    make(Path(folder.path, LOCK_FILE))
    with pytest.raises(errors.UnexpectedFileType), Journal(folder):
        pass


def test_a_file_with_a_second_name_is_never_written_to_nor_copied(folder):
    other = Path(folder.path, "precious")
    other.write_bytes(b"precious")
    os.link(other, Path(folder.path, LOCK_FILE))
    saved(folder, FULL)
    assert other.read_bytes() == b"precious"
    assert loaded(folder) == FULL
    assert b"precious" not in content(folder)


@pytest.mark.parametrize("entry", [FULL, LONG], ids=["short", "long"])
def test_a_journal_that_a_backup_has_linked_goes_on_in_a_file_of_its_own(folder, tmp_path, entry):
    before = saved(folder, JournalEntry(1, 2), entry)
    snapshot = tmp_path / "snapshot"
    os.link(tmp_path / LOCK_FILE, snapshot)
    assert peek(folder) == entry
    with Journal(folder) as journal:
        assert journal.entry == peek(folder) == entry
        with pytest.raises(errors.Locked), Journal(folder):
            pass
        journal.write_now(JournalEntry(5, 6))
    assert loaded(folder) == JournalEntry(5, 6)
    assert snapshot.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == [LOCK_FILE, "snapshot"]


def test_a_process_that_holds_the_linked_file_has_the_lock(folder, tmp_path):
    saved(folder, FULL)
    os.link(tmp_path / LOCK_FILE, tmp_path / "snapshot")
    with (tmp_path / "snapshot").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(errors.Locked), Journal(folder):
            pass
    assert loaded(folder) == FULL


def test_a_lock_of_a_file_that_was_replaced_meanwhile_is_no_lock(folder, monkeypatch):
    real = OpenFile.lock

    def replaced_first(file: OpenFile) -> None:
        monkeypatch.setattr(OpenFile, "lock", real)
        folder.write(LOCK_FILE, b"")
        real(file)

    monkeypatch.setattr(OpenFile, "lock", replaced_first)
    with Journal(folder) as journal:
        journal.write_now(FULL)
        assert peek(folder) == FULL


def test_without_room_for_a_file_of_its_own_a_linked_journal_is_not_forgotten(folder, monkeypatch):
    before = saved(folder, FULL)
    os.link(Path(folder.path, LOCK_FILE), Path(folder.path, "snapshot"))
    monkeypatch.setattr(
        Folder, "write_temporary", lambda *_: (_ for _ in ()).throw(errors.DiskFull)
    )
    with pytest.raises(errors.DiskFull), Journal(folder):
        pass
    assert content(folder) == before


def test_a_disk_at_fault_is_no_empty_journal(folder, monkeypatch):
    def failing(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    saved(folder, FULL)
    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(errors.VolumeFailed), Journal(folder):
        pass


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """This process may write no file beyond its first 100 bytes.

    As short a time as may be: pytest's own output may be a file.
    """
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_cannot_be_written_is_known_before_it_counts(folder):
    with Journal(folder) as file, pytest.raises(errors.FileSizeLimit), limited():
        file.write_ahead(JournalEntry())


def test_a_file_for_which_there_was_no_room_at_first_is_read_before_it_is_written(
    folder, monkeypatch
):
    saved(folder, FULL, FULL, JournalEntry(1, 2))
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "open_file", lambda *_: (_ for _ in ()).throw(errors.DiskFull))
        file = Journal(folder).__enter__()
        assert file.entry == JournalEntry()
    file.write_now(JournalEntry(3, 4))
    file.__exit__()
    assert loaded(folder) == JournalEntry(3, 4)


def test_one_process_at_a_time_has_the_file(folder):
    with Journal(folder), pytest.raises(errors.Locked), Journal(folder):
        pass
    with Journal(folder):
        pass
