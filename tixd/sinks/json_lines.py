"""The sink that appends records to a file, one JSON object a line.

In: messages in JSON. Out: lines, on the disk before they count as accepted; full files beside it
with a number each. Rules: a bundle stands there as a whole or not at all (what was written of it
is cut off again); nothing is held open, so that the file may be moved away at any time; the loop
does not wait for the disk: the executor of asyncio does.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import time
from collections.abc import Callable, Sequence

from tixd import errors, logs
from tixd.config.collector_settings import Format
from tixd.runtime import tasks
from tixd.sinks.base import OutboundMessage

#: How often it is looked whether the file could be written to.
PROBE_SECONDS = 10.0

#: Who may read the file: it holds names of people.
_MODE = 0o640


class LinesSink:
    """Appends to the file `path`; begins a new one at `max_bytes`, keeps `keep` full ones."""

    name = "file"
    format: Format = "json"

    def __init__(self, path: str, max_bytes: int, keep: int) -> None:
        self._path, self._max_bytes, self._keep = os.path.abspath(path), max_bytes, keep
        self._turn = asyncio.Lock()
        self._probing: asyncio.Task[None] | None = None
        self._told = ""
        self.last_confirmed_at: float | None = None

    async def start(self) -> None:
        """Look whether it can be written to from now on; raises CannotStart where it cannot."""
        if problem := await self._aside(self.probe):
            raise errors.CannotStart(f"file.path: {problem}")
        self.last_confirmed_at = time.monotonic()
        self._probing = tasks.start_loop(self._look_again_and_again, "probing of the file")

    async def stop(self) -> None:
        """End; nothing is open."""
        if self._probing:
            await tasks.end(self._probing)

    def unready_reason(self) -> str | None:
        """Return None after a problem too: the disk may have room for the next bundle."""
        return None

    def retry_now(self) -> None:
        """Do nothing, because every bundle is tried."""

    def check(self, messages: Sequence[OutboundMessage]) -> None:
        """Every record fits into a file."""

    async def publish(self, messages: Sequence[OutboundMessage]) -> None:
        """Append them, and return once they are on the disk; raises Unavailable."""
        text = b"".join(message.body + b"\n" for message in messages)
        async with self._turn:
            problem = await self._aside(lambda: self._append(text))
        self._tell(problem)
        if problem:
            raise errors.Unavailable(f"file: {problem}")

    async def _aside(self, work: Callable[[], str]) -> str:
        return await asyncio.get_running_loop().run_in_executor(None, work)

    def _tell(self, problem: str) -> None:
        """One line in the log per change of state."""
        if problem and problem != self._told:
            logs.error("file_not_written", file=self._path, reason=problem)
        if self._told and not problem:
            logs.info("file_written_again", file=self._path)
        self._told = problem
        if not problem:
            self.last_confirmed_at = time.monotonic()

    async def _look_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            async with self._turn:
                self._tell(await self._aside(self.probe))

    # --- in the executor, one call at a time ----------------------------------------------------

    def probe(self) -> str:
        """Why nothing can be appended; "" where it can, as far as looking tells."""
        try:
            os.close(self._opened())
            room = os.statvfs(os.path.dirname(self._path))
        except OSError as error:
            return f"{self._path}: {error.strerror}"
        return "" if room.f_bavail else f"{self._path}: no space left"

    def _append(self, text: bytes) -> str:
        """Append and sync; why that was not possible, or ""."""
        try:
            self._write(text)
        except OSError as error:
            return f"{self._path}: {error.strerror}"
        return ""

    def _opened(self) -> int:
        """The file, ours alone as long as it is open."""
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            os.close(file)
            raise
        return file

    def _write(self, text: bytes) -> None:
        file = self._opened()
        try:
            size = os.fstat(file).st_size
            if size and size + len(text) > self._max_bytes:
                self._set_aside()
                full, file, size = file, self._opened(), 0
                os.close(full)
            _append_whole(file, size, text)
            if not size:
                _sync_folder(self._path)
        finally:
            os.close(file)

    def _set_aside(self) -> None:
        """Give the full file the next number, and delete those that are too old."""
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


def _append_whole(file: int, size: int, text: bytes) -> None:
    """Write and sync all of it, or cut off what was written."""
    try:
        if size and os.pread(file, 1, size - 1) != b"\n":
            _write_all(file, b"\n")  # somebody died in the middle of a line
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
    """Have the file's name on the disk as well."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
