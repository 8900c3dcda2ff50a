"""Programs that tests need beside Python: found, installed where that is possible, or missed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

#: Held while something is installed: tests run several at a time.
_LOCK = Path(tempfile.gettempdir(), "tixd-tests-install.lock")

#: Where Debian keeps what is not for everybody's PATH.
PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def program(name: str, package: str) -> str:
    """Path of a program; without it, and without the means to install it, the test is skipped.

    Under continuous integration (CI=true) it fails instead: there nothing may go unseen.
    """
    return _found(lambda: shutil.which(name, path=PLACES), name, package)


def library(name: str, package: str) -> str:
    """Path of a file below /usr/lib/*/, found, installed or missed as a program is."""
    return _found(lambda: next(map(str, Path("/usr/lib").glob(f"*/{name}")), None), name, package)


def cannot_run(reason: str) -> str:
    """Skip the test for this reason, or fail it where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"not run: {reason}")
    pytest.skip(f"not run: {reason}")


def _found(find: Callable[[], str | None], name: str, package: str) -> str:
    if found := find():
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        with _LOCK.open("w") as lock:  # apt-get waits for no other one
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not find():
                _install(package)
    return find() or cannot_run(f"no {name} (apt install {package})")


def _install(package: str) -> None:
    # A package's own service would be one that nobody asked for: RUNLEVEL=1 keeps an init script
    # from starting it, SYSTEMD_OFFLINE=1 systemd.
    no_services = {"RUNLEVEL": "1", "SYSTEMD_OFFLINE": "1"}
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", **no_services}
    for words in (("update", "-qq"), ("install", "-y", "-qq", "--no-install-recommends", package)):
        subprocess.run(["apt-get", *words], env=env, capture_output=True, timeout=240)
