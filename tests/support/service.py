"""The daemon as operators run it: a process of its own, seen through its socket, HTTP and log.

And what goes with it: the end of a NOTIFY_SOCKET, workers whose start is held, a made-up snapshot.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.support.program import PATIENCE_SECONDS, ROOT, TIXD, environment, until
from tests.support.stand_in_api import closed_port
from tixd import errors
from tixd.config.environment import Environment
from tixd.runtime import control
from tixd.runtime.status import CycleView, Snapshot, VolumeView, WorkerView

#: Minutes between cycles: the least that the settings allow, and so many that only the first comes.
SHORT, LONG = "0.05", "60000"

#: Seconds of the shortest period.
SHORT_SECONDS = 3.0


class Service(subprocess.Popen[bytes]):
    """A daemon under way; a context manager that ends all that it started.

    state: holds its schedule, runtime folder, TMPDIR and log, which a second one may share.
    """

    def __init__(
        self,
        base: Path,
        state: Path,
        api_port: int,
        *,
        before: Sequence[str] = (),
        name: str = "log",
        **variables: str,
    ) -> None:
        self.state, self.log_file = state, state / name
        for folder in ("run", "tmp"):
            (state / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.http = f"127.0.0.1:{closed_port()}"
        self.env = environment(base, api_port) | {
            "TIX_PROCESSING_PERIOD": LONG,
            "CELERY_BEAT_SCHEDULE_DIR": str(state / "schedule"),
            "RUNTIME_DIRECTORY": str(state / "run"),
            "TMPDIR": str(state / "tmp"),
            "TIX_HTTP_ADDRESS": self.http,
            **variables,
        }
        command = (*before, *TIXD)
        with self.log_file.open("ab") as log:
            super().__init__(command, cwd=ROOT, env=self.env, stderr=log, start_new_session=True)

    def __exit__(self, *error: Any) -> None:
        """When the test ends first, so does all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        super().__exit__(*error)

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """The lines of its log, or those of this event, so far."""
        lines = self.log_file.read_text().split("\n")[:-1]
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if event in ("", line["event"])]

    def status(self) -> dict[str, Any]:
        """What it tells of itself over its socket; {} while it does not answer."""
        with contextlib.suppress(errors.TixdError):
            for role in control.ask_all(environment_of(self.state), "", "GET /status", 5.0):
                if role["pid"] == self.pid:
                    return dict(role)
        return {}

    def told(self) -> dict[str, Any]:
        """The same, once it does answer."""
        found: dict[str, Any] = {}
        until(lambda: found.update(self.status()) or found)
        return found

    def get(self, path: str, seconds: float = 20.0) -> tuple[int, str]:
        """Status and body of an HTTP answer, which must come in time; (0, "") where none can."""
        try:
            with urllib.request.urlopen(f"http://{self.http}{path}", timeout=seconds) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.read().decode()
        except urllib.error.URLError as error:
            if isinstance(error.reason, ConnectionRefusedError):
                return 0, ""
            raise

    def in_state(self, state: str) -> bool:
        """Whether it says that it is in this state."""
        return self.status().get("state") == state

    def runs(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until it leads and all its workers are ready."""
        until(lambda: self.poll() is not None or self._all_ready(), seconds)
        assert self.poll() is None, self.log_file.read_text()

    def _all_ready(self) -> bool:
        status = self.status()
        return status.get("state") == "running" and all(w["ready"] for w in status["workers"])

    def pids(self) -> set[int]:
        """The process ids of its workers, of which one may just have ended."""
        return {worker["pid"] for worker in self.told()["workers"]}

    def workers(self) -> list[psutil.Process]:
        """Its worker processes, none of which ends now."""
        return [psutil.Process(worker["pid"]) for worker in self.told()["workers"]]

    def ends(
        self, number: int = signal.SIGTERM, seconds: float = PATIENCE_SECONDS
    ) -> tuple[int, float]:
        """Send a signal; its exit code, and how long the end took."""
        begun = time.monotonic()
        self.send_signal(number)
        return self.wait(seconds), time.monotonic() - begun

    def leftovers(self) -> list[str]:
        """Whatever lies in its runtime folder and its TMPDIR."""
        found = [path for name in ("run", "tmp") for path in (self.state / name).rglob("*")]
        return sorted(str(path.relative_to(self.state)) for path in found)


def environment_of(state: Path) -> Environment:
    """Where a command finds the services of this state."""
    return Environment((str(state / "run"),), (str(state / "none"),), "", "")


@contextlib.contextmanager
def service(base: Path, state: Path, api_port: int, **options: Any) -> Iterator[Service]:
    """A daemon that runs and whose workers are ready; the options are those of Service."""
    with Service(base, state, api_port, **options) as running:
        running.runs()
        yield running


def gone(process: psutil.Process) -> bool:
    """Whether the kernel is done with it, be it that nobody has asked yet how it ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def writes(process: psutil.Process, file: Path) -> bool:
    """Whether a process has the file open."""
    return str(file) in [opened.path for opened in process.open_files()]


class Manager:
    """A service manager: the end of a NOTIFY_SOCKET."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._said: list[str] = []

    def said(self) -> list[str]:
        """Every message so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._said.append(self._socket.recv(4096, socket.MSG_DONTWAIT).decode())
        return self._said

    def states(self) -> list[str]:
        """What it was told of states, in order: READY, RELOADING, STOPPING."""
        first = [said.split("\n")[0] for said in self.said()]
        return [said for said in first if not said.startswith(("WATCHDOG", "STATUS"))]

    def status(self) -> str:
        """The line that `systemctl status` would show now."""
        lines = [line for said in self.said() for line in said.split("\n")]
        found = [line for line in lines if line.startswith("STATUS=")]
        return found[-1].removeprefix("STATUS=") if found else ""

    def fed(self) -> int:
        """How often it has heard that all turns."""
        return self.said().count("WATCHDOG=1")


@contextlib.contextmanager
def listening(path: Path) -> Iterator[Manager]:
    """A service manager that listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        yield Manager(sock)


#: What Python runs first; multiprocessing says on the command line that it is a worker.
_FIRST = """
import os, sys, time
while "--multiprocessing-fork" in sys.orig_argv and os.path.exists({hold!r}):
    time.sleep(0.01)
"""


class HeldStart:
    """`variables`: those that a service must have for it."""

    def __init__(self, folder: Path) -> None:
        self._hold = folder / "hold-workers"
        self._hold.touch()
        (folder / "first").mkdir()
        (folder / "first" / "sitecustomize.py").write_text(_FIRST.format(hold=str(self._hold)))
        self.variables = {"PYTHONPATH": str(folder / "first")}

    def let_go(self) -> None:
        """Let them start, those to come too."""
        self._hold.unlink()


def snapshot(**changes: Any) -> Snapshot:
    """A standalone role that is ready at the epoch second 1000; `changes` replace members."""
    members: dict[str, Any] = {
        "version": "1.2.3",
        "role": "standalone",
        "pid": 77,
        "state": "running",
        "moment": 1000.0,
        "started": 400.0,
        "period_seconds": 600.0,
        "workers": (
            WorkerView(78, True, "12345/67890", "post", 2.0),
            WorkerView(79, False, "", "", 0.5),
        ),
        "volume": VolumeView(answered=995.0, free_bytes=7 * 2**30),
        "cycle": CycleView(1, 600.0, 0.25, None, 1200.0),
        "counts": {"windows_posted": 3, "jobs_done": 5},
    }
    return Snapshot(**{**members, **changes})
