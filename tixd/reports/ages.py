"""How old files are by the clock of their volume, which may differ from the host's.

Rules: the volume's clock is the time of the installation's lock file, touched. Where it has jumped,
a file counts as young by the time before and after the jump. Where it cannot be read, a file has
settled once it has been unchanged for SETTLED_SECONDS.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from tixd import bounded, errors
from tixd.directory import Folder
from tixd.reports.model import LOCK_FILE

#: How long a report that cannot be used may still be on its way (the condenser writes in place).
SETTLED_SECONDS = 60.0

#: How long tixd waits for a report that is still changing.
AWAITED_SECONDS = 3600.0

#: Files that are remembered; where there are more, the oldest are forgotten.
MAX_REMEMBERED = 10_000

#: What changes with a file: its time in ns and its bytes; None: its stat fails.
_Mark = tuple[int, int] | None

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Ages:
    """What a worker process knows of the ages of files, from job to job."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset: float | None = None
        self._seen: dict[int, tuple[_Mark, float]] = {}
        self._awaited: dict[int, float] = {}

    def moments(self, folder: Folder) -> tuple[float, ...]:
        """Return the time on the folder's volume, () where that is unknown.

        There are two where its clock has jumped: with the jump and without it.
        """
        try:
            now = folder.touch(LOCK_FILE)
        except errors.VolumeError:
            return ()
        steady = self._monotonic()
        if self._offset is None:
            self._offset = now - steady
        return now, steady + self._offset

    def is_settled(self, folder: Folder, name: str, facts: os.stat_result | None) -> bool:
        """Return whether the file has not changed for SETTLED_SECONDS.

        facts: None where its stat fails. A time far in the future does not mean that it changes.
        """
        moments = self.moments(folder) if facts else ()
        if facts and moments:
            return all(abs(now - facts.st_mtime) >= SETTLED_SECONDS for now in moments)
        return self._unchanged_seconds(f"{folder.path}/{name}", facts) >= SETTLED_SECONDS

    def was_awaited(self, folder: Folder, name: str) -> bool:
        """Return whether the file, not settled yet, was first awaited AWAITED_SECONDS ago."""
        now = self._monotonic()
        since = _remembered(self._awaited, hash(f"{folder.path}/{name}"), now)
        return now - since >= AWAITED_SECONDS

    def is_finished(self, folder: Folder, name: str) -> None:
        """Note that the file is no longer awaited."""
        if self._awaited:
            self._awaited.pop(hash(f"{folder.path}/{name}"), None)

    def _unchanged_seconds(self, path: str, facts: os.stat_result | None) -> float:
        """Return for how long this process has seen the file as it is now."""
        now = self._monotonic()
        mark = (facts.st_mtime_ns, facts.st_size) if facts else None
        before, since = _remembered(self._seen, hash(path), (mark, now))
        if before != mark:
            self._seen[hash(path)] = (mark, now)
            return 0.0
        return now - since


def _remembered(memory: dict[_Key, _Value], key: _Key, new: _Value) -> _Value:
    """Return what is remembered under `key`, from now on `new` where there is nothing yet."""
    value = memory.setdefault(key, new)
    bounded.forget_oldest(memory, MAX_REMEMBERED)
    return value
