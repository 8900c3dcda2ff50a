"""A test that is marked `alone` has the machine to itself, also where two run at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.program import ROOT

#: A module of tests that note when they ran; the fifth wants to be alone.
MODULE = """
import json, threading, time
import pytest

@pytest.mark.parametrize("number", [*range(4), pytest.param(4, marks=pytest.mark.alone), 5, 6])
def test_it(number, worker_id):
    begun = time.monotonic()
    threading.Event().wait(0.05)
    with open("%s", "a") as file:
        file.write(json.dumps([number, worker_id, begun, time.monotonic()]) + "\\n")
"""


def test_nothing_runs_beside_a_test_that_is_marked_alone(tmp_path: Path) -> None:
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(MODULE % (tmp_path / "ran"))
    words = ("-n", "2", "--dist", "loadfile", "-p", "tests.conftest", "-p", "no:cacheprovider")
    command = (sys.executable, "-m", "pytest", "-q", *words, str(tmp_path))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "14 passed" in done.stdout, done.stdout + done.stderr
    ran = [json.loads(line) for line in (tmp_path / "ran").read_text().splitlines()]
    assert len({worker for _, worker, _, _ in ran}) == 2, "two at a time"
    for _, worker, begun, ended in (one for one in ran if one[0] == 4):
        beside = [one for one in ran if one[1] != worker and one[2] < ended and one[3] > begun]
        assert beside == []
