"""Case 33: bundles made to take time or memory are refused soon and cheaply (reading alone)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hostile_bundles import HOSTILE, MIB

ROOT = Path(__file__).parents[2]

#: Most CPU seconds: three times what a refusal may take, since machines differ and share.
MOST_SECONDS = 3


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_bundle_is_refused_soon_and_without_much_memory(name: str) -> None:
    command = [sys.executable, "-m", "tests.support.hostile_bundles", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    taken = json.loads(done.stdout)
    sys.stdout.write(f"{name}: {done.stdout}")
    assert taken["status"] in (400, 413)
    assert taken["seconds"] < MOST_SECONDS
    assert taken["bytes"] < 64 * MIB
