"""The sink that appends records to a file, one JSON object a line.

A bundle stands there as a whole or not at all: a part that was written is cut off again. It counts
as accepted once it is on the disk. Nothing is held open, so the file may be moved away at any time,
and a kernel lock lets several collectors append to one file.
Full files are renamed with a number each. Only a thread waits for the disk, and only one: where the
disk hangs, bundles wait for it and give up at their deadline.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Sequence

from tixd import errors, logs
from tixd.config.collector_settings import Format
from tixd.directory import lock
from tixd.runtime import tasks
from tixd.sinks.base import OutboundMessage

#: How often the sink checks that the file can be written to.
PROBE_SECONDS = 10.0

#: Mode of the file: it holds names of people.
_MODE = 0o640


class LinesSink:
    """Appends to the file `path`; begins a new one at `max_bytes`, keeps `keep` full ones."""

    name = "file"
    format: Format = "json"

    def __init__(self, path: str, max_bytes: int, keep: int) -> None:
        self._path = self.target = os.path.abspath(path)
        self._max_bytes = max_bytes
        self._keep = keep
        self._turn = asyncio.Lock()
        self._in_thread: asyncio.Future[str | None] | None = None
        self._probing: asyncio.Task[None] | None = None
        self._logged: str | None = None
        self.last_confirmed_at: float | None = None

    async def start(self) -> None:
        """Check that it can be written to, from now on; raises CannotStart where it cannot."""
        if problem := await self._run_in_thread(self.probe):
            raise errors.CannotStart(f"file.path: {problem}")
        self.last_confirmed_at = time.monotonic()
        self._probing = tasks.start_loop(self._probe_repeatedly, "probing of the file")

    async def stop(self) -> None:
        """End; nothing is open."""
        if self._probing:
            await tasks.end(self._probing)

    def unready_reason(self) -> str | None:
        """Return None: after any problem the disk may have room for the next bundle."""
        return None

    def retry_now(self) -> None:
        """Do nothing: each bundle is a try."""

    def check(self, messages: Sequence[OutboundMessage]) -> None:
        """Accept every record: a file takes any size."""

    async def publish(self, messages: Sequence[OutboundMessage]) -> None:
        """Append them, and return once they are on the disk; raises Unavailable."""
        text = b"".join(message.body + b"\n" for message in messages)
        problem = await self._run_in_thread(lambda: self._append(text))
        self._record(problem)
        if problem:
            raise errors.Unavailable(f"file: {problem}")

    async def _run_in_thread(self, work: Callable[[], str | None]) -> str | None:
        """Run the work after that of a caller that gave up, which may hang for long."""
        async with self._turn:
            if self._in_thread:
                await asyncio.wait([self._in_thread])
            self._in_thread = tasks.in_thread(work, "file")
            return await asyncio.shield(self._in_thread)

    def _record(self, problem: str | None) -> None:
        """Log one line per change of state."""
        if problem and problem != self._logged:
            logs.error("file_not_written", file=self._path, reason=problem)
        if self._logged and not problem:
            logs.info("file_written_again", file=self._path)
        self._logged = problem
        if not problem:
            self.last_confirmed_at = time.monotonic()

    async def _probe_repeatedly(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            self._record(await self._run_in_thread(self.probe))

    # --- in the thread --------------------------------------------------------------------------

    def probe(self) -> str | None:
        """Return why nothing can be appended, as far as looking tells; None where it can."""
        try:
            os.close(self._open())
            room = os.statvfs(os.path.dirname(self._path))
        except OSError as error:
            return f"{self._path}: {error.strerror}"
        return None if room.f_bavail else f"{self._path}: no space left"

    def _append(self, text: bytes) -> str | None:
        """Append and sync; return why that was not possible."""
        try:
            self._write(text)
        except OSError as error:
            return f"{self._path}: {error.strerror}"
        return None

    def _open(self) -> int:
        """Open the file and lock it for as long as it is open.

        Another process may have renamed it, and even deleted it, before the lock was free.
        """
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
            try:
                lock(file, wait=True)
                if _has_name(file, self._path):
                    return file
            except OSError:
                os.close(file)
                raise
            os.close(file)

    def _write(self, text: bytes) -> None:
        file = self._open()
        try:
            size = os.fstat(file).st_size
            if size and size + len(text) > self._max_bytes:
                self._rotate()
                full, file = file, self._open()
                os.close(full)
                size = os.fstat(file).st_size  # another process may have been first
            _append_whole(file, size, text)
            if not size:
                _sync_folder(self._path)
        finally:
            os.close(file)

    def _rotate(self) -> None:
        """Rename the full file to the next number, and delete the surplus of old ones."""
        folder, name = os.path.split(self._path)
        full = re.compile(re.escape(name) + r"\.([0-9]{1,18})")
        numbers = sorted(int(m[1]) for m in map(full.fullmatch, os.listdir(folder)) if m)
        os.rename(self._path, f"{self._path}.{(numbers or [0])[-1] + 1}")
        surplus = len(numbers) + 1 - self._keep if self._keep else 0
        for number in numbers[: max(0, surplus)]:
            old = f"{self._path}.{number}"
            try:
                os.unlink(old)
            except OSError as error:  # no reason to refuse a bundle
                logs.warning("file_not_deleted", file=old, reason=error.strerror)


def _has_name(file: int, path: str) -> bool:
    """Return whether the open file is the one that the path leads to now."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _append_whole(file: int, size: int, text: bytes) -> None:
    """Write and sync all of it, or cut off the part that was written."""
    try:
        if size and os.pread(file, 1, size - 1) != b"\n":
            _write_all(file, b"\n")  # a crash left half a line
        _write_all(file, text)
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise


def _write_all(file: int, text: bytes) -> None:
    rest = memoryview(text)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_folder(path: str) -> None:
    """Sync the name of a new file as well."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
