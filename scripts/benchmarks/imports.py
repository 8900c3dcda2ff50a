"""What it costs to start: CPU of a fresh process, less that of a Python that does nothing."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.yardstick import Row, interleaved, share_of_y

#: Rounds, of which the median counts.
ROUNDS = 7

_PROGRAMS = {
    "start: tixd --version": ["-m", "tixd", "--version"],
    "start: imports of tixd once": ["-c", "import tixd.cli, tixd.commands.once"],
    "start: imports of a worker": ["-c", "import tixd.pool.worker_main"],
    "  of these numpy": ["-c", "import numpy"],
    "  of these urllib3": ["-c", "import urllib3"],
    "  of these zmq": ["-c", "import zmq"],
}


def measure(_: Path) -> list[Row]:
    """A row for each program."""
    bare_ns = statistics.median(_cpu_ns(["-c", ""]) for _ in range(ROUNDS))
    return [_row(what, arguments, bare_ns) for what, arguments in _PROGRAMS.items()]


def _row(what: str, arguments: list[str], bare_ns: float) -> Row:
    figures, ratios = interleaved(lambda: _cpu_ns(arguments) - bare_ns, ROUNDS)
    figure_ms = statistics.median(figures) / 1e6
    return Row(f"{what}, CPU", f"{figure_ms:.0f} ms", share_of_y(statistics.median(ratios)))


def _cpu_ns(arguments: list[str]) -> float:
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    used = after.children_user + after.children_system
    return (used - before.children_user - before.children_system) * 1e9
