"""A service whose descriptors run out: what it logs is still JSON, line for line, and few lines."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path

import pytest

from tests.support import made
from tests.support.program import begin, until
from tests.support.service import Service, service
from tests.support.stand_in_api import Behaviour, StandInApi, closed_port

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


def test_a_worker_opens_no_more_installations_than_it_has_descriptors_for(tmp_path: Path):
    for user in range(1, 31):
        made.installation(tmp_path, made.START, 19, user=user)
    with StandInApi() as api:
        api.answer(lambda user, *_: Behaviour(fault="" if user <= 12 else "held"))
        options = {"before": ("prlimit", "--nofile=64"), "TIX_POSTS_IN_FLIGHT": "256"}
        with begin(tmp_path, api.port, **options) as running:
            until(lambda: len(api.held) == 2)
            api.let_go()
            ended = running.ended()
    assert (ended.counts["windows_posted"], ended.events("installation_skipped")) == (30, [])
