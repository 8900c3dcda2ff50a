"""Exactly one process schedules: a kernel lock in the schedule folder.

In: the schedule folder. Out: the lock held, or who holds it. Rules: the kernel frees the lock
however its holder ends, so there is no time-out and no stale lock; what the file says is only for
people.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from typing import Self

from tixd import errors, logs

#: File in the schedule folder whose lock makes the leader.
LOCK_FILE = "tixd-leader.lock"

#: Longest description of a leader that is read.
_LONGEST_BYTES = 200


class HostLock:
    """The lock of one schedule folder; a context manager that lets go of it at the end."""

    def __init__(self, folder: str) -> None:
        """Open (and make) the folder; raises CannotStart where that fails."""
        self._path = os.path.join(folder, LOCK_FILE)
        self._fd = self._opened()

    def _opened(self) -> int:
        folder = os.path.dirname(self._path)
        try:
            os.makedirs(folder, exist_ok=True)
            return _opened(self._path)
        except OSError as error:
            raise errors.CannotStart(f"schedule folder {folder}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def is_free(self) -> bool:
        """Whether nobody else leads; if so nobody else can, until this is closed."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def take(self) -> bool:
        """Become the leader if nobody is; whether this process is the leader now.

        Raises CannotStart where the folder was removed and cannot be made again.
        """
        self._follow()
        if not self.is_free() or self._was_removed():
            return False
        with contextlib.suppress(OSError):  # a full disk makes no difference to the lock
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        return True

    def keep(self) -> None:
        """Lock anew where the file was removed; raises CannotStart where another leads by now."""
        if not self._was_removed():
            return
        if not self.take():
            raise errors.CannotStart(f"{self._path} was removed, and another process leads by now")
        logs.warning("leader_lock_replaced", file=self._path)

    def _follow(self) -> None:
        """Open the file that is there now, if it is another one."""
        if self._was_removed():
            before, self._fd = self._fd, self._opened()
            os.close(before)

    def _was_removed(self) -> bool:
        """Whether the locked file is no longer the one that others would lock."""
        ours = os.fstat(self._fd)
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return True
        return (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino)

    def leader(self) -> str:
        """Who leads, in words; what it wrote when it became the leader."""
        text = os.pread(self._fd, _LONGEST_BYTES, 0).decode("utf-8", "replace").strip()
        return text if text.isprintable() else ""


def _opened(path: str) -> int:
    """The lock file, made if it is missing; raises OSError.

    One that another user has made can be locked too, and is then the same leader's lock.
    """
    flags = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_RDWR, 0o644)
    except PermissionError:
        return os.open(path, flags | os.O_RDONLY, 0o644)
