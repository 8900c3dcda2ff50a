"""`tixd once` as operators run it: a process of its own, with settings from its environment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tixd.commands.output import WORDS

ROOT = Path(__file__).parents[2]

#: Another program to test instead of this checkout, such as one of a release: its path.
PROGRAM = os.environ.get("TIXD_TEST_PROGRAM")

#: How the program is called: with no tixd.toml, whatever lies in /etc/tixd.
TIXD = (*([PROGRAM] if PROGRAM else [sys.executable, "-m", "tixd"]), "-c", os.devnull)

#: How a cycle is called.
COMMAND = (*TIXD, "once")

#: How variables begin that are settings of tixd and of nothing else.
OWN_VARIABLES = ("TIX_", "GRACC_", "CELERY_", "PROCESSOR_")

#: Put before it to have the largest process's memory in the log.
MEASURE = (sys.executable, "-m", "tests.support.memory")

#: How long anything may take that has no limit of its own: on a busy machine the start of a single
#: process takes many times the half second that it takes on an idle one.
PATIENCE_SECONDS = 60.0

_NAMES = {words: name for name, words in WORDS.items()}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a cycle ended: exit code, installations looked at, the summary's counts, log lines."""

    code: int
    installations: int
    counts: dict[str, int]
    log: list[dict[str, Any]]
    text: str

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of this event."""
        return [line for line in self.log if line["event"] == name]


def bare_environment(**variables: str) -> dict[str, str]:
    """This environment without any setting of tixd, and with `variables`."""
    # Compiling tixd anew in each process takes longer than what most tests want of it.
    foreign = (*OWN_VARIABLES, "REQUESTS_", "CURL_", "PYTHONDONTWRITE")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(foreign)}
    return {name: text for name, text in kept.items() if "proxy" not in name.lower()} | variables


def environment(base: Path, port: int, **variables: str) -> dict[str, str]:
    """This environment with tixd's settings and no others: one worker process, much patience."""
    return bare_environment() | {
        "TIX_REPORTS_BASE_PATH": str(base),
        "TIX_API_HOST": "127.0.0.1",
        "TIX_API_PORT": str(port),
        "TIX_API_USER": "tix",
        "TIX_API_PASSWORD": "secret",
        "TIX_API_CONNECT_SECONDS": "30",
        "TIX_API_READ_SECONDS": "30",
        "TIX_API_TOTAL_SECONDS": "60",
        "TIX_WORKERS": "1",
        "TIX_LOG_FORMAT": "json",
        **variables,
    }


def begin(base: Path, port: int, *, before: Sequence[str] = (), **variables: str) -> Running:
    """Start a cycle and do not wait; it leads a process group of its own.

    before: what stands before the command, such as MEASURE.
    """
    return Running(
        (*before, *COMMAND),
        cwd=ROOT,
        env=environment(base, port, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def once(base: Path, port: int, **options: Any) -> Ended:
    """Run a cycle to its end; the options are those of begin."""
    with begin(base, port, **options) as running:
        return running.ended()


class Running(subprocess.Popen[str]):
    """A cycle under way; a context manager."""

    def __exit__(self, *error: Any) -> None:
        """When the test ends first, so does all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        super().__exit__(*error)

    def ended(self) -> Ended:
        """Wait for its end."""
        output, log = self.communicate()
        return _ended(self.returncode, output, log)


def _ended(code: int, output: str, log: str) -> Ended:
    lines = [line.strip().partition("  ") for line in output.splitlines()]
    figures = {words: int(number.replace(",", "")) for number, _, words in lines}
    looked = [n for words, n in figures.items() if words.startswith("installations looked at")]
    counts = {_NAMES[words]: n for words, n in figures.items() if words in _NAMES}
    told = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return Ended(code, sum(looked), counts, told, output + log)


def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until the condition holds; fails the test when it does not within the deadline."""
    deadline, pause_seconds = time.monotonic() + seconds, 0.002
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s"
        time.sleep(pause_seconds)
        # Every look costs the program that is looked at some of its time.
        pause_seconds = min(pause_seconds * 1.2, 0.02)


def freeze(pid: int) -> None:
    """Stop a process where it is, and go on once none of its threads runs any more."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: all(map(_is_stopped, Path(f"/proc/{pid}/task").iterdir())))


def _is_stopped(thread: Path) -> bool:
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"
    except FileNotFoundError:  # it has ended
        return True
