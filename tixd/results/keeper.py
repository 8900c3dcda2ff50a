"""The journal of an installation during one job: what is on disk, what is prepared, what holds.

In: what is to be deleted, and what is known of the window and the pauses. Out: the same on disk.
Rules: a list of names is on disk before the first of them is deleted; on a full disk the work goes
on without (counted), because a list that cannot be written is no reason to lose a result.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tixd import errors
from tixd.folder import Folder
from tixd.results import journal
from tixd.results.backoff import Backoff
from tixd.results.journal import Journal


class JournalKeeper:
    """Writes the journal of one open installation folder."""

    def __init__(self, folder: Folder, tally: Counter[str]) -> None:
        self._folder = folder
        self._tally = tally
        self._stored = journal.load(folder)
        self._prepared: Journal | None = None
        self.entry = self._stored

    def finish_deletions(self) -> None:
        """A job that was killed while it deleted has left a list: delete exactly these names."""
        for name in self.entry.names:
            self._tally["reports_deleted"] += self._folder.unlink(name)

    def set_backoff(self, backoff: Backoff) -> None:
        """Remember pauses and refusals; they are on disk with the next entry."""
        self.entry = replace(self.entry, backoff=backoff)

    def prepare(self, entry: Journal) -> None:
        """Write the next entry beside the present one, so that a full disk is known in time."""
        self.entry = entry
        try:
            journal.prepare(self._folder, entry)
            self._prepared = entry
        except errors.DiskFull:
            self._prepared = None

    def abandon(self) -> None:
        """Forget what was prepared: its result is not safe."""
        self._prepared = None
        journal.abandon(self._folder)

    def commit(self, entry: Journal) -> None:
        """Make `entry` the journal; prepares it first where it is not what was prepared."""
        if entry != self._prepared:
            self.prepare(entry)
        if self._prepared:
            journal.commit(self._folder)
            self._stored, self._prepared = self._prepared, None
        elif entry.names:
            self._tally["journals_without_room"] += 1

    def close(self) -> None:
        """Keep what has changed; an empty list, so that a report restored by hand is a new one."""
        last = replace(self.entry, names=())
        if last == self._stored:
            return
        names_alone = last == replace(self._stored, names=())
        if not (names_alone and journal.strike_names(self._folder, self._stored)):
            self.commit(last)
