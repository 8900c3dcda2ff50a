"""Signals before a process listens to them, and after a service has ended its work."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

from tests.support.program import PATIENCE_SECONDS, ROOT, environment, until
from tests.support.service import listening
from tests.support.stand_in_api import closed_port

#: Beside `python`: signals to the program itself when its loop is closed and Python ends.
LATE = """
import atexit, os, signal, sys
if sys.orig_argv[1:3] == ["-m", "tixd"]:
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        atexit.register(os.kill, os.getpid(), signal.Signals[name])
    atexit.register(os.write, 2, b"it is late")
"""

#: What is a service, and what a command.
WHAT = {
    "standalone": (),
    "collector": ("--role", "collector"),
    "command": ("check-config",),
}

#: A file that both kinds of service can have.
QUIET = """
[collector]
port = {port}
[collector.AMQP]
enable = false
[collector.file]
path = "{out}"
"""


class Early(subprocess.Popen[bytes]):
    """A process that waits for the rest of its configuration file."""

    def __init__(self, folder: Path, *words: str, before: Sequence[str] = ()) -> None:
        self.folder, self._file = folder, folder / "tixd.toml"
        for name in ("base", "run"):
            (folder / name).mkdir(mode=0o700)
        os.mkfifo(self._file)
        variables = {"RUNTIME_DIRECTORY": str(folder / "run"), "TIX_HTTP_ADDRESS": "off"}
        variables["PYTHONPATH"] = str(folder)  # where a test may put a sitecustomize.py
        variables["CELERY_BEAT_SCHEDULE_DIR"] = str(folder / "schedule")
        env = environment(folder / "base", 1, **variables, NOTIFY_SOCKET=str(folder / "notify"))
        command = (*before, sys.executable, "-m", "tixd", "-c", str(self._file), *words)
        super().__init__(command, cwd=ROOT, env=env, stderr=subprocess.PIPE)
        self._writer: IO[str] = self._file.open("w")  # waits until it reads

    def goes_on(self) -> None:
        """Give it its file, which can be read again then."""
        text = QUIET.format(port=closed_port(), out=self.folder / "out")
        (self.folder / "again").write_text(text)
        (self.folder / "again").rename(self._file)
        with self._writer:
            self._writer.write(text)

    def __exit__(self, *error: object) -> None:
        """When the test ends first, so does the process."""
        self.kill()
        self._writer.close()
        super().__exit__(*error)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["standalone", "collector"])
def test_requests_that_come_early_wait_until_the_service_listens(tmp_path, role):
    with listening(tmp_path / "notify") as manager, Early(tmp_path, *WHAT[role]) as early:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            early.send_signal(number)
        early.goes_on()
        until(lambda: early.poll() is not None or "READY=1" in manager.states())
        early.terminate()
        _, said = early.communicate(timeout=PATIENCE_SECONDS)
        assert early.returncode == 0
    assert said.count(b'"secrets_reloaded"') == said.count(b'"debug_toggled"') == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
@pytest.mark.parametrize("what", ["standalone", "collector"])
def test_an_early_end_is_quiet_and_has_the_code_of_its_signal(tmp_path, what, number):
    with Early(tmp_path, *WHAT[what]) as early:
        early.send_signal(number)
        assert early.communicate(timeout=PATIENCE_SECONDS) == (None, b"")
        assert early.returncode == -number


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_the_first_process_of_a_container_ends_early_too(tmp_path, number):
    first = ("unshare", "--pid", "--fork", "--kill-child")
    with Early(tmp_path, before=first) as early:
        [inner] = Path(f"/proc/{early.pid}/task/{early.pid}/children").read_text().split()
        os.kill(int(inner), number)
        assert early.communicate(timeout=PATIENCE_SECONDS) == (None, b"")
        assert early.returncode == 128 + number


def test_a_command_ends_with_its_terminal(tmp_path):
    with Early(tmp_path, *WHAT["command"]) as early:
        early.send_signal(signal.SIGHUP)
        assert early.communicate(timeout=PATIENCE_SECONDS) == (None, b"")
        assert early.returncode == -signal.SIGHUP


def test_signals_before_anything_is_known_wait_or_end_the_process_quietly():
    program = "import os, sys; from tixd.runtime import signal_masks; signal_masks.begin()\n"
    program += "for number in sys.argv[1:]: os.kill(os.getpid(), int(number))\n"
    program += "signal_masks.is_command()"
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        words = (sys.executable, "-c", program, str(int(signal.SIGUSR1)), str(int(number)))
        done = subprocess.run(words, cwd=ROOT, capture_output=True)
        assert (done.returncode, done.stderr) == (-number, b"")


@pytest.mark.parametrize("role", ["standalone", "collector"])
def test_no_signal_after_the_work_has_ended_changes_the_exit_code(tmp_path, role):
    (tmp_path / "sitecustomize.py").write_text(LATE)
    with listening(tmp_path / "notify") as manager, Early(tmp_path, *WHAT[role]) as early:
        early.goes_on()
        until(lambda: early.poll() is not None or "READY=1" in manager.states())
        early.terminate()
        _, said = early.communicate(timeout=PATIENCE_SECONDS)
    assert said.splitlines()[-1].endswith(b"is late"), "they were sent"
    assert (early.returncode, b'"stopped"' in said) == (0, True)
