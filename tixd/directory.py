"""An open directory, and the few file operations that tixd needs in it.

Rules: every name is relative to the descriptor, so a renamed parent has no effect; links below the
reports base are never followed; a file appears whole or not at all (temporary file, rename); an
OSError leaves the methods as a VolumeError.
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

#: At most this many times a file is opened again because it was replaced before it was locked.
MAX_REPLACED = 3

#: How a file is opened to be read: no link is followed, and a FIFO does not block.
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

#: How a file is opened to be written in place; a FIFO or a device does not block.
_WRITE_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

#: The error for each errno; any other is VolumeFailed, with the kernel's message.
_MEANING: dict[int, type[errors.VolumeError]] = {
    errno.ENOSPC: errors.DiskFull,
    errno.EDQUOT: errors.QuotaReached,
    errno.EROFS: errors.ReadOnlyVolume,
    errno.EACCES: errors.NotPermitted,
    errno.EPERM: errors.Immutable,
    errno.ENOENT: errors.NotFound,
    errno.ELOOP: errors.UnexpectedFileType,
    errno.ENOTDIR: errors.UnexpectedFileType,
    errno.EISDIR: errors.UnexpectedFileType,
    errno.EEXIST: errors.UnexpectedFileType,
    errno.ENOTEMPTY: errors.UnexpectedFileType,
    errno.ENXIO: errors.UnexpectedFileType,
    errno.ENODEV: errors.UnexpectedFileType,
    errno.EMFILE: errors.NoDescriptors,
    errno.ENFILE: errors.NoDescriptors,
    errno.ENOMEM: errors.NoMemory,
    errno.EFBIG: errors.FileSizeLimit,
    errno.ENAMETOOLONG: errors.NameTooLong,
    errno.ENOLCK: errors.NoLocks,
    errno.EOPNOTSUPP: errors.NoLocks,
    errno.EXDEV: errors.OtherVolume,
    errno.EMLINK: errors.FolderFull,
    errno.EIO: errors.DiskFailed,
    errno.ESTALE: errors.StaleMount,
    errno.ETIMEDOUT: errors.StaleMount,
    errno.ENOTCONN: errors.StaleMount,
}


def why_no_folder(path: str, setting: str, remedy: str = "make it") -> str | None:
    """Say why `path`, which `setting` names, is no folder, and what to do; None where it is one.

    remedy: what to do where it is missing, beside correcting the setting.
    """
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} is not there: {remedy}, or correct {setting}"
    except OSError as error:
        return f"{path}: {error.strerror}: mend that, or correct {setting}"
    return None if is_folder else f"{path} is a file, not a folder: correct {setting}"


def why_no_base(base: str) -> str | None:
    """Say why the reports folder is no folder, and what to do; None where it is one."""
    return why_no_folder(base, "TIX_REPORTS_BASE_PATH", "make it, mount it")


class _Translated:
    """Turns an OSError about `what` within its block into the VolumeError that it means.

    Not a generator: that would take longer than some of the system calls in its block. What is done
    for each report catches the error itself, and so saves this object: 0.5 of 8 us for a file.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            raise _meant(error, self._what) from error


def _meant(error: OSError, what: str) -> errors.VolumeError:
    """Return the VolumeError that an OSError about `what` means."""
    kind = _MEANING.get(error.errno or 0, errors.VolumeFailed)
    return kind(f"{what}: {error.strerror}")


def lock(fd: int, *, wait: bool = False) -> bool:
    """Take the kernel lock on an open file or folder, until it is closed or the process ends.

    Returns False where another process has it; wait: wait for that process to release it. Raises
    OSError where there are no locks.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Entry(NamedTuple):
    """A name in a folder and what it is, by its own type (links are not followed).

    Where the volume does not report the type, both are True: the error comes when it is opened.
    """

    name: str
    is_file: bool
    is_folder: bool


class OpenFile:
    """A regular file, open to be read and written in place; close it when done."""

    __slots__ = ("_fd", "_path")

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path

    def lock(self) -> None:
        """Take the kernel lock on it, until it is closed or the process ends; raises Locked."""
        with _Translated(self._path):
            if not lock(self._fd):
                raise errors.Locked(self._path)

    def facts(self) -> os.stat_result:
        """Return the stat of the open file, even if its name leads to another one now."""
        with _Translated(self._path):
            return os.fstat(self._fd)

    def read(self, size_bytes: int, at: int) -> bytes:
        """Read that many bytes from the offset `at`; fewer only where the file ends."""
        with _Translated(self._path):
            content = os.pread(self._fd, size_bytes, at)
            while len(content) < size_bytes:
                more = os.pread(self._fd, size_bytes - len(content), at + len(content))
                if not more:
                    break
                content += more
        return content

    def write(self, content: bytes, at: int) -> None:
        """Write all bytes at the offset `at`, in as many writes as the kernel needs."""
        with _Translated(self._path):
            written = os.pwrite(self._fd, content, at)
            while written < len(content):
                written += os.pwrite(self._fd, content[written:], at + written)

    def truncate(self, size_bytes: int) -> None:
        """Cut the file to that size."""
        with _Translated(self._path):
            os.ftruncate(self._fd, size_bytes)

    def close(self) -> None:
        """Close the descriptor, which releases the lock; a network volume may fail only now."""
        with _Translated(self._path):
            os.close(self._fd)


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

    def scan(self) -> Iterator[Entry]:
        """Yield everything in the folder, unsorted, as it is listed; one such scan at a time."""
        with _Translated(self.path), os.scandir(self.fd) as found:
            yield from map(_entry, found)

    def entries(self) -> list[Entry]:
        """List everything in the folder, unsorted."""
        return list(self.scan())

    def answers(self, name: str) -> bool:
        """Return whether the file `name` can be read from the volume, not only from the page cache.

        Raises NotFound where there is no such file.
        """
        try:
            fd = os.open(name, _READ_FLAGS, dir_fd=self.fd)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.read(fd, 1)
            finally:
                os.close(fd)
        except FileNotFoundError:
            raise errors.NotFound(f"{self.path}/{name}") from None
        except OSError:
            return False
        return True

    def was_deleted(self) -> bool:
        """Return whether it has no name any more; a mount of it still shows it, and empty."""
        with _Translated(self.path):
            return os.fstat(self.fd).st_nlink == 0

    def facts(self, name: str) -> os.stat_result:
        """Return the stat of `name` itself, not of the target of a link."""
        with _Translated(f"{self.path}/{name}"):
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def touch(self, name: str) -> float:
        """Set the times of the file `name` to now; returns the time by the volume's clock.

        On a network volume this is the server's clock, which may differ from the host's.
        """
        with _Translated(f"{self.path}/{name}"):
            os.utime(name, dir_fd=self.fd, follow_symlinks=False)
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mtime

    def free_bytes(self) -> int:
        """Return the bytes that are free for this process on the folder's volume."""
        with _Translated(self.path):
            volume = os.fstatvfs(self.fd)
        return volume.f_bavail * volume.f_frsize

    def read(self, name: str, limit_bytes: int) -> tuple[bytes, os.stat_result]:
        """Read content and stat of the regular file `name`.

        Where the file is larger than `limit_bytes` nothing is read: the content is empty.
        """
        try:
            fd = os.open(name, _READ_FLAGS, dir_fd=self.fd)
            try:
                facts = os.fstat(fd)
                _refuse_other_kinds(facts)
                return (_read_up_to(fd, limit_bytes, facts.st_size), facts)
            finally:
                os.close(fd)
        except OSError as error:
            raise _meant(error, f"{self.path}/{name}") from error

    def load(self, name: str, limit_bytes: int) -> bytes:
        """Read the regular file `name`; raises TooLong where it is larger than the limit."""
        content, facts = self.read(name, limit_bytes)
        if facts.st_size > limit_bytes:
            detail = (
                f"{self.path}/{name} has {facts.st_size:,} bytes, at most {limit_bytes:,} are read"
            )
            raise errors.TooLong(detail)
        return content

    def exists(self, name: str) -> bool:
        """Return whether the name is taken, by a file of any kind."""
        try:
            self.facts(name)
        except errors.NotFound:
            return False
        return True

    def unlink(self, name: str) -> bool:
        """Delete the file `name`; False where it was gone already."""
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _meant(error, f"{self.path}/{name}") from error
        return True

    def rename(self, name: str, new_name: str, *, to: Folder | None = None) -> None:
        """Rename within the folder or into another one; an existing `new_name` is replaced."""
        with _Translated(f"{self.path}/{name}"):
            target = (to or self).fd
            os.rename(name, new_name, src_dir_fd=self.fd, dst_dir_fd=target)

    def write_temporary(self, name: str, content: bytes, *, durable: bool = False) -> str:
        """Write `content` beside where `name` will be; returns the temporary file's name.

        An incomplete temporary file is removed before the error is raised.
        """
        with _Translated(f"{self.path}/{name}{TEMPORARY_SUFFIX}"):
            fd, temporary = self._create_temporary(name)
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

    def _create_temporary(self, name: str) -> tuple[int, str]:
        """Make a temporary file for `name` and open it.

        A leftover of any kind is deleted first: a FIFO would block. Where it cannot be deleted, as
        a folder, another name is used.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        for middle in ("", ".1", ".2"):
            temporary = f"{name}{middle}{TEMPORARY_SUFFIX}"
            with contextlib.suppress(FileExistsError):
                return os.open(temporary, flags, 0o660, dir_fd=self.fd), temporary
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self.fd)
                return os.open(temporary, flags, 0o660, dir_fd=self.fd), temporary
        raise FileExistsError(errno.EEXIST, "its place is taken")

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        """Replace `name` by `content` at once; `durable` makes it survive a power cut."""
        self.rename(self.write_temporary(name, content, durable=durable), name)
        if durable:
            self.sync()

    def sync(self) -> None:
        """Make renames and deletions in this folder survive a power cut."""
        with _Translated(self.path):
            os.fsync(self.fd)

    def open_locked(self, name: str) -> OpenFile:
        """Open a file as open_file does, and take the kernel lock on it; raises Locked.

        A file that was replaced or deleted before it was locked is closed, and the new one opened,
        at most MAX_REPLACED times: some file systems give a file another inode number each time.
        """
        tries_left = MAX_REPLACED
        while True:
            file = self.open_file(name)
            tries_left -= 1
            try:
                file.lock()
                if not tries_left or self._leads_to(name, file):
                    return file
            except errors.VolumeError:
                file.close()
                raise
            file.close()

    def _leads_to(self, name: str, file: OpenFile) -> bool:
        try:
            return os.path.samestat(self.facts(name), file.facts())
        except errors.NotFound:
            return False

    def open_file(self, name: str, *, make: bool = True) -> OpenFile:
        """Open the regular file `name` to be read and written in place; make it if it is missing.

        make=False: for reading only; raises NotFound where it is missing. Raises UnexpectedFileType
        for anything but a regular file. Do not write to one with a second name (st_nlink): it may
        belong to another installation or to a backup.
        """
        path = f"{self.path}/{name}"
        with _Translated(path):
            fd = self._open_or_make(name) if make else os.open(name, _READ_FLAGS, dir_fd=self.fd)
            try:
                _refuse_other_kinds(os.fstat(fd))
            except OSError:
                os.close(fd)
                raise
        return OpenFile(fd, path)

    def _open_or_make(self, name: str) -> int:
        """Open without O_CREAT first: it is refused for another user's file in a sticky folder."""
        with contextlib.suppress(FileNotFoundError):
            return os.open(name, _WRITE_FLAGS, dir_fd=self.fd)
        with contextlib.suppress(FileExistsError):
            return os.open(name, _WRITE_FLAGS | os.O_CREAT | os.O_EXCL, 0o660, dir_fd=self.fd)
        return os.open(name, _WRITE_FLAGS, dir_fd=self.fd)  # another process made it just now


def _refuse_other_kinds(facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EISDIR, "not a regular file")


def _entry(found: os.DirEntry[str]) -> Entry:
    try:
        is_file = found.is_file(follow_symlinks=False)
        return Entry(found.name, is_file, not is_file and found.is_dir(follow_symlinks=False))
    except OSError:  # a stat that fails must not hide the others
        return Entry(found.name, is_file=True, is_folder=True)


def _read_up_to(fd: int, limit_bytes: int, size_bytes: int) -> bytes:
    """Return the file, or nothing where it is larger than the limit (it may grow meanwhile)."""
    if size_bytes > limit_bytes:
        return b""
    content = os.read(fd, size_bytes + 1)
    while len(content) < size_bytes and (more := os.read(fd, size_bytes + 1)):
        content += more
    return content


def _write_all(fd: int, content: bytes) -> None:
    """Write all bytes, in as many writes as the kernel needs."""
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]
