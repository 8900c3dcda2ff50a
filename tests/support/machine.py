"""A Debian with a real systemd, for tests of a service: a tree that systemd-nspawn boots.

The bare tree and the wheels are made once and kept under the system's folder of temporary files; a
machine runs on a copy. It shares the network of this host, so that it finds a test's stand-ins on
127.0.0.1; processes, users and files are its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import psutil

from tests.support import debian
from tests.support.program import ROOT, until

#: What is kept between runs.
CACHE = Path(tempfile.gettempdir()) / "machine-of-tixd-tests"

#: Packages of every tree beside Debian's least: no Python.
BARE = "systemd systemd-sysv dbus logrotate procps"

#: Those of one on which scripts/install runs.
PACKAGES = f"{BARE} python3 python3-venv"

#: The Debian that it is; the Python of bookworm is the oldest that tixd runs on.
SUITE = os.environ.get("TIXD_TEST_DEBIAN", "bookworm")

#: What the machine's commands find in their environment, and no more.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": "/root/wheels",
}

#: A machine boots in two seconds where nothing else runs.
BOOT_SECONDS = 60.0

#: Runs a command in control groups of its own, named as the first word: machines in the same ones
#: would take each other's processes for their own.
GROUPED = """
for root in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
  [ ! -e $root/cgroup.procs ] || { mkdir $root/$0 && echo $$ >$root/$0/cgroup.procs; }
done
exec "$@"
"""

#: Removes them.
UNGROUP = (
    'for root in /sys/fs/cgroup /sys/fs/cgroup/*; do find "$root/$0" -depth -type d -delete; done'
)

#: Tells PID 1 of a machine to shut it down: systemd(1), SIGRTMIN+3 halts.
HALT = signal.SIGRTMIN + 3


class Machine:
    """A machine that has booted; a context manager. `folder`: holds its copy of the tree."""

    def __init__(
        self,
        folder: Path,
        *,
        packages: str = PACKAGES,
        suite: str = SUITE,
        shared: Mapping[Path, str] = MappingProxyType({}),
        checkout: Path = ROOT,
    ) -> None:
        """Boot a copy of a tree; shared: folders of this host, and where they are inside.

        checkout: the tixd of /root/tixd.
        """
        if os.geteuid() != 0:
            debian.cannot_run("a machine needs root")
        nspawn = debian.program("systemd-nspawn", "systemd-container")
        made = tree(packages, suite)
        self._tree, self._log = folder / "tree", folder / "console"
        subprocess.run(["cp", "-a", made, self._tree], check=True)
        shared = {checkout: "/root/tixd", **shared}
        if (made / "usr" / "bin" / "python3").exists():
            shared[_wheels(made, checkout)] = "/root/wheels"
        binds = [f"--bind-ro={source}:{target}" for source, target in shared.items()]
        manner = ("--keep-unit", "--register=no", "--console=read-only", f"--kill-signal={HALT}")
        self._group = f"machine-of-tixd-tests-{os.getpid()}"
        with self._log.open("wb") as log:
            self._nspawn = subprocess.Popen(
                [
                    "sh",
                    "-c",
                    GROUPED,
                    self._group,
                    nspawn,
                    "-q",
                    "-D",
                    self._tree,
                    *manner,
                    *binds,
                    "-b",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Self:
        ends = time.monotonic() + BOOT_SECONDS
        until(lambda: self._booted() or time.monotonic() > ends, BOOT_SECONDS + 5)
        if not self._booted():
            self.__exit__()
            debian.cannot_run(f"no machine boots here: {self._log.read_text()[-500:]}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._pid:
            with contextlib.suppress(subprocess.TimeoutExpired, ProcessLookupError):
                os.kill(self._pid, HALT)
                self._nspawn.wait(30)
        self._nspawn.kill()
        self._nspawn.wait()
        subprocess.run(["sh", "-c", UNGROUP, self._group], capture_output=True)
        shutil.rmtree(self._tree, ignore_errors=True)

    @property
    def _pid(self) -> int:
        """Its PID 1 as this host counts; 0 where there is none."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._nspawn.pid).children():
                return child.pid if child.name() == "systemd" else 0
        return 0

    def _booted(self) -> bool:
        if not self._pid:
            return False
        return self.run("systemctl", "is-system-running").stdout in ("running\n", "degraded\n")

    def run(
        self, *words: str, seconds: float = 120.0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end."""
        return subprocess.run(
            ["nsenter", "-t", str(self._pid), "-a", *words],
            env=ENVIRONMENT | variables,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def did(self, *words: str, **options: Any) -> str:
        """What a command that must succeed prints."""
        done = self.run(*words, **options)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def path(self, inside: str) -> Path:
        """A file inside, as this host names it: of its tree, or of what it has mounted."""
        return Path(f"/proc/{self._pid}/root{inside}")


def tree(packages: str, suite: str = SUITE) -> Path:
    """The tree of a Debian with these packages, made if need be."""
    name = "-".join((suite, *sorted(set(packages.split()) - set(BARE.split()))))
    tree, stamp = CACHE / name, CACHE / f"{name}-is-made"
    if not stamp.exists() or stamp.read_text() != packages:
        stamp.unlink(missing_ok=True)
        shutil.rmtree(tree, ignore_errors=True)
        CACHE.mkdir(mode=0o700, exist_ok=True)
        assert CACHE.stat().st_uid == 0, f"{CACHE} was made by somebody else"
        debootstrap = debian.program("debootstrap", "debootstrap")
        env = {k: v for k, v in os.environ.items() if k != "TMPDIR"}  # the tree has no such folder
        install = (
            f"DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends {packages}"
        )
        for words in (
            [debootstrap, "--variant=minbase", suite, tree],
            ["chroot", tree, "sh", "-c", install],
        ):
            done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=1200)
            if done.returncode:
                debian.cannot_run(f"{words[0]}: {done.stdout[-500:]}{done.stderr[-500:]}")
        (tree / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        stamp.write_text(packages)
    return tree


def _wheels(tree: Path, checkout: Path) -> Path:
    """What the tixd of a checkout needs of Python's packages, for the Python of the tree."""
    version = (tree / "usr" / "bin" / "python3").readlink().name.removeprefix("python")
    wheels = CACHE / f"wheels-{version}{'' if checkout == ROOT else '-of-another'}"
    project = tomllib.loads((checkout / "pyproject.toml").read_text())
    needed = project["build-system"]["requires"] + project["project"]["dependencies"]
    pinned = checkout / "scripts" / "constraints.txt"
    asked = "\n".join([*needed, pinned.read_text()])
    if not (stamp := wheels / "asked").exists() or stamp.read_text() != asked:
        shutil.rmtree(wheels, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "download", "-q", "-d", wheels]
        manner = ["--only-binary=:all:", "--python-version", version]
        subprocess.run([*pip, *manner, "-c", pinned, *needed], check=True, timeout=600)
        stamp.write_text(asked)
    return wheels
