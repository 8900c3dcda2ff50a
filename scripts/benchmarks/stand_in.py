"""Stand-ins for the tix-api as processes of their own, on 127.0.0.1.

One is the tests': it judges every post and keeps it. The other answers after a delay.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.delayed_api import SEEN
from tixd.config.fields import Secret
from tixd.config.settings import Settings

_PROGRAM = Path(__file__).parents[2] / "tests" / "support" / "stand_in_api.py"


@dataclass(frozen=True, slots=True)
class StandIn:
    """Where it listens, its process, and the file with a line for each accepted post."""

    port: int
    pid: int
    log: Path

    def settings(self, base: Path, workers: int) -> Settings:
        """Settings that process `base` and post here."""
        return Settings(
            reports_base_path=str(base),
            api_host="127.0.0.1",
            api_port=self.port,
            api_user="bench",
            api_password=Secret("bench"),
            workers=workers,
            log_file=str(self.log.with_name("tixd.log")),
        )

    def environment(self, base: Path) -> dict[str, str]:
        """This process's environment and the variables that say the same to the program."""
        return os.environ | {
            "TIX_REPORTS_BASE_PATH": str(base),
            "TIX_API_HOST": "127.0.0.1",
            "TIX_API_PORT": str(self.port),
            "TIX_API_USER": "bench",
            "TIX_API_PASSWORD": "bench",
            "CELERY_LOG_LEVEL": "ERROR",
        }


@contextlib.contextmanager
def stand_in(folder: Path) -> Iterator[StandIn]:
    """Run it while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "posts.jsonl"
    command = [sys.executable, str(_PROGRAM), "--port", "0", "--log", str(log)]
    with _started(command) as (process, line):
        yield StandIn(int(line.rpartition(":")[2]), process.pid, log)


@dataclass(frozen=True, slots=True)
class DelayedStandIn:
    """Where it listens, its process, and the file in which it counts."""

    port: int
    pid: int
    seen: Path

    def posts(self) -> tuple[int, float]:
        """How many it has answered, and within how many seconds from the first one's coming."""
        answered, first, last = SEEN.unpack(self.seen.read_bytes())
        return answered, (last - first) / 1e9


@contextlib.contextmanager
def delayed_stand_in(folder: Path, delay_ms: int) -> Iterator[DelayedStandIn]:
    """Run the one that answers after a delay while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    seen = folder / "seen"
    command = [
        sys.executable,
        str(Path(__file__).with_name("delayed_api.py")),
        str(delay_ms),
        str(seen),
    ]
    with _started(command) as (process, line):
        yield DelayedStandIn(int(line), process.pid, seen)


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a program, which is ended after the block, and the first line that it prints."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline() if process.stdout else ""
        finally:
            process.terminate()
