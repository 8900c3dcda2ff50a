"""The journal of an installation during one job: what is on disk, what is prepared, what holds.

In: what is to be deleted, and what is known of the window and the pauses. Out: the same on disk.
Rules: it is proved before a post that the journal can be written, and a list of names is on disk
before the first of them is deleted. On a full disk the work goes on without (counted), because
deleting needs no room. A report that cannot be deleted stays in the list and is passed over, in
memory where the list cannot be written, so that its window is never posted again.

The journal of tixd 0.1.0, the file `.tixd.json`: taken over once, then removed.

In: an open installation folder. Out: its Journal. Rules: tix-time-processor reads every file whose
name ends in .json and dies of this one, so it goes as soon as its deletions are finished; what is
no regular file under this name is left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

import orjson

from tixd import bounded, errors
from tixd.directory import TEMPORARY_SUFFIX, Folder
from tixd.results.backoff import Backoff
from tixd.results.journal import MAX_LEFT, Journal, from_members
from tixd.results.journal_file import JournalFile

#: Name of the file that 0.1.0 makes, also while a 0.1.0 on another host still works here.
OLD_FILE_NAME = ".tixd.json"

#: Version of its format.
OLD_FORMAT = 1

#: A longer file is not read; the names of 60,000 reports fit.
MAX_OLD_BYTES = 2 * 2**20


def load_old(folder: Folder) -> tuple[Journal | None, str]:
    """The old journal, and why it cannot be trusted, "" where it can; None where there is none.

    Raises errors.VolumeError where it cannot be read, which leaves it where it is.
    """
    try:
        content = folder.load(OLD_FILE_NAME, MAX_OLD_BYTES)
        return from_members(orjson.loads(content), OLD_FORMAT), ""
    except errors.NotFound:
        return None, ""
    except errors.TooLong as error:
        return Journal(), error.detail
    except (ValueError, TypeError, KeyError) as error:
        return Journal(), str(error)


def remove_old(folder: Folder) -> None:
    """Remove the old journal, and what a killed 0.1.0 had begun to write."""
    folder.unlink(OLD_FILE_NAME + TEMPORARY_SUFFIX)
    folder.unlink(OLD_FILE_NAME)


#: Installations of which a worker remembers what it could not write; the oldest are forgotten.
MAX_REMEMBERED = 1000

#: Journals that could not be written, by the path of their installation: what a worker must not
#: forget as long as it lives.
Unwritten = dict[str, Journal]


class JournalKeeper:
    """Writes the journal of one open installation folder.

    warn: called with event, file name and reason, where something is left undone.
    """

    def __init__(
        self,
        folder: Folder,
        file: JournalFile,
        tally: Counter[str],
        unwritten: Unwritten,
        warn: Callable[[str, str, str], None],
    ) -> None:
        self._folder = folder
        self._file = file
        self._tally = tally
        self._unwritten = unwritten
        self._warn = warn
        self._stored = file.load()
        self._prepared: Journal | None = None
        #: What holds now; `names` are the reports that are still to be deleted.
        self.entry = _joined(unwritten.get(folder.path), self._stored)

    def finish_deletions(self) -> None:
        """A job that was killed while it deleted has left a list: delete exactly these names."""
        old = self._old()
        if old:
            self.entry = _joined(old, self.entry)
            self._save()
        self.delete(self.entry.names)
        if old:
            self._remove_old()

    def _old(self) -> Journal | None:
        """The journal of 0.1.0, if there is one."""
        try:
            old, reason = load_old(self._folder)
        except errors.VolumeError as error:
            self._warn("journal_unreadable", "", str(error))
            return None
        if reason:
            self._warn("journal_unreadable", "", reason)
        return old

    def _remove_old(self) -> None:
        try:
            remove_old(self._folder)
        except errors.VolumeError as error:
            self._warn("old_journal_left", "", str(error))

    def set_backoff(self, backoff: Backoff, accepted: Iterable[str]) -> None:
        """Remember pauses, refusals, and accepted results that could not be removed."""
        self.entry = replace(self.entry, backoff=backoff, accepted=tuple(sorted(accepted)))
        stored = self._stored
        if (self.entry.backoff, self.entry.accepted) != (stored.backoff, stored.accepted):
            self._save()

    def prove(self) -> None:
        """Make sure that the journal can be written before something is done for good."""
        if self._prepared is None:
            self._prepare(self.entry)

    def prepare(self, entry: Journal, names: tuple[str, ...]) -> None:
        """Write the next entry, with `names` to be deleted, but so that it does not count yet.

        Raises what makes it impossible, except a full disk.
        """
        self._prepare(self._with(entry, names))

    def commit(self, entry: Journal, names: tuple[str, ...]) -> None:
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
        """Keep what has changed; an empty list, so that a report restored by hand is a new one."""
        if self.entry != self._stored:
            self._save()
        self._file.trim()

    def _with(self, entry: Journal, names: tuple[str, ...]) -> Journal:
        return replace(entry, names=tuple(dict.fromkeys(self.entry.names + names)))

    def _is_gone(self, name: str) -> bool:
        """Delete the report; whether nothing of this name must be remembered any more."""
        try:
            self._tally["reports_deleted"] += self._folder.unlink(name)
        except errors.UnexpectedFileType as error:
            self._warn("report_not_deleted", name, str(error))  # a folder: never a report of ours
        except errors.VolumeError as error:
            self._tally["reports_not_deleted"] += 1
            self._warn("report_not_deleted", name, str(error))
            return False
        return True

    def _prepare(self, entry: Journal) -> None:
        try:
            self._file.prepare(entry)
            self._prepared = entry
        except errors.DiskFull:
            self._prepared = None

    def _save(self) -> None:
        """Write `entry`, or remember it where that cannot be done."""
        try:
            if self.entry == self._prepared:
                self._file.commit()
            else:
                self._file.save(self.entry)
        except errors.VolumeError as error:
            self._remember()
            if not isinstance(error, errors.DiskFull):
                raise
            self._tally["journals_without_room"] += bool(self.entry.names)
        else:
            self._stored = self.entry
            self._unwritten.pop(self._folder.path, None)
        finally:
            self._prepared = None

    def _remember(self) -> None:
        """Keep in memory what must not be done again, for as long as anything is left of it."""
        self._unwritten.pop(self._folder.path, None)
        if self.entry.names or self.entry.accepted:
            self._unwritten[self._folder.path] = self.entry
        bounded.forget_oldest(self._unwritten, MAX_REMEMBERED)


def _joined(one: Journal | None, other: Journal) -> Journal:
    """The one with the later window, and what is still to be deleted and removed by both."""
    if one is None:
        return other
    late = one if other == Journal() or (one.window or 0) > (other.window or 0) else other
    names = tuple(dict.fromkeys(one.names + other.names))
    return replace(late, names=names, accepted=tuple(sorted({*one.accepted, *other.accepted})))
