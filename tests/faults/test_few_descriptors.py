"""A service whose descriptors run out: what it logs is still JSON, line for line, and few lines."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path

import pytest

from tests.support.program import until
from tests.support.service import Service, service
from tests.support.stand_in_api import closed_port

#: Descriptors that the service may have: few more than it has when idle.
DESCRIPTORS = 40


def held(daemon: Service, count: int, stack: contextlib.ExitStack) -> None:
    """Open so many connections to its HTTP address and control socket, and keep them."""
    host, _, port = daemon.http.rpartition(":")
    for _ in range(count):
        stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
        asking = stack.enter_context(socket.socket(socket.AF_UNIX))
        asking.connect(str(daemon.state / "run" / "standalone.sock"))


@pytest.mark.parametrize("form", ["json", pytest.param("text", marks=pytest.mark.long)])
def test_running_out_of_descriptors_makes_few_lines_and_no_traceback(tmp_path: Path, form: str):
    (tmp_path / "base").mkdir()
    before = ("prlimit", f"--nofile={DESCRIPTORS}")
    options = {"before": before, "TIX_LOG_FORMAT": form}
    with service(tmp_path / "base", tmp_path / "state", closed_port(), **options) as daemon:
        with contextlib.ExitStack() as stack:
            held(daemon, 60, stack)
            until(lambda: "Too many open files" in daemon.log_file.read_text())
        until(lambda: daemon.in_state("running"))
        assert daemon.ends()[0] == 0
        lines = daemon.log_file.read_text().splitlines()
        assert len(lines) < 40
        assert not any("Traceback" in line or line.startswith(" ") for line in lines)
        if form == "json":
            assert all(json.loads(line)["event"] for line in lines)
