"""The tests' stand-in for the tix-api as a process of its own, on 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            yield StandIn(int(line.rpartition(":")[2]), process.pid, log)
        finally:
            process.terminate()
