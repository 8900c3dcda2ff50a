"""scripts/release: it refuses what is no release, and makes and tries one of what is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import debian, packaging
from tixd import __version__

ROOT = Path(__file__).resolve().parents[2]
CHANGES = "tixd/manual/changes.md"
TODAY = f"## {__version__}, 2026-11-28"

#: What is left in dist, whatever the architecture.
MADE = {
    *("SHA256SUMS", f"tixd-{__version__}.tar.gz", f"tixd-{__version__}-py3-none-any.whl"),
    *(f"tixd-{__version__}-linux-ARCH{end}" for end in ("", ".cdx.json", ".licences.txt")),
    *(f"tixd_{__version__}_ARCH.deb", f"tixd-{__version__}-1.ARCH.rpm"),
}

#: What is not of the checkout, or comes and goes there while other tests run.
_NOT_OURS = (".*", "__pycache__")
_NOT_OURS_ON_TOP = ("dist", "build")


def _not_ours(folder: str, names: list[str]) -> set[str]:
    on_top = _NOT_OURS_ON_TOP if Path(folder) == ROOT else ()
    return shutil.ignore_patterns(*_NOT_OURS, *on_top)(folder, names)


class Checkout:
    """A clean main with dated notes; `edit` and `git` change it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=_not_ours)
        shutil.copy(ROOT / ".gitignore", folder)
        notes = (folder / CHANGES).read_text()
        [heading] = re.findall(rf"^## {re.escape(__version__)}, .*$", notes, re.MULTILINE)
        self.edit(CHANGES, heading, TODAY)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit()

    def git(self, *words: str) -> str:
        """What git prints; only its own settings count."""
        nobody = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
        env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
        command = (debian.program("git", "git"), *nobody, *words)
        return subprocess.check_output(command, cwd=self.folder, env=env, text=True)

    def commit(self) -> None:
        """Commit whatever there is."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", "all")

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text in a file."""
        text = (self.folder / name).read_text()
        (self.folder / name).write_text(text.replace(old, new))

    def release(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the script to its end."""
        command = [self.folder / "scripts" / "release", *words]
        env = {**os.environ, **variables}
        return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True)

    def refusal(self, *words: str) -> list[str]:
        """Why it refuses; nothing has been made then."""
        done = self.release("--no-tests", *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert not (self.folder / ".venv").exists()
        return [line.removeprefix("release: refused: ") for line in done.stderr.splitlines()]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """One that could be released."""
    return Checkout(tmp_path / "checkout")


def test_another_version_than_the_codes_is_refused(checkout):
    assert checkout.refusal("9.9.9") == [f"tixd/__init__.py says {__version__}, not 9.9.9"]


def test_notes_without_a_date_or_of_another_version_are_refused(checkout):
    for heading in (f"## {__version__}, not yet released", TODAY.replace(".", "x")):
        checkout.edit(CHANGES, TODAY, heading)
        checkout.commit()
        [reason] = checkout.refusal()
        assert reason == f'{CHANGES} has no notes headed "## {__version__}, YEAR-MONTH-DAY"'
        checkout.git("reset", "--quiet", "--hard", "HEAD~1")


def test_a_dirty_tree_another_branch_and_a_tag_of_another_commit_are_refused(checkout):
    checkout.git("tag", f"v{__version__}")
    checkout.git("checkout", "--quiet", "-b", "other")
    checkout.commit()
    (checkout.folder / "new").touch()
    assert checkout.refusal() == [
        "this is not the branch main",
        "something here is not committed (git status)",
        f"the tag v{__version__} is on another commit",
    ]


def test_a_label_of_the_image_with_another_version_is_refused(checkout):
    (checkout.folder / "Dockerfile").write_text('LABEL org.image.version="0.0.9" \\\n')
    checkout.commit()
    assert checkout.refusal(__version__) == ["the Dockerfile's label says 0.0.9"]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_release_is_made_tried_and_left_in_dist(checkout, tmp_path):
    packaging.get_tools()
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\necho "docker $*"\n')
    docker.chmod(0o755)
    path = f"{docker.parent}{os.pathsep}{os.environ['PATH']}"
    done = checkout.release("--no-tests", __version__, PATH=path)
    assert done.returncode == 0, done.stderr
    assert f"docker build -t tixd:{__version__} -t tixd:latest" in done.stderr
    collector = f"--target collector -t tixd-collector:{__version__} -t tixd-collector:latest"
    assert f"docker build {collector}" in done.stderr
    dist = checkout.folder / "dist"
    made = {re.sub(r"(x86_64|amd64|aarch64|arm64)", "ARCH", path.name) for path in dist.iterdir()}
    assert made == MADE
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=dist, check=True)
    assert f"git tag -a v{__version__}" in done.stdout
    assert checkout.git("status", "--porcelain") == checkout.git("tag") == ""


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_wheel_that_lacks_a_sample_is_no_release(checkout):
    packaging.get_tools()
    checkout.edit("pyproject.toml", '"samples/*"', '"samples/*.timer"')
    checkout.commit()
    done = checkout.release("--no-tests")
    assert done.returncode == 1
    assert "the wheel does not hold just what is in tixd/" in done.stderr
    assert "tixd/samples/tixd.service" in done.stdout
