"""Case 33: bundles made to take time or memory are refused soon and cheaply (reading alone)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hostile_bundles import HOSTILE, MIB

ROOT = Path(__file__).parents[2]

#: Most CPU seconds: three times what a refusal may take, since machines differ and share.
MOST_SECONDS = 3


@pytest.fixture(scope="module")
def reader() -> Iterator[subprocess.Popen[str]]:
    """A process that reads each bundle in a child of its own."""
    command = [sys.executable, "-m", "tests.support.hostile_bundles"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        yield process


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_bundle_is_refused_soon_and_without_much_memory(reader, name: str) -> None:
    reader.stdin.write(f"{name}\n")
    reader.stdin.flush()
    line = reader.stdout.readline()
    sys.stdout.write(f"{name}: {line}")
    taken = json.loads(line)
    assert taken["status"] in (400, 413)
    assert taken["seconds"] < MOST_SECONDS
    assert taken["bytes"] < 64 * MIB
