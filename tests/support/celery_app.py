"""Real Celery as subprocesses: beat and worker of tests/support/original, on a broker of a test's.

`with celery_worker(base, tmp_path, api.port, broker.port) as worker:` runs what a host of a Celery
deployment runs; worker.tasks() tells what its tasks were given.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support import namespaces
from tests.support.program import ROOT, environment, until

#: Where `celery -A processor.tasks` finds its tasks.
ORIGINAL = ROOT / "tests" / "support" / "original"

#: Minutes between cycles, unless a test says otherwise: the least that the settings allow.
PERIOD = "0.05"

#: A start takes 2 s where nothing else runs.
START_SECONDS = 60.0


class CeleryProgram(subprocess.Popen[bytes]):
    """A celery command under way; a context manager that ends all that it started."""

    def __init__(
        self, words: Sequence[str], env: dict[str, str], log: Path, netns: str | None
    ) -> None:
        self._log = log
        self._records = Path(env["RECORD_FILE"])
        celery = (sys.executable, "-m", "celery", "-A", "processor.tasks", *words)
        with log.open("ab") as file:
            super().__init__(
                namespaces.command(netns, *celery),
                cwd=ORIGINAL,
                env=env,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def __exit__(self, *error: Any) -> None:
        """When the test ends first, so does all that it started."""
        self.kill_all()
        super().__exit__(*error)

    def kill_all(self) -> None:
        """kill -9 of it and all its processes, as when its host loses power."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait(60)

    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    def says(self, text: str, seconds: float = START_SECONDS) -> None:
        """Wait until its log holds this."""
        until(lambda: self.poll() is not None or text in self.log(), seconds)
        assert self.poll() is None, self.log()

    def tasks(self, name: str = "") -> list[dict[str, Any]]:
        """What tasks (of this name) were given that have ended here, in order."""
        lines = self._records.read_text().split("\n")[:-1] if self._records.exists() else []
        return [t for t in map(json.loads, lines) if name in ("", t["task"])]


@contextlib.contextmanager
def celery_beat(
    base: Path, state: Path, broker_port: int, *, netns: str | None = None, **variables: str
) -> Iterator[CeleryProgram]:
    """`celery beat`, once it has started; the first cycle comes a period later.

    state: a folder for its schedule and log; variables: further ones of its environment, such as
    TIX_RABBITMQ_HOST and TIX_PROCESSING_PERIOD.
    """
    words = ("beat", "-s", str(state / "beat-schedule"), "-l", "DEBUG", "--pidfile=")
    env = _environment(base, state, "beat", 0, broker_port, variables)
    with CeleryProgram(words, env, state / "beat.log", netns) as beat:
        beat.says("beat: Starting...")
        yield beat


@contextlib.contextmanager
def celery_worker(
    base: Path,
    state: Path,
    api_port: int,
    broker_port: int,
    *,
    name: str = "worker",
    netns: str | None = None,
    words: Sequence[str] = (),
    **variables: str,
) -> Iterator[CeleryProgram]:
    """`celery worker` of one process, once it consumes.

    state: a folder for its log and what it notes, under `name`; words: further ones of its command
    line; variables: further ones of its environment.
    """
    command = ("worker", "-l", "INFO", "-c", "1", "-n", f"{name}@%h", *words)
    env = _environment(base, state, name, api_port, broker_port, variables)
    with CeleryProgram(command, env, state / f"{name}.log", netns) as worker:
        worker.says(" ready.")
        yield worker


def _environment(
    base: Path, state: Path, name: str, api_port: int, broker_port: int, more: dict[str, str]
) -> dict[str, str]:
    state.mkdir(parents=True, exist_ok=True)
    return environment(base, api_port) | {
        "PYTHONPATH": os.pathsep.join((str(ORIGINAL), str(ROOT))),
        "TIX_RABBITMQ_HOST": "127.0.0.1",
        "TIX_RABBITMQ_PORT": str(broker_port),
        "TIX_PROCESSING_PERIOD": PERIOD,
        "RECORD_FILE": str(state / f"{name}.tasks"),
        **more,
    }
