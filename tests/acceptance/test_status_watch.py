"""`tixd status --watch` in a real terminal: what is on the screen, and how the terminal is left."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.support.program import TIXD, until
from tests.support.service import service
from tests.support.terminal import screen, session


@pytest.fixture
def nobody(tmp_path):
    """The variables of a user under whom no tixd runs."""
    (tmp_path / "run").mkdir(mode=0o700)
    return {"RUNTIME_DIRECTORY": str(tmp_path / "run")}


def begins(words):
    return lambda lines: lines[0].startswith(words)


def whole(words):
    """The first line begins so, and the last one has come, too."""
    return lambda lines: lines[0].startswith(words) and lines[-1].endswith("q ends")


def test_the_page_of_status_is_shown_and_follows_a_service_that_stops_and_returns(tmp_path):
    base = tmp_path / "reports"
    base.mkdir()
    with service(base, tmp_path / "state", 9) as daemon:
        where = {"RUNTIME_DIRECTORY": str(tmp_path / "state" / "run")}
        until(lambda: daemon.told()["not_ready"] == [])
        plain = screen("status", environment=where).lines
        with session("status", "--watch", environment=where) as seen:
            lines = seen.shows(whole(f"standalone, pid {daemon.pid}: running"))
            assert [line.split()[:1] for line in lines[1:6]] == [
                line.split()[:1] for line in plain[1:6]
            ]
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(60)
            seen.shows(begins("no answer since "))
            with service(base, tmp_path / "state", 9, name="log2") as again:
                seen.shows(begins(f"standalone, pid {again.pid}: running"))
                seen.type(b"q")
                assert (seen.ends(), seen.is_restored()) == (0, True)


@pytest.mark.parametrize("keys", [b"q", b"Q", b"\x03", b"xyz q"])
def test_q_and_ctrl_c_end_it_and_leave_the_terminal_as_it_was(nobody, keys):
    with session("status", "--watch", environment=nobody) as seen:
        seen.shows(begins("no answer since "))
        seen.type(keys)
        assert (seen.ends(), seen.is_restored()) == (0, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_the_terminal_as_it_was(nobody, number):
    with session("status", "--watch", environment=nobody) as seen:
        seen.shows(begins("no answer since "))
        seen.process.send_signal(number)
        assert seen.ends() == (0 if number == signal.SIGINT else 128 + number)
        assert seen.is_restored()


def test_other_keys_and_ctrl_z_change_nothing(nobody):
    with session("status", "--watch", environment=nobody) as seen:
        first = seen.shows(begins("no answer since "))
        seen.type(b"\x1a\x1b[A\r")
        seen.shows(lambda lines: lines[-1].endswith("q ends") and lines[-1] != first[-1])
        seen.type(b"q")
        assert seen.ends() == 0


@pytest.mark.parametrize("size", [(80, 24), (40, 24), (40, 8), (20, 4), (200, 60)])
def test_the_page_fits_every_size_and_follows_a_new_one(nobody, size):
    with session("status", "--watch", size=size, environment=nobody) as seen:
        lines = seen.shows(begins("no answer since"))
        assert lines == [line[: size[0]] for line in lines][: size[1]]
        seen.resize(60, 12)
        seen.shows(lambda lines: lines[0].endswith("UTC, asked again every"))
        seen.resize(100, 30)
        seen.shows(lambda lines: lines[0].endswith("every second"))
        seen.type(b"q")
        assert (seen.ends(), seen.is_restored()) == (0, True)


def test_a_page_higher_than_the_terminal_says_how_much_is_not_shown(tmp_path):
    base = tmp_path / "reports"
    base.mkdir()
    with service(base, tmp_path / "state", 9):
        where = {"RUNTIME_DIRECTORY": str(tmp_path / "state" / "run")}
        with session("status", "--watch", size=(80, 6), environment=where) as seen:
            lines = seen.shows(whole("standalone, pid"))
            assert lines[3].endswith(" more lines: make the terminal higher")
            assert lines[5].endswith("UTC, q ends")
            seen.resize(80, 40)
            seen.shows(lambda lines: not any("more lines" in line for line in lines))


def test_without_colour_nothing_but_bold_is_set(nobody):
    with session("status", "--watch", environment={**nobody, "NO_COLOR": "1"}) as seen:
        seen.shows(begins("no answer since "))
        assert b"\x1b[3" not in seen.sent
        seen.type(b"q")
        assert seen.ends() == 0


def test_a_terminal_that_cannot_be_redrawn_gets_a_line(nobody):
    seen = screen("status", "--watch", environment={**nobody, "TERM": "dumb"}, columns=200)
    assert seen.code == 1
    [line] = seen.lines
    assert line.startswith("tixd: --watch cannot redraw this terminal (TERM is dumb): use tixd")


def test_a_pipe_gets_a_line_that_says_what_to_do_instead(nobody):
    variables = {**nobody, "PATH": os.environ["PATH"]}
    command = (*TIXD, "status", "--watch")
    done = subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == (
        "tixd: --watch needs a terminal: use tixd status, or tixd status --format json in scripts\n"
    )
