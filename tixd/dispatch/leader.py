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

from tixd import errors

#: File in the schedule folder whose lock makes the leader.
LOCK_FILE = "tixd-leader.lock"

#: Longest description of a leader that is read.
_LONGEST_BYTES = 200


class Leadership:
    """The lock of one schedule folder; a context manager that lets go of it at the end."""

    def __init__(self, folder: str) -> None:
        """Open (and make) the folder; raises CannotStart where that fails."""
        try:
            os.makedirs(folder, exist_ok=True)
            self._fd = _opened(os.path.join(folder, LOCK_FILE))
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
        """Become the leader if nobody is; whether this process is the leader now."""
        if not self.is_free():
            return False
        with contextlib.suppress(OSError):  # a full disk makes no difference to the lock
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        return True

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
