"""The journal of an installation during one job: the file `.tixd.lock`.

The file's kernel lock lets one process work here; its content lists what is finished. Steps of a
window: 1. prepare: the next entry is written, all but its CRC, so that a journal that cannot be
written is known before the post. 2. The result is posted or kept. 3. commit: the CRC is written, so
the names to delete count. 4. delete. 5. finish_deletions, by the next job, where step 4 was
interrupted. Killed between 2 and 3, the next job posts the same window again.

Rules: the current entry is never overwritten, so after a kill or a torn page the one before counts;
no fsync, because a power cut may cause a repeated post. On a full disk jobs run without a journal
(counted), because deleting needs no space. A report that cannot be deleted stays in the list and is
skipped, in memory where the list cannot be written, so that its window is never posted again.

tixd 0.1.0 had its journal in `.tixd.json`, which is imported once. tix-time-processor reads every
file whose name ends in .json and crashes on this one, so it is removed after its deletions.
"""

from __future__ import annotations

import contextlib
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Self

import orjson

from tixd import bounded, errors, logs
from tixd.directory import TEMPORARY_SUFFIX, Folder, OpenFile
from tixd.reports.model import LOCK_FILE
from tixd.results.backoff import Backoff
from tixd.results.journal_format import (
    LONG_AT,
    MAX_ENTRY_BYTES,
    MAX_LEFT,
    PREPARED,
    SLOT_BYTES,
    JournalEntry,
    Slot,
    entry_in,
    from_members,
    is_unused,
    lay_out,
    whole_slots,
)

#: Name of the file that 0.1.0 makes, also while a 0.1.0 on another host still works here.
OLD_FILE_NAME = ".tixd.json"

#: Version of its format.
OLD_FORMAT = 1

#: A longer file is not read; the names of 60,000 reports fit.
MAX_OLD_BYTES = 2 * 2**20

#: Installations of which a worker remembers what it could not write; the oldest are forgotten.
MAX_REMEMBERED = 1000

#: Entries that could not be written, by the path of their installation; a worker needs them until
#: it ends.
Unwritten = dict[str, JournalEntry]


def _warn(event: str, file: str, reason: str) -> None:
    logs.warning(event, file=file, reason=reason)


class Journal:
    """Lock and journal of one open installation folder; a context manager, which holds the lock.

    entry: the current one; its `names` are the reports that are still to be deleted. Without space
    for the file there is neither lock nor journal, until there is space to write one.
    """

    def __init__(
        self,
        folder: Folder,
        tally: Counter[str] | None = None,
        unwritten: Unwritten | None = None,
        warn: Callable[[str, str, str], None] = _warn,
    ) -> None:
        """Make it without opening anything.

        unwritten: entries that this worker could not write before; warn: called with event, file
        name and reason of what could not be done.
        """
        self._folder = folder
        self._tally = Counter[str]() if tally is None else tally
        self._unwritten: Unwritten = {} if unwritten is None else unwritten
        self._warn = warn
        self._file: OpenFile | None = None
        self._has_room = False
        #: The highest number of a slot so far, and the current slot, with its entry.
        self._sequence = 0
        self._slot: Slot | None = None
        self._stored = JournalEntry()
        #: The slot that was written ahead, all but its CRC, with its entry.
        self._next: tuple[Slot, JournalEntry] | None = None
        self.entry = self._stored

    def __enter__(self) -> Self:
        """Raise Locked where another process works here, NotPermitted, UnexpectedFileType, ..."""
        file = None
        with contextlib.suppress(errors.DiskFull):
            file = self._open()
        if file:
            self._separate(file)
        self.entry = _merged(self._unwritten.get(self._folder.path), self._stored)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()
            self._file = None

    # --- what a job does -------------------------------------------------------------------------

    def finish_deletions(self) -> None:
        """Delete the reports that a job had listed before it was killed while deleting them."""
        old = self._load_old()
        if old:
            self.entry = _merged(old, self.entry)
            self._save_or_remember()
        self.delete(self.entry.names)
        if old:
            self._remove_old()

    def set_backoff(self, backoff: Backoff, accepted: Iterable[str]) -> None:
        """Remember pauses, refusals, and accepted results that could not be removed."""
        now, stored = (backoff, tuple(sorted(accepted))), self._stored
        if now == (self.entry.backoff, self.entry.accepted) == (stored.backoff, stored.accepted):
            return
        self.entry = replace(self.entry, backoff=backoff, accepted=now[1])
        if (self.entry.backoff, self.entry.accepted) != (stored.backoff, stored.accepted):
            self._save_or_remember()

    def check_writable(self) -> None:
        """Raise what makes the journal unwritable, before a step that cannot be undone."""
        if self._next is None:
            self.prepare(self.entry, ())

    def prepare(self, entry: JournalEntry, names: tuple[str, ...]) -> None:
        """Write the next entry, with `names` to be deleted, without making it current.

        Raises what makes it impossible, except a full disk.
        """
        with contextlib.suppress(errors.DiskFull):
            self.write_ahead(self._with_names(entry, names))

    def commit(self, entry: JournalEntry, names: tuple[str, ...]) -> None:
        """Make `entry`, with `names` to be deleted, the current one.

        Raises what makes it impossible, except a full disk: then the entry is kept in memory.
        """
        self.entry = self._with_names(entry, names)
        self._save_or_remember()

    def delete(self, names: Iterable[str]) -> None:
        """Delete reports that the journal lists; one that cannot go stays in the list.

        Raises errors.NotDeleted where too many are left.
        """
        done = {name for name in names if self._is_gone(name)}
        left = tuple(name for name in self.entry.names if name not in done)
        if left != self.entry.names:
            self.entry = replace(self.entry, names=left)
        if self._folder.path in self._unwritten:
            self._remember()
        if len(left) > MAX_LEFT:
            raise errors.NotDeleted(f"{self._folder.path}: {len(left)} reports")

    def delete_unlisted(self, names: tuple[str, ...]) -> None:
        """Delete reports whose result is safe after `commit` has failed.

        The journal does not list them; those that cannot go are remembered in memory.
        """
        self.entry = self._with_names(self.entry, names)
        self._remember()
        self.delete(names)

    def close(self) -> None:
        """Write what has changed; once the list is empty, a report restored by hand is new."""
        if self.entry != self._stored:
            self._save_or_remember()
        self._trim()

    def _with_names(self, entry: JournalEntry, names: tuple[str, ...]) -> JournalEntry:
        return replace(entry, names=tuple(dict.fromkeys(self.entry.names + names)))

    def _is_gone(self, name: str) -> bool:
        """Delete the report; return whether its name can leave the list."""
        try:
            self._tally["reports_deleted"] += self._folder.unlink(name)
        except errors.UnexpectedFileType as error:
            self._warn("report_not_deleted", name, str(error))  # a folder is not a report
        except errors.VolumeError as error:
            self._tally["reports_not_deleted"] += 1
            self._warn("report_not_deleted", name, str(error))
            return False
        return True

    def _save_or_remember(self) -> None:
        """Write `entry` to the file, or keep it in memory where that fails."""
        try:
            self.write_now(self.entry)
        except errors.VolumeError as error:
            self._remember()
            if not isinstance(error, errors.DiskFull):
                raise
            self._tally["journals_without_room"] += bool(self.entry.names)
        else:
            self._unwritten.pop(self._folder.path, None)

    def _remember(self) -> None:
        """Keep `entry` in memory as long as it lists a report or an accepted result."""
        self._unwritten.pop(self._folder.path, None)
        if self.entry.names or self.entry.accepted:
            self._unwritten[self._folder.path] = self.entry
        bounded.forget_oldest(self._unwritten, MAX_REMEMBERED)

    # --- the file --------------------------------------------------------------------------------

    def _open(self) -> OpenFile:
        """Open, lock and read the file; raises DiskFull where there is no room for it."""
        try:
            file = self._file = self._folder.open_locked(LOCK_FILE)
        except errors.NotPermitted as error:
            if isinstance(error, errors.Immutable):
                raise
            raise errors.JournalNotPermitted(_owned(self._folder, error.detail)) from error
        try:
            self._read(file)
        except errors.VolumeError:
            self.__exit__()
            raise
        return file

    def _separate(self, file: OpenFile) -> OpenFile:
        """Copy the file where it has a second name (hard link), and return the copy.

        A backup may have linked it, or the name leads to another file: writing in place would
        change that one too, and two installations with one file would have one lock and one list of
        deletions. The shared file stays locked until the copy has the name.
        """
        if file.facts().st_nlink <= 1:
            return file
        self._file = None
        try:
            self._file = copy = self._make_copy()
        finally:
            file.close()
        return copy

    def _make_copy(self) -> OpenFile:
        """Replace the file by a locked one with the current entry."""
        slot, overflow = lay_out(self._stored, 1, None)
        content = slot.line.ljust(LONG_AT, b"\0") + overflow
        temporary = self._folder.write_temporary(LOCK_FILE, content)
        copy = self._folder.open_file(temporary)
        try:
            copy.lock()
            self._folder.rename(temporary, LOCK_FILE)
        except errors.VolumeError:
            copy.close()
            raise
        self._slot = slot
        self._sequence = slot.sequence
        return copy

    def _read(self, file: OpenFile) -> None:
        """Find the current slot; raises errors.VolumeFailed where the disk fails."""
        slots = _slots(file, self._folder.path)
        self._sequence = slots[0].sequence if slots else 0
        slot, entry = _current(slots, file, self._folder.path)
        self._slot = slot
        self._stored = entry

    def write_ahead(self, entry: JournalEntry) -> None:
        """Write `entry`, all but its CRC; `write_now` then needs only that.

        Raises errors.DiskFull, NotPermitted, ...: then `write_now` would fail, too.
        """
        file = self._file or self._separate(self._open())
        slot = self._lay_out(file, entry)
        file.write(PREPARED + slot.line[len(PREPARED) :], slot.index * SLOT_BYTES)
        self._next = slot, entry

    def write_now(self, entry: JournalEntry) -> None:
        """Write `entry` and make it current; one that was written ahead needs only its CRC.

        Raises errors.DiskFull, NotPermitted, ...: then the entry before stays current.
        """
        ahead = self._next
        self._next = None
        file = self._file or self._separate(self._open())
        if ahead and ahead[1] == entry:
            self._make_count(file, ahead[0], ahead[0].line[: len(PREPARED)])
        else:
            slot = self._lay_out(file, entry)
            self._make_count(file, slot, slot.line)
        self.entry = self._stored = entry

    def _make_count(self, file: OpenFile, slot: Slot, content: bytes) -> None:
        """Write the last bytes, which make a slot the current one."""
        file.write(content, slot.index * SLOT_BYTES)
        self._slot = slot
        self._sequence = slot.sequence

    def _lay_out(self, file: OpenFile, entry: JournalEntry) -> Slot:
        """Lay out the next slot, and write what does not fit into it."""
        self._next = None
        self._make_room(file)
        slot, overflow = lay_out(entry, self._sequence + 1, self._slot)
        if len(overflow) > MAX_ENTRY_BYTES:
            raise errors.InternalError(f"a journal of {len(overflow)} bytes")
        if overflow:
            file.write(overflow, slot.at)
        return slot

    def _make_room(self, file: OpenFile) -> None:
        """Extend the file, once, to the size of both slots."""
        if not self._has_room:
            size_bytes = file.facts().st_size
            if size_bytes < LONG_AT:
                file.write(bytes(LONG_AT - size_bytes), size_bytes)
            self._has_room = True

    def _trim(self) -> None:
        """Free the space of an entry that did not fit into its slot and is not current any more."""
        if self._file and self._slot and not self._slot.at:
            with contextlib.suppress(errors.VolumeError):
                if self._file.facts().st_size > LONG_AT:
                    self._file.truncate(LONG_AT)

    # --- the journal of 0.1.0 --------------------------------------------------------------------

    def _load_old(self) -> JournalEntry | None:
        """Return the entry of 0.1.0: an empty one if it is not trusted, None if there is none."""
        try:
            content = self._folder.load(OLD_FILE_NAME, MAX_OLD_BYTES)
            return from_members(orjson.loads(content), OLD_FORMAT)
        except errors.NotFound:
            return None
        except errors.TooLong as error:
            self._warn("journal_unreadable", "", error.detail)
        except errors.VolumeError as error:
            self._warn("journal_unreadable", "", str(error))
            return None  # it stays where it is
        except (ValueError, TypeError, KeyError) as error:
            self._warn("journal_unreadable", "", str(error))
        return JournalEntry()

    def _remove_old(self) -> None:
        """Remove it, and a temporary file of a killed 0.1.0."""
        try:
            self._folder.unlink(OLD_FILE_NAME + TEMPORARY_SUFFIX)
            self._folder.unlink(OLD_FILE_NAME)
        except errors.VolumeError as error:
            self._warn("old_journal_not_removed", "", str(error))


def peek(folder: Folder) -> JournalEntry:
    """Read the journal without the lock, for display only."""
    try:
        file = folder.open_file(LOCK_FILE, make=False)
    except errors.NotFound:
        return JournalEntry()
    except (errors.NotPermitted, errors.UnexpectedFileType) as error:
        logs.warning("journal_unreadable", folder=folder.path, reason=str(error))
        return JournalEntry()
    try:
        return _current(_slots(file, folder.path), file, folder.path)[1]
    finally:
        file.close()


def _slots(file: OpenFile, where: str) -> list[Slot]:
    """Return the valid slots, the latest first."""
    pages = file.read(LONG_AT, 0)
    slots = whole_slots(pages)
    if not slots and not is_unused(pages):
        logs.warning("journal_unreadable", folder=where, reason="neither of its slots is valid")
    return slots


def _current(slots: list[Slot], file: OpenFile, where: str) -> tuple[Slot | None, JournalEntry]:
    """Return the current slot and its entry: the newest one whose entry is valid."""
    for slot in slots:
        try:
            return slot, entry_in(slot, file.read)
        except (ValueError, TypeError, KeyError) as error:
            logs.warning("journal_unreadable", folder=where, reason=str(error))
    return None, JournalEntry()


def _merged(one: JournalEntry | None, other: JournalEntry) -> JournalEntry:
    """Return the entry with the later window, with the names and accepted results of both."""
    if one is None:
        return other
    late = one if other == JournalEntry() or (one.window or 0) > (other.window or 0) else other
    names = tuple(dict.fromkeys(one.names + other.names))
    return replace(late, names=names, accepted=tuple(sorted({*one.accepted, *other.accepted})))


def _owned(folder: Folder, detail: str) -> str:
    """Return the detail, with owner and mode of the file."""
    try:
        facts = folder.facts(LOCK_FILE)
    except errors.VolumeError:
        return detail
    return f"{detail}; owned by uid {facts.st_uid}, mode {stat.S_IMODE(facts.st_mode):04o}"
