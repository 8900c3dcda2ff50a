"""The journal of an installation during one job: the file `.tixd.lock`.

By the file's kernel lock one process works here; its content says what is done with. Rules: the
next entry is written before a post, all but its CRC, so that a journal that cannot be written is
known in time; a list of names counts before the first of them is deleted; what counts is never
overwritten, so a kill or a torn page leaves the entry before; no fsync, because a power cut may
cost a repeated post. On a full disk the work goes on without a journal (counted), because deleting
needs no room. A report that cannot be deleted stays in the list and is passed over, in memory where
the list cannot be written, so that its window is never posted again.

tixd 0.1.0 had its journal in `.tixd.json`, which is taken over once. tix-time-processor reads every
file whose name ends in .json and dies of this one, so it goes once its deletions are finished.
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

#: Entries that could not be written, by the path of their installation: what a worker must not
#: forget as long as it lives.
Unwritten = dict[str, JournalEntry]


def _warn(event: str, file: str, reason: str) -> None:
    logs.warning(event, file=file, reason=reason)


class Journal:
    """Lock and journal of one open installation folder; a context manager, which holds the lock.

    entry: what holds now; its `names` are the reports that are still to be deleted. Without room
    for the file there is neither lock nor journal, until there is room to write one.
    """

    def __init__(
        self,
        folder: Folder,
        tally: Counter[str] | None = None,
        unwritten: Unwritten | None = None,
        warn: Callable[[str, str, str], None] = _warn,
    ) -> None:
        """Make it without opening anything.

        unwritten: what this worker could not write before; warn: called with event, file name and
        reason, where something is left undone.
        """
        self._folder = folder
        self._tally = Counter[str]() if tally is None else tally
        self._unwritten: Unwritten = {} if unwritten is None else unwritten
        self._warn = warn
        self._file: OpenFile | None = None
        self._has_room = False
        #: The highest number of a slot so far, and the slot that counts, with its entry.
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
        self.entry = _joined(self._unwritten.get(self._folder.path), self._stored)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()
            self._file = None

    # --- what a job does -------------------------------------------------------------------------

    def finish_deletions(self) -> None:
        """Delete exactly the reports that a job has listed which was killed while it deleted."""
        old = self._load_old()
        if old:
            self.entry = _joined(old, self.entry)
            self._save()
        self.delete(self.entry.names)
        if old:
            self._remove_old()

    def set_backoff(self, backoff: Backoff, accepted: Iterable[str]) -> None:
        """Remember pauses, refusals, and accepted results that could not be removed."""
        self.entry = replace(self.entry, backoff=backoff, accepted=tuple(sorted(accepted)))
        stored = self._stored
        if (self.entry.backoff, self.entry.accepted) != (stored.backoff, stored.accepted):
            self._save()

    def prove(self) -> None:
        """Make sure that the journal can be written before something is done for good."""
        if self._next is None:
            self.prepare(self.entry, ())

    def prepare(self, entry: JournalEntry, names: tuple[str, ...]) -> None:
        """Write the next entry, with `names` to be deleted, but so that it does not count yet.

        Raises what makes it impossible, except a full disk.
        """
        with contextlib.suppress(errors.DiskFull):
            self.write_ahead(self._with(entry, names))

    def commit(self, entry: JournalEntry, names: tuple[str, ...]) -> None:
        """Make `entry`, with `names` to be deleted, the journal, at once.

        Raises what makes it impossible, except a full disk; then it is remembered in memory.
        """
        self.entry = self._with(entry, names)
        self._save()

    def delete(self, names: Iterable[str]) -> None:
        """Delete reports that the journal lists; one that cannot go stays in the list.

        Raises errors.NotDeleted where too many are left.
        """
        done = {name for name in names if self._is_gone(name)}
        left = tuple(name for name in self.entry.names if name not in done)
        self.entry = replace(self.entry, names=left)
        if self._folder.path in self._unwritten:
            self._remember()
        if len(left) > MAX_LEFT:
            raise errors.NotDeleted(f"{self._folder.path}: {len(left)} reports")

    def delete_unlisted(self, names: tuple[str, ...]) -> None:
        """Delete reports whose result is safe after `commit` has failed.

        The journal does not list them; those that cannot go are remembered in memory.
        """
        self.entry = self._with(self.entry, names)
        self._remember()
        self.delete(names)

    def close(self) -> None:
        """Save what has changed; with an empty list a report restored by hand is a new one."""
        if self.entry != self._stored:
            self._save()
        self._trim()

    def _with(self, entry: JournalEntry, names: tuple[str, ...]) -> JournalEntry:
        return replace(entry, names=tuple(dict.fromkeys(self.entry.names + names)))

    def _is_gone(self, name: str) -> bool:
        """Delete the report; whether nothing of this name must be remembered any more."""
        try:
            self._tally["reports_deleted"] += self._folder.unlink(name)
        except errors.UnexpectedFileType as error:
            self._warn("report_not_deleted", name, str(error))  # a folder is no report
        except errors.VolumeError as error:
            self._tally["reports_not_deleted"] += 1
            self._warn("report_not_deleted", name, str(error))
            return False
        return True

    def _save(self) -> None:
        """Write `entry`, or remember it where that cannot be done."""
        try:
            self.save(self.entry)
        except errors.VolumeError as error:
            self._remember()
            if not isinstance(error, errors.DiskFull):
                raise
            self._tally["journals_without_room"] += bool(self.entry.names)
        else:
            self._unwritten.pop(self._folder.path, None)

    def _remember(self) -> None:
        """Keep in memory what must not be done again, for as long as anything is left of it."""
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
        """Go on in a file of our own where this one has a second name (hard link).

        A backup may have linked it, or the name was given to another file: to write in place would
        change that one too, and two installations with one file would have one lock and one list of
        deletions. The shared file stays locked until the new one has the name.
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
        """Put a locked file with the entry that counts in place of the one that is there."""
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
        """Find the slot that counts; raises errors.VolumeFailed where the disk is at fault."""
        slots = _slots(file, self._folder.path)
        self._sequence = slots[0].sequence if slots else 0
        slot, entry = _current(slots, file, self._folder.path)
        self._slot = slot
        self._stored = entry

    def write_ahead(self, entry: JournalEntry) -> None:
        """Write `entry`, all but what makes it count.

        Raises errors.DiskFull, NotPermitted, ...: then it cannot be written, nor saved.
        """
        file = self._file or self._separate(self._open())
        slot = self._lay_out(file, entry)
        file.write(PREPARED + slot.line[len(PREPARED) :], slot.index * SLOT_BYTES)
        self._next = slot, entry

    def save(self, entry: JournalEntry) -> None:
        """Make `entry` the journal, at once; one that was written ahead needs only its CRC.

        Raises errors.DiskFull, NotPermitted, ...: then what was the journal before still is.
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
        """Write the last bytes that make a slot count."""
        file.write(content, slot.index * SLOT_BYTES)
        self._slot = slot
        self._sequence = slot.sequence

    def _lay_out(self, file: OpenFile, entry: JournalEntry) -> Slot:
        """Make the next slot, and write what does not fit into it."""
        self._next = None
        self._make_room(file)
        slot, overflow = lay_out(entry, self._sequence + 1, self._slot)
        if len(overflow) > MAX_ENTRY_BYTES:
            raise errors.InternalError(f"a journal of {len(overflow)} bytes")
        if overflow:
            file.write(overflow, slot.at)
        return slot

    def _make_room(self, file: OpenFile) -> None:
        """See to it that both slots have their place on the disk."""
        if not self._has_room:
            size_bytes = file.facts().st_size
            if size_bytes < LONG_AT:
                file.write(bytes(LONG_AT - size_bytes), size_bytes)
            self._has_room = True

    def _trim(self) -> None:
        """Give back the room of an entry that did not fit into its slot, once it counts no more."""
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
            return None  # it is left where it is
        except (ValueError, TypeError, KeyError) as error:
            self._warn("journal_unreadable", "", str(error))
        return JournalEntry()

    def _remove_old(self) -> None:
        """Remove it, and what a killed 0.1.0 had begun to write."""
        try:
            self._folder.unlink(OLD_FILE_NAME + TEMPORARY_SUFFIX)
            self._folder.unlink(OLD_FILE_NAME)
        except errors.VolumeError as error:
            self._warn("old_journal_not_removed", "", str(error))


def peek(folder: Folder) -> JournalEntry:
    """Read the journal without the lock, for looking alone."""
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
    """Return the slots that are whole, the one that was written last first."""
    pages = file.read(LONG_AT, 0)
    slots = whole_slots(pages)
    if not slots and not is_unused(pages):
        logs.warning("journal_unreadable", folder=where, reason="neither of its slots is whole")
    return slots


def _current(slots: list[Slot], file: OpenFile, where: str) -> tuple[Slot | None, JournalEntry]:
    """Return the slot that counts and its entry: the newest one whose entry can be trusted."""
    for slot in slots:
        try:
            return slot, entry_in(slot, file.read)
        except (ValueError, TypeError, KeyError) as error:
            logs.warning("journal_unreadable", folder=where, reason=str(error))
    return None, JournalEntry()


def _joined(one: JournalEntry | None, other: JournalEntry) -> JournalEntry:
    """Return the one with the later window, and what is still to be deleted and removed by both."""
    if one is None:
        return other
    late = one if other == JournalEntry() or (one.window or 0) > (other.window or 0) else other
    names = tuple(dict.fromkeys(one.names + other.names))
    return replace(late, names=names, accepted=tuple(sorted({*one.accepted, *other.accepted})))


def _owned(folder: Folder, detail: str) -> str:
    """Return the detail, and whose the file is."""
    try:
        facts = folder.facts(LOCK_FILE)
    except errors.VolumeError:
        return detail
    return f"{detail}; owned by uid {facts.st_uid}, mode {stat.S_IMODE(facts.st_mode):04o}"
