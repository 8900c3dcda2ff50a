"""How many operations on numpy values an analysis takes: a guard of its speed without a clock."""

from __future__ import annotations

import subprocess
import sys

from tests.support.program import ROOT

#: Operators, subscripts and calls with a numpy value, in a window of 1,113 observations.
OPERATIONS = 412


def test_an_analysis_takes_no_more_operations_than_it_did() -> None:
    command = (sys.executable, "-m", "tests.support.operations")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f"{OPERATIONS}\n", f"not what is written here: {done.stdout}{done.stderr}"
