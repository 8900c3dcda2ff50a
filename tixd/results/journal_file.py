"""The file `.tixd.lock` of an installation: by its kernel lock one process works here, and its
content is the journal.

In: an open installation folder. Out: the Journal, and the next one in its place. File: two slots of
a page each, written in turn and in place, then room for what fits in no slot. A slot is one line:
CRC-32, blank, JSON with a sequence number; the valid slot with the higher number counts. Rules:
`prepare` writes the next entry before the post, all but its CRC, which `commit` writes, so that a
journal that cannot be written is known in time; nothing that counts is ever overwritten, so a kill
or a torn page finds the entry before; no fsync, because a power cut may cost a repeated post.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self
from zlib import crc32

import orjson

from tixd import errors, logs
from tixd.directory import Folder, OpenFile
from tixd.reports.ages import LOCK_FILE
from tixd.results.journal import MAX_NAMES_BYTES, Journal, from_members, members

#: Name of the file; never unlinked, because workers of 0.1.0 on other hosts lock it too.
FILE_NAME = LOCK_FILE

#: A slot is a page: a write within one is done whole or not at all, whenever its process is killed.
SLOT_BYTES = 4096

#: Where what fits in no slot may begin.
LONG_AT = 2 * SLOT_BYTES

#: Longest entry: a list of names, each of its characters escaped, and as much again for all else.
MAX_ENTRY_BYTES = 4 * MAX_NAMES_BYTES

#: Largest sequence number and offset that are believed; adding to them overflows nothing.
_MAX_NUMBER = 2**53

#: In place of the CRC until the entry counts.
_PREPARED = b"--------"


@dataclass(frozen=True, slots=True)
class _Slot:
    """A slot that is whole: which one, its number, its JSON object.

    at, size_bytes: where the entry lies that did not fit into it; 0: it did.
    """

    index: int
    sequence: int
    members: dict[str, object]
    at: int = 0
    size_bytes: int = 0


class JournalFile:
    """Lock and journal of one open installation folder; a context manager, which holds the lock.

    Without room for the file there is neither; `prepare` tries again to make it.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._file: OpenFile | None = None
        self._has_room = False
        self._sequence = 0
        #: The slot that counts, and the one that was prepared, with its line.
        self._slot: _Slot | None = None
        self._next: _Slot | None = None
        self._line = b""

    def __enter__(self) -> Self:
        """Raises Locked where another process works here, NotPermitted, UnexpectedFileType, ..."""
        try:
            self._open()
        except errors.DiskFull:
            self._file = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _open(self) -> OpenFile:
        """Open and lock the file; raises DiskFull where there is no room for it."""
        try:
            file = self._folder.open_file(FILE_NAME)
        except errors.NotPermitted as error:
            if isinstance(error, errors.Immutable):
                raise
            raise errors.JournalNotPermitted(_owned(self._folder, error.detail)) from error
        self._file = file
        try:
            file.lock()
        except errors.VolumeError:
            self.__exit__()
            raise
        return file

    def _opened(self) -> OpenFile:
        """The file; made now where there was no room for it before, and read, if it is not new."""
        if self._file is None:
            file = self._open()
            self.load()
            return file
        return self._file

    def load(self) -> Journal:
        """The journal; an empty one where there is none that can be trusted (a warning).

        Raises errors.VolumeFailed where the disk is at fault.
        """
        if self._file is None:
            return Journal()
        slots = _slots(self._file.read(LONG_AT, 0), self._folder.path)
        self._sequence = slots[0].sequence if slots else 0
        self._slot, journal = _standing(slots, self._file.read, self._folder.path)
        return journal

    def prepare(self, journal: Journal) -> None:
        """Write the next entry, all but what makes it count.

        Raises errors.DiskFull, NotPermitted, ...: then it cannot be written, nor committed.
        """
        file = self._opened()
        index = self._lay_out(file, journal)
        file.write(_PREPARED + self._line[len(_PREPARED) :], index * SLOT_BYTES)

    def commit(self) -> None:
        """Make what was prepared the journal, at once."""
        self._write(self._line[: len(_PREPARED)])

    def save(self, journal: Journal) -> None:
        """Prepare and commit, where nothing happens between the two."""
        self._lay_out(self._opened(), journal)
        self._write(self._line)

    def trim(self) -> None:
        """Give back the room of an entry that did not fit into its slot, once it counts no more."""
        if self._file and self._slot and not self._slot.at:
            with contextlib.suppress(errors.VolumeError):
                if self._file.facts().st_size > LONG_AT:
                    self._file.truncate(LONG_AT)

    def _write(self, content: bytes) -> None:
        """Write the last bytes that make the next entry count."""
        if self._file is None or self._next is None:
            raise errors.InternalError("no journal was prepared")
        self._file.write(content, self._next.index * SLOT_BYTES)
        self._slot, self._sequence, self._next = self._next, self._next.sequence, None

    def _lay_out(self, file: OpenFile, journal: Journal) -> int:
        """Make the next slot and its line, and write what does not fit; returns its index."""
        self._make_room(file)
        index, sequence = 1 - self._slot.index if self._slot else 0, self._sequence + 1
        entry = orjson.dumps({"sequence": sequence, **members(journal)})
        self._line, at = _line(entry), 0
        if len(self._line) > SLOT_BYTES:
            at = self._write_long(file, entry)
            place = {"at": at, "bytes": len(entry), "crc32": crc32(entry)}
            self._line = _line(orjson.dumps({"sequence": sequence, **place}))
        self._next = _Slot(index, sequence, {}, at, len(entry) if at else 0)
        return index

    def _make_room(self, file: OpenFile) -> None:
        """See to it that both slots have their place on the disk."""
        if not self._has_room:
            size_bytes = file.facts().st_size
            if size_bytes < LONG_AT:
                file.write(bytes(LONG_AT - size_bytes), size_bytes)
            self._has_room = True

    def _write_long(self, file: OpenFile, entry: bytes) -> int:
        """Write an entry behind the slots; returns its offset."""
        if len(entry) > MAX_ENTRY_BYTES:
            raise errors.InternalError(f"a journal of {len(entry)} bytes")
        at = self._free(len(entry))
        file.write(entry, at)
        return at

    def _free(self, size_bytes: int) -> int:
        """Where so many bytes can be written without touching the entry that counts."""
        if self._slot and self._slot.at and self._slot.at < LONG_AT + size_bytes:
            return self._slot.at + self._slot.size_bytes
        return LONG_AT


def peek(folder: Folder) -> Journal:
    """The journal, without the lock and for reading alone."""
    try:
        file = folder.open_file(FILE_NAME, make=False)
    except errors.NotFound:
        return Journal()
    except (errors.NotPermitted, errors.UnexpectedFileType) as error:
        logs.warning("journal_unreadable", folder=folder.path, reason=str(error))
        return Journal()
    try:
        slots = _slots(file.read(LONG_AT, 0), folder.path)
        return _standing(slots, file.read, folder.path)[1]
    finally:
        file.close()


def _line(head: bytes) -> bytes:
    return b"%08x %b\n" % (crc32(head), head)


def _slots(pages: bytes, where: str) -> list[_Slot]:
    """The slots that are whole, the one that was written last first."""
    halves = pages[:SLOT_BYTES], pages[SLOT_BYTES:]
    slots = [slot for i, half in enumerate(halves) if (slot := _slot(i, half))]
    if not slots and not all(_is_unused(half) for half in halves):
        logs.warning("journal_unreadable", folder=where, reason="neither of its slots is whole")
    return sorted(slots, key=lambda slot: -slot.sequence)


def _is_unused(half: bytes) -> bool:
    """Whether the slot is as it was made, or its first entry was never committed."""
    return half.startswith(_PREPARED) or not half.strip(b"\0")


def _slot(index: int, half: bytes) -> _Slot | None:
    """The slot in these bytes; None where it is not whole."""
    checksum, _, head = half.partition(b"\n")[0].partition(b" ")
    if checksum != b"%08x" % crc32(head):
        return None
    try:
        stored = orjson.loads(head)
        numbers = [stored["sequence"], stored.get("at", 0), stored.get("bytes", 0)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if any(type(number) is not int or not 0 <= number < _MAX_NUMBER for number in numbers):
        return None
    return _Slot(index, numbers[0], stored, *numbers[1:])


def _standing(
    slots: list[_Slot], read: Callable[[int, int], bytes], where: str
) -> tuple[_Slot | None, Journal]:
    """The slot that counts and its journal: the newest one whose entry can be trusted."""
    for slot in slots:
        try:
            return slot, from_members(_entry(slot, read))
        except (ValueError, TypeError, KeyError) as error:
            logs.warning("journal_unreadable", folder=where, reason=str(error))
    return None, Journal()


def _entry(slot: _Slot, read: Callable[[int, int], bytes]) -> object:
    """The JSON object of the journal: the slot's own, or the one that it refers to."""
    if not slot.at:
        return slot.members
    if slot.at < LONG_AT or slot.size_bytes > MAX_ENTRY_BYTES:
        raise ValueError("an entry where tixd writes none")
    content = read(slot.size_bytes, slot.at)
    if crc32(content) != slot.members.get("crc32"):
        raise ValueError("a long list that is not whole")
    return orjson.loads(content)


def _owned(folder: Folder, detail: str) -> str:
    """The detail, and whose the file is."""
    try:
        facts = folder.facts(FILE_NAME)
    except errors.VolumeError:
        return detail
    return f"{detail}; owned by uid {facts.st_uid}, mode {stat.S_IMODE(facts.st_mode):04o}"
