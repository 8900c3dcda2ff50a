"""One open directory, and the few file operations that tixd makes in it.

In: a path, or a name below an open folder. Out: bytes, names, file facts.
Rules: every name is relative to the descriptor, so nothing moves underneath; links below the
reports base are never followed; a file appears whole or not at all (temporary file, rename);
an OSError leaves here as one of our volume errors.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple, Self

from tixd import errors

#: Ending of a file that is being written; a leftover is overwritten or removed, never read.
TEMPORARY_SUFFIX = ".tmp"

#: How a file is opened to be read: no link is followed, and a FIFO does not block.
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_MEANING: dict[int, type[errors.VolumeError]] = {
    errno.ENOSPC: errors.DiskFull,
    errno.EDQUOT: errors.DiskFull,
    errno.EROFS: errors.ReadOnlyVolume,
    errno.EACCES: errors.NotPermitted,
    errno.EPERM: errors.NotPermitted,
    errno.ENOENT: errors.Vanished,
    errno.ELOOP: errors.WrongKind,
    errno.ENOTDIR: errors.WrongKind,
    errno.EISDIR: errors.WrongKind,
    errno.EWOULDBLOCK: errors.Locked,
}


class _Translated:
    """Within this block an OSError about `what` becomes the volume error that it means.

    As a generator it would cost more than some of the system calls it stands around.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            kind = _MEANING.get(error.errno or 0, errors.VolumeFailed)
            raise kind(f"{self._what}: {error.strerror}") from error


class Entry(NamedTuple):
    """A name in a folder and what it is, by its own type (links are not followed)."""

    name: str
    is_file: bool
    is_folder: bool


class Folder:
    """An open directory descriptor; use as a context manager."""

    __slots__ = ("fd", "path")
    fd: int
    path: str

    def __init__(self, path: str, *, within: Folder | None = None, follow: bool = False) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        self.path = os.path.join(within.path, path) if within else path
        with _Translated(self.path):
            self.fd = os.open(path, flags, dir_fd=within.fd if within else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; the folder cannot be used afterwards."""
        os.close(self.fd)

    def subfolder(self, name: str, *, create: bool = False) -> Folder:
        """Open the folder `name` in this one; with `create`, make it first if it is missing."""
        if create:
            with _Translated(f"{self.path}/{name}"), contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o770, dir_fd=self.fd)
        return Folder(name, within=self)

    def entries(self) -> list[Entry]:
        """Everything in the folder, unsorted."""
        with _Translated(self.path), os.scandir(self.fd) as found:
            return [
                Entry(e.name, e.is_file(follow_symlinks=False), e.is_dir(follow_symlinks=False))
                for e in found
            ]

    def was_deleted(self) -> bool:
        """Whether it has no name any more: a mount of it shows it still, empty for ever."""
        with _Translated(self.path):
            return os.fstat(self.fd).st_nlink == 0

    def facts(self, name: str) -> os.stat_result:
        """The stat of `name` itself, not of what it may point to."""
        with _Translated(f"{self.path}/{name}"):
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def free_bytes(self) -> int:
        """Bytes that are free for this process on the folder's volume."""
        with _Translated(self.path):
            volume = os.fstatvfs(self.fd)
        return volume.f_bavail * volume.f_frsize

    def read(self, name: str, limit_bytes: int) -> tuple[bytes, os.stat_result]:
        """Content and facts of the regular file `name`.

        Where the file is larger than `limit_bytes` nothing is read: the content is empty.
        """
        with _Translated(f"{self.path}/{name}"):
            fd = os.open(name, _READ_FLAGS, dir_fd=self.fd)
            try:
                facts = os.fstat(fd)
                if not stat.S_ISREG(facts.st_mode):
                    raise OSError(errno.EISDIR, "not a regular file")
                return (_read_up_to(fd, limit_bytes, facts.st_size), facts)
            finally:
                os.close(fd)

    def exists(self, name: str) -> bool:
        """Whether the name is taken, by whatever."""
        try:
            self.facts(name)
        except errors.Vanished:
            return False
        return True

    def unlink(self, name: str) -> bool:
        """Delete the file `name`; False where it was gone already."""
        try:
            with _Translated(f"{self.path}/{name}"):
                os.unlink(name, dir_fd=self.fd)
        except errors.Vanished:
            return False
        return True

    def rename(self, name: str, new_name: str, *, to: Folder | None = None) -> None:
        """Rename within the folder or into another one; an existing `new_name` is replaced."""
        with _Translated(f"{self.path}/{name}"):
            target = (to or self).fd
            os.rename(name, new_name, src_dir_fd=self.fd, dst_dir_fd=target)

    def write_temporary(self, name: str, content: bytes, *, durable: bool = False) -> str:
        """Write `content` beside where `name` will be; returns the temporary file's name.

        A half-written temporary file is removed before the error leaves.
        """
        temporary = name + TEMPORARY_SUFFIX
        with _Translated(f"{self.path}/{temporary}"):
            fd = self._created(temporary)
            try:
                _write_all(fd, content)
                if durable:
                    os.fsync(fd)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=self.fd)
                raise
            finally:
                os.close(fd)
        return temporary

    def _created(self, name: str) -> int:
        """Make the file `name` anew; a leftover goes first, whatever it is: a FIFO would block."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(name, flags, 0o660, dir_fd=self.fd)
        except FileExistsError:
            os.unlink(name, dir_fd=self.fd)
            return os.open(name, flags, 0o660, dir_fd=self.fd)

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        """Replace `name` by `content` at once; `durable` makes it survive a power cut."""
        self.rename(self.write_temporary(name, content, durable=durable), name)
        if durable:
            self.sync()

    def overwrite(self, name: str, content: bytes) -> None:
        """Write `content` in place over the first bytes of the file `name`."""
        with _Translated(f"{self.path}/{name}"):
            fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
            try:
                _write_all(fd, content)
            finally:
                os.close(fd)

    def sync(self) -> None:
        """Make renames and deletions in this folder survive a power cut."""
        with _Translated(self.path):
            os.fsync(self.fd)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[bool]:
        """Hold the kernel lock on the file `name`, which is made if missing and never unlinked.

        Raises Locked when another process holds it. Yields False where there is no room for the
        file: the work goes on without. The kernel frees the lock however the process ends.
        """
        fd = self._lock_file(name)
        try:
            if fd is not None:
                with _Translated(f"{self.path}/{name}"):
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield fd is not None
        finally:
            if fd is not None:
                os.close(fd)

    def _lock_file(self, name: str) -> int | None:
        try:
            with _Translated(f"{self.path}/{name}"):
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                return os.open(name, flags, 0o660, dir_fd=self.fd)
        except errors.DiskFull:
            return None


def _read_up_to(fd: int, limit_bytes: int, size_bytes: int) -> bytes:
    """The whole file, or nothing where it is larger than the limit (it may grow meanwhile)."""
    if size_bytes > limit_bytes:
        return b""
    content = os.read(fd, size_bytes + 1)
    while len(content) < size_bytes and (more := os.read(fd, size_bytes + 1)):
        content += more
    return content


def _write_all(fd: int, content: bytes) -> None:
    """Write every byte, however little the kernel takes at a time."""
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]
