"""scripts/demo, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_posts_what_it_simulated_and_leaves_nothing_behind(tmp_path):
    if not (ROOT / ".venv" / "bin" / "tixd").exists():
        pytest.skip("scripts/setup has not made .venv, and the demo would download it")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [ROOT / "scripts" / "demo"], cwd="/", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"([1-4])/1 .*?:\d\d" + r"[^\d-]+([\d.-]+)" * 6, done.stdout)
    assert {user for user, *_ in rows} == {"1", "2", "3", "4"}
    assert "results that could not be posted: 0" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_collectors_demo_shows_what_became_of_a_bundle(tmp_path):
    if not (ROOT / ".venv" / "bin" / "tixd").exists():
        pytest.skip("scripts/setup has not made .venv, and the demo would download it")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [ROOT / "scripts" / "demo", "collector"],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "200 OK\n400 Error processing record: " in done.stdout
    assert '"RecordId": "one"' in done.stdout
    assert '"Records":3,"RecordErrors":1' in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_explained_and_nothing_is_run():
    done = subprocess.run([ROOT / "scripts" / "demo", "--help"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Usage: scripts/demo [--keep]" in done.stderr


@pytest.mark.parametrize("module", ["stand_in_api", "bundles"])
def test_what_the_demos_take_from_the_tests_needs_python_alone(module):
    without_packages = [sys.executable, "-S", "-c", f"import tests.support.{module}"]
    done = subprocess.run(without_packages, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
