"""A file system over a folder, in which reading some files fails as the kernel tells it.

`python -m tests.support.failing_files FOLDER MOUNT_POINT ERROR:NAME...`: reading such a file ends
in the error of that name, and where `!` follows the error even its stat. While there is a file
`FOLDER.fails`, reading any file fails. Listing a folder tells the names alone, as some do, but of
what it says is not there (ENOENT) that it is a file, as a damaged ext4 does.
"""

# ruff: noqa: ARG002 - the library calls with these arguments

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import Any

import mfusepy

#: What a stat consists of here.
FACTS = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid", "st_ino", "st_rdev")


class FailingFiles(mfusepy.Operations):
    """All that tixd asks of a volume; no operation but the reading fails by itself."""

    use_ns = True

    def __init__(self, folder: str, errors: dict[str, int], hidden: set[str]) -> None:
        self.folder, self.errors, self.hidden = folder, errors, hidden

    def _at(self, path: str) -> str:
        return self.folder + path

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        if (name := os.path.basename(path)) in self.hidden:
            raise mfusepy.FuseOSError(self.errors[name])
        found = os.lstat(self._at(path))
        times = {f"st_{kind}time": getattr(found, f"st_{kind}time_ns") for kind in "amc"}
        return {name: getattr(found, name) for name in FACTS} | times

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        number = self.errors.get(os.path.basename(path), 0)
        if number or os.path.exists(f"{self.folder}.fails"):
            raise mfusepy.FuseOSError(number or errno.EIO)
        return os.pread(fh, size, offset)

    def readdir(self, path: str, fh: int) -> list[str | tuple[str, dict[str, int], int]]:
        return [".", "..", *map(self._listed, os.listdir(self._at(path)))]

    def _listed(self, name: str) -> str | tuple[str, dict[str, int], int]:
        missing = name in self.hidden and self.errors[name] == errno.ENOENT
        return (name, {"st_mode": stat.S_IFREG}, 0) if missing else name

    def open(self, path: str, flags: int) -> int:
        return os.open(self._at(path), flags & ~os.O_NOFOLLOW)

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT, mode)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(self._at(path), length)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        os.fsync(fh)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def unlink(self, path: str) -> None:
        os.unlink(self._at(path))

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self._at(path), mode)

    def rename(self, old: str, new: str) -> None:
        os.rename(self._at(old), self._at(new))

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        os.utime(self._at(path), ns=times)

    def statfs(self, path: str) -> dict[str, Any]:
        found = os.statvfs(self._at(path))
        return {name: getattr(found, name) for name in dir(found) if name.startswith("f_")}


if __name__ == "__main__":
    folder, mount_point, *faults = sys.argv[1:]
    pairs = [fault.split(":") for fault in faults]
    numbers = {name: getattr(errno, error.rstrip("!")) for error, name in pairs}
    hidden = {name for error, name in pairs if error.endswith("!")}
    operations = FailingFiles(folder, numbers, hidden)
    mfusepy.FUSE(operations, mount_point, foreground=True, nothreads=True, nonempty=True)
