"""The one file and the packages as scripts/packages/build makes them, and the tools for that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import debian
from tests.support.program import ROOT

#: What makes them.
BUILD = ROOT / "scripts" / "packages" / "build"


def get_tools() -> None:
    """Install the tools; where that is not possible the test is skipped, see `debian`."""
    for name, package in (("rpmbuild", "rpm"), ("go-md2man", "go-md2man"), ("objdump", "binutils")):
        debian.program(name, package)


def build(source: Path, out: Path) -> None:
    """Build a wheel of this checkout in `out`, and everything else of it.

    source: an empty folder for a copy of the checkout, in which pip leaves its work.
    """
    get_tools()
    needed = [ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE", "tixd")]
    subprocess.run(["cp", "-aL", *needed, source], check=True)
    wheel = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(out), str(source))
    subprocess.run(wheel, check=True)
    [built] = out.iterdir()
    subprocess.run([BUILD, built, out], check=True)


def one_file(packages: Path) -> Path:
    """Return the one file among what was built."""
    [file] = [path for path in packages.glob("tixd-*-linux-*") if os.access(path, os.X_OK)]
    return file


def of_commit(commit: str, folder: Path) -> Path:
    """Lay out the checkout of a commit; a clone without its history cannot run the test."""
    git = (debian.program("git", "git"), "-C", str(ROOT))
    if subprocess.run([*git, "cat-file", "-e", commit], capture_output=True).returncode:
        debian.cannot_run(f"this clone lacks {commit}")
    folder.mkdir()
    archive = subprocess.run([*git, "archive", commit], check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder
