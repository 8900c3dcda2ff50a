"""scripts/setup: what it installs for the demo and for the tests, in whatever order they come."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.program import ROOT

#: In place of Python: notes what pip is to install, and fails while there is a file `offline`.
PYTHON = """#!/bin/sh
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"pip install"*)
    echo "$*" >>installed && [ ! -e offline ] && touch .venv/bin/tixd && chmod +x .venv/bin/tixd ;;
esac
"""


class Checkout:
    """A folder with scripts/setup and what it reads, and what has been installed there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("pyproject.toml", "scripts/setup", "scripts/constraints.txt"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        (folder / "python3").write_text(PYTHON)
        (folder / "python3").chmod(0o755)

    def set_up(self, what: str) -> int:
        """Run scripts/setup; its exit code."""
        words = [self.folder / "scripts" / "setup", *what.split()]
        return subprocess.run(words, env={"PATH": f"{self.folder}:/usr/bin:/bin"}).returncode

    def installed(self) -> list[str]:
        """What pip was told to install, each time, without the versions."""
        lines = (self.folder / "installed").read_text().splitlines()
        assert all(" -c scripts/constraints.txt " in line for line in lines)
        return [re.search(r"-e (\S+)$", line)[1] for line in lines]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout without .venv."""
    return Checkout(tmp_path)


@pytest.mark.parametrize(
    ("order", "installed"),
    [
        (["program", "program"], ["."]),
        (["program", "", "program", ""], [".", ".[test]"]),
        (["", "program", ""], [".[test]"]),
    ],
)
def test_only_what_is_missing_is_installed(checkout, order, installed):
    assert [checkout.set_up(what) for what in order] == [0] * len(order)
    assert checkout.installed() == installed


@pytest.mark.parametrize("first", ["", "program"])
def test_other_versions_are_installed_for_both(checkout, first):
    checkout.set_up(first)
    with (checkout.folder / "scripts/constraints.txt").open("a") as constraints:
        constraints.write("# newer\n")
    assert [checkout.set_up("program"), checkout.set_up(""), checkout.set_up("program")] == [0] * 3
    assert checkout.installed()[1:] == [".", ".[test]"]


def test_an_installation_that_has_failed_is_made_anew_by_both(checkout):
    checkout.set_up("program")
    (checkout.folder / "offline").touch()
    assert checkout.set_up("") != 0
    (checkout.folder / "offline").unlink()
    assert [checkout.set_up("program"), checkout.set_up("")] == [0, 0]
    assert checkout.installed() == [".", ".[test]", ".", ".[test]"]


def test_another_word_is_explained_and_installs_nothing(checkout):
    assert checkout.set_up("tets") == 2
    assert not (checkout.folder / ".venv").exists()
