"""What systemd hears, over real sockets, and what happens when it does not listen."""

import contextlib
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.log_events import heard
from tests.support.pools import in_loop
from tests.support.waiting import until
from tixd.runtime.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The address of a service manager, and the socket on which it hears."""
    address = (
        str(tmp_path / "notify")
        if request.param == "path"
        else f"@tixd-test-{secrets.token_hex(6)}"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address.replace("@", "\0"))
        sock.settimeout(5)
        yield address, sock


def test_a_life_is_told_from_ready_to_stopping(manager):
    address, sock = manager
    notifier = Notifier(address)
    notifier.ready("3 workers")
    notifier.watchdog()
    notifier.status("cycle 7\nREADY=0")
    notifier.stopping("signal")
    said = [sock.recv(4096).decode() for _ in range(4)]
    assert said == [
        "READY=1\nSTATUS=3 workers",
        "WATCHDOG=1",
        "STATUS=cycle 7 READY=0",
        "STOPPING=1\nSTATUS=signal",
    ]


def test_reloading_names_the_monotonic_time_as_newer_systemd_wants_it(manager):
    address, sock = manager
    notifier = Notifier(address)
    notifier.ready("up")
    notifier.reloading()
    notifier.reloaded("up again")
    _, (first, second), (third, _) = (sock.recv(4096).decode().split("\n") for _ in range(3))
    assert (first, third) == ("RELOADING=1", "READY=1")
    assert second.removeprefix("MONOTONIC_USEC=").isdigit()


def test_what_is_read_again_during_the_start_makes_nobody_ready(manager):
    address, sock = manager
    notifier = Notifier(address)
    notifier.reloading()
    notifier.reloaded("starting")
    notifier.ready("up")
    assert sock.recv(4096) == b"READY=1\nSTATUS=up"


def test_without_a_service_manager_nothing_is_said():
    with heard() as log:
        Notifier("").ready("up")
    assert log.events == []


def test_a_manager_that_has_gone_is_one_warning_and_no_error(tmp_path):
    notifier = Notifier(str(tmp_path / "gone"))
    with heard() as log:
        for _ in range(3):
            notifier.watchdog()
    assert log.events == [("warning", "systemd_notify_failed")]


def test_a_manager_that_does_not_read_holds_up_nothing(manager):
    address, _ = manager
    with heard() as log:
        for _ in range(2000):
            Notifier(address).watchdog()
            if log.events:
                break
    assert log.events == [("warning", "systemd_notify_failed")]


def all_read(sock: socket.socket) -> str:
    """The last message that is there, after all before it."""
    said = b""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            said = sock.recv(4096)
    return said.decode()


def test_a_status_that_did_not_arrive_is_sent_again(manager):
    address, sock = manager
    notifier = Notifier(address)
    with heard() as log:
        while not log.events:
            notifier.watchdog()
    notifier.status("1 job")
    assert all_read(sock) == "WATCHDOG=1"
    notifier.status("1 job")
    assert all_read(sock) == "STATUS=1 job"
    notifier.status("1 job")
    assert all_read(sock) == ""


@in_loop
async def test_a_status_that_breaks_is_told_once_and_comes_back(manager, monkeypatch):
    monkeypatch.setattr("tixd.runtime.systemd.STATUS_SECONDS", 0.01)
    address, sock = manager
    jobs = iter([0, 0, 1])
    with heard() as log:
        async with Notifier(address).following(lambda: f"{1 // next(jobs, 1)} job"):
            await until(lambda: all_read(sock) == "STATUS=1 job")
    assert log.events == [("error", "status_line_failed")]
