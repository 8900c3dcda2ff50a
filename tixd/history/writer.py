"""Write entries into the history: a bounded queue, one thread, a commit a second.

Rules: `put` never waits and never fails; while the file cannot be used, entries wait, and beyond a
limit the oldest are dropped and counted; there is one warning per change of state, and work goes on
as without a history.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from tixd import bounded, errors, logs
from tixd.history import store
from tixd.history.store import Limits, Part
from tixd.runtime import signal_masks
from tixd.runtime.status import HistoryView

#: How often entries are committed.
COMMIT_SECONDS = 1.0

#: How many entries may wait while the file cannot be used.
MAX_WAITING = 50_000

#: Pause before the file is tried again.
RETRY_SECONDS = 5.0

#: How often the size is checked.
LIMIT_SECONDS = 60.0

#: How often the summary is made anew.
SUMMARY_SECONDS = 5.0

#: How long the last entries may take at the end.
STOP_SECONDS = 3.0

#: An entry, and the name of its part.
_Waiting = tuple[str, Any]


class HistoryWriter:
    """The history of one process, while its thread runs."""

    def __init__(
        self,
        path: str,
        parts: Sequence[Part],
        limits: Limits,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make it; nothing is opened before `start`. clock: epoch seconds."""
        self.path = path
        self._parts = {part.name: part for part in parts}
        self._limits = limits
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._dropped = 0
        self._written = 0
        self._reason = ""
        self._size_bytes = 0
        self._summary: Mapping[str, Any] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        # Of the thread alone:
        self._limiter = logs.RateLimiter()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._retry_at = 0.0
        self._limit_at = 0.0
        self._summary_at = 0.0

    # --- in the role's thread --------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, part: str, entry: Any) -> None:
        """Put an entry of this part; it is written with the next commit."""
        if len(self._waiting) >= MAX_WAITING:
            self._drop_oldest()
        self._waiting.append((part, entry))

    async def stop(self) -> None:
        """Write what waits and close the file; a volume that hangs is not waited for."""
        self._stopping.set()
        ends = time.monotonic() + STOP_SECONDS
        while self._thread.is_alive() and time.monotonic() < ends:
            await asyncio.sleep(0.01)

    def view(self) -> HistoryView:
        """Return where it stands."""
        return HistoryView(
            file=self.path,
            reason=self._reason,
            written=self._written,
            dropped=self._dropped,
            size_bytes=self._size_bytes,
            summary=self._summary,
        )

    def _drop_oldest(self) -> None:
        with contextlib.suppress(IndexError):  # the thread may just have taken it
            self._waiting.popleft()
            self._dropped += 1

    # --- in its own thread -----------------------------------------------------------------------

    def _run(self) -> None:
        signal_masks.leave_to_main_thread()
        is_last = False
        while not is_last:
            is_last = self._stopping.wait(COMMIT_SECONDS)
            try:
                self._step()
            except Exception as error:  # noqa: BLE001 - nothing about the history ends its thread
                self._failed(error)
        self._close()

    def _step(self) -> None:
        """Commit what waits; look after the limits and the summary when it is time."""
        now = time.monotonic()
        if now < self._retry_at and not self._stopping.is_set():
            return
        connection = self._opened()
        self._write(connection, self._take())
        if now >= self._limit_at:
            store.keep_within(connection, [*self._parts.values()], self._limits, int(self._clock()))
            self._limit_at = now + LIMIT_SECONDS
        if now >= self._summary_at:
            self._summarise(connection)
            self._summary_at = now + SUMMARY_SECONDS
        if self._reason:
            logs.info("history_usable", file=self.path, dropped=self._dropped)
            self._reason = ""

    def _opened(self) -> sqlite3.Connection:
        """Return the open file; opened anew where another one has its name now."""
        if self._connection and self._inode != _inode(self.path):
            self._close()
            logs.warning("history_replaced", file=self.path)
        if self._connection is None:
            self._connection = store.open_for_writing(self.path, [*self._parts.values()])
            self._inode = _inode(self.path)
        return self._connection

    def _take(self) -> list[_Waiting]:
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def _write(self, connection: sqlite3.Connection, batch: list[_Waiting]) -> None:
        """Write a batch; where it fails because of the file, it waits again."""
        if not batch:
            return
        try:
            self._commit(connection, batch)
        except Exception as error:
            if store.is_of_the_file(error):
                self._waiting.extendleft(reversed(batch))
                raise
            self._write_singly(connection, batch)
        else:
            self._written += len(batch)

    def _commit(self, connection: sqlite3.Connection, batch: list[_Waiting]) -> None:
        entries: dict[str, list[Any]] = {}
        for part, entry in batch:
            entries.setdefault(part, []).append(entry)
        with store.transaction(connection):
            for part, found in entries.items():
                self._parts[part].write(connection, found)

    def _write_singly(self, connection: sqlite3.Connection, batch: list[_Waiting]) -> None:
        """Write entries one by one, and drop those that cannot be written."""
        for at, waiting in enumerate(batch):
            try:
                self._commit(connection, [waiting])
            except Exception as error:
                if store.is_of_the_file(error):
                    self._waiting.extendleft(reversed(batch[at:]))
                    raise
                self._dropped += 1
                reason, now = bounded.error(error), self._clock()
                self._limiter.log(logs.warning, "history_entry_dropped", now=now, reason=reason)
            else:
                self._written += 1

    def _summarise(self, connection: sqlite3.Connection) -> None:
        now = int(self._clock())
        found = [part.summary(connection, now) for part in self._parts.values()]
        self._summary = {name: value for each in found for name, value in each.items()}
        self._size_bytes = store.size_bytes(self.path)

    # --- what goes wrong -------------------------------------------------------------------------

    def _failed(self, error: Exception) -> None:
        """Set a damaged file aside; else warn where the reason is new, and try again later."""
        self._close()
        if store.is_damage(error):
            try:
                aside = store.set_aside(self.path)
            except (OSError, errors.Unusable) as further:
                error = further
            else:
                logs.warning("history_set_aside", file=self.path, aside=aside)
                return
        reason = store.reason(error)
        if reason != self._reason:
            logs.warning("history_unusable", file=self.path, reason=reason)
        self._reason = reason
        self._retry_at = time.monotonic() + RETRY_SECONDS

    def _close(self) -> None:
        if self._connection:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _inode(path: str) -> int:
    """Return the inode number of the file; 0 where there is none."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


@contextlib.asynccontextmanager
async def running(writer: HistoryWriter | None) -> AsyncIterator[HistoryWriter | None]:
    """Run the writer, if there is one, while the block runs."""
    if writer is None:
        yield None
        return
    writer.start()
    try:
        yield writer
    finally:
        await writer.stop()
