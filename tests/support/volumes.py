"""Small file systems of a test, permissions that bind root, programs for users who are not root.

Mounting needs root and a kernel that allows it; where it cannot be had the test is skipped and says
so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.support.debian import cannot_run, program
from tests.support.program import ROOT


@contextlib.contextmanager
def tmpfs(path: Path, size_kib: int, inodes: int = 0) -> Iterator[Path]:
    """A tmpfs of that size and for so many files (0: any), mounted at `path`, which is made."""
    path.mkdir(parents=True, exist_ok=True)
    room = f"size={size_kib}k,nr_inodes={inodes}"
    command = ["mount", "-t", "tmpfs", "-o", room, "tixd-test", str(path)]
    done = subprocess.run(command, capture_output=True, text=True) if os.geteuid() == 0 else None
    if done is None or done.returncode:
        pytest.skip(f"not run: cannot mount a tmpfs ({done.stderr if done else 'not root'})")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def remount(path: Path, option: str) -> None:
    """Change a mounted file system to `ro` or `rw`."""
    command = ["mount", "-o", f"remount,{option}", str(path)]
    subprocess.run(command, check=True, capture_output=True)


def fill(path: Path) -> Path | None:
    """Write a file that takes all the room that is left; None where there is none for any."""
    filler = path / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    return filler if filler.exists() else None


def without_privilege() -> tuple[str, ...]:
    """Put before a command: root, too, is bound by the permissions of files then."""
    if os.geteuid() != 0:
        return ()
    if not shutil.which("setpriv"):
        pytest.skip("not run: root may read everything, and there is no setpriv to change that")
    powers = "-dac_override,-dac_read_search,-fowner"
    return ("setpriv", "--inh-caps", powers, "--bounding-set", powers, "--")


class HangingVolume:
    """A file system over a folder, whose calls can be made to hang where no kill helps.

    Two processes of bindfs, one over the other: calls that the upper one has taken on wait for the
    lower one, which can be stopped.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "volume"
        self._lower = folder / "lower"
        self._under = folder / "under"
        for path in (self._under, self._lower, self.path):
            path.mkdir(parents=True)
        self._processes = [_bindfs(self._under, self._lower), _bindfs(self._lower, self.path)]

    def hang(self) -> None:
        """From now on nothing that is asked of the volume is answered."""
        os.kill(self._processes[0].pid, signal.SIGSTOP)

    def answer(self) -> None:
        """Answer everything that has been asked, and whatever will be."""
        os.kill(self._processes[0].pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Give up the volume; whoever waits for it gets an error.

        The processes are killed: each would otherwise stay as long as any mount namespace, of
        another test perhaps, has a copy of its mount.
        """
        for path, process in zip((self.path, self._lower), self._processes[::-1], strict=True):
            subprocess.run(["umount", "--lazy", str(path)], check=True)
            process.kill()
            process.wait(60)


@contextlib.contextmanager
def failing_files(folder: Path, errors: dict[str, str]) -> Iterator[Path]:
    """A volume over `folder` where reading a file of such a name ends in that error (errno's name).

    With `!` behind the error even its stat does.
    While there is a file `FOLDER.fails` beside the folder, reading any file does, in EIO.
    """
    path = folder.with_name(f"{folder.name}.mounted")
    path.mkdir()
    program("bindfs", "bindfs")  # brings the library
    faults = [f"{error}:{name}" for name, error in errors.items()]
    command = (sys.executable, "-m", "tests.support.failing_files", str(folder), str(path))
    process = _mounted((*command, *faults), path)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
        process.kill()
        process.wait(60)


def _bindfs(below: Path, path: Path) -> subprocess.Popen[bytes]:
    """Mount one folder at another; the process that does it."""
    return _mounted((program("bindfs", "bindfs"), "-f", str(below), str(path)), path)


def _mounted(command: tuple[str, ...], path: Path) -> subprocess.Popen[bytes]:
    """The process of a command that mounts a volume at `path`, once it has."""
    if os.geteuid() != 0:
        pytest.skip("not run: not root, who alone may mount such a volume")
    if not _has_fuse():
        pytest.skip("not run: no FUSE in this kernel or container")
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not path.is_mount():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            cannot_run(f"{command[0]} has mounted nothing (exit code {process.wait(60)})")
        time.sleep(0.01)
    return process


def _has_fuse() -> bool:
    """Whether there is FUSE here; neither a package nor a project can bring it."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError:
        return False
    return True


#: In a mount namespace: the folders $3... are seen in an otherwise empty $2 that all may enter.
_OPEN = """
stage=$(mktemp -d) && n=0
closed=$1 && shift
for folder in "$@"; do
  [ "$folder" = -- ] && break
  n=$((n + 1)) && mkdir "$stage/$n" && mount --bind "$folder" "$stage/$n"
done
mount -t tmpfs -o mode=755 tmpfs "$closed" && n=0
while [ "$1" != -- ]; do
  n=$((n + 1)) && mkdir -p "$1" && mount --move "$stage/$n" "$1" && rmdir "$stage/$n" && shift
done
rmdir "$stage" && shift && exec "$@"
"""


def by_all() -> tuple[str, ...]:
    """What stands before a command (of root) so that every user may run Python and the checkout."""
    needed = [Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT]
    closed = {folder: _closed(folder) for folder in dict.fromkeys(needed)}
    shut = sorted({top for top in closed.values() if top})
    if not shut:
        return ()
    assert len(shut) == 1, f"several folders are closed to others: {shut}"
    inner = [str(folder) for folder, top in closed.items() if top]
    words = ("unshare", "--mount", "--propagation", "private", "sh", "-euc", _OPEN, "sh")
    return (*words, str(shut[0]), *inner, "--")


def _closed(folder: Path) -> Path | None:
    """The topmost folder above that others may not enter."""
    tops = [top for top in (*reversed(folder.parents), folder) if not top.stat().st_mode & 0o001]
    return tops[0] if tops else None
