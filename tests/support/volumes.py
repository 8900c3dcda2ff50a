"""Small file systems of their own for a test, and permissions that bind root.

Mounting needs root and a kernel that allows it; where it cannot be had the test is skipped and says
so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


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
    subprocess.run(["mount", "-o", f"remount,{option}", str(path)], check=True)


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
    powers = "-dac_override,-dac_read_search"
    return ("setpriv", "--inh-caps", powers, "--bounding-set", powers, "--")
