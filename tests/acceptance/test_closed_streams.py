"""Commands that are started without some of their standard streams, as by `tixd once 2>&-`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.chosen import few
from tests.support.program import ROOT, environment
from tests.support.stand_in_api import closed_port

#: Ways to close streams, as a shell writes them.
ALL_CLOSED = "<&- >&- 2>&-"

#: Commands, and the exit code that they have with all streams open.
COMMANDS = [
    ("once", 0),
    ("check-config", 0),
    ("--version", 0),
    ("analyze {base}", 1),
    ("sample tixd.logrotate", 0),
    ("status", 1),
    ("health", 1),
    ("-l verbose once", 2),
]


def run(command: str, base: Path, closing: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run a command by a shell that closes streams."""
    words = f"exec {sys.executable} -m tixd {command.format(base=base)} {closing}"
    environ = environment(base, closed_port()) | {"RUNTIME_DIRECTORY": str(base.parent / "run")}
    return subprocess.run(words, shell=True, cwd=ROOT, env=environ, capture_output=True, timeout=60)  # noqa: S602


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A reports folder with an installation, and a runtime folder beside it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "base" / "1" / "2").mkdir(parents=True)
    return tmp_path / "base"


@pytest.mark.parametrize(
    ("command", "code", "closing"),
    few(
        [
            *((command, code, ALL_CLOSED) for command, code in COMMANDS),
            *(("once", 0, closing) for closing in ("<&-", ">&-", "2>&-")),
        ],
        ("once", 0, ALL_CLOSED),
        ("status", 1, ALL_CLOSED),
        ("--version", 0, ALL_CLOSED),
    ),
)
def test_a_command_ends_as_with_all_streams_open(base, command, code, closing):
    done = run(command, base, closing)
    assert done.returncode == code, done
    assert b"Traceback" not in done.stdout + done.stderr


def test_what_is_printed_goes_into_no_file_that_a_closed_stream_made_room_for(base):
    done = run("once", base, "<&- 2>&-")
    assert b"installations looked at" in done.stdout
    files = [path for path in base.parent.rglob("*") if path.is_file()]
    assert [path for path in files if b"posting" in path.read_bytes()] == []
    assert not os.path.exists(ROOT / "0")
