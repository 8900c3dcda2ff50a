"""Memory of `tixd once` as it is run: its parent and its one worker, at the end of 500 windows."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.data import many
from benchmarks.stand_in import StandIn, stand_in
from benchmarks.yardstick import Row

#: Windows that the worker goes through.
WINDOWS = 500

#: What the specification allows.
MOST_WORKER_MB, MOST_PARENT_MB = 60.0, 90.0


def measure(base: Path) -> list[Row]:
    """Run the program on 500 installations and look at it until it ends."""
    reports = base / "reports"
    for kept in many(WINDOWS):
        kept.lay_out(reports)
    with stand_in(base / "api") as api:
        seen = _watched(reports, api)
        posts = sum(1 for _ in api.log.open())
    parent, worker = seen
    return [
        row(f"memory of a worker after {posts} windows", worker, MOST_WORKER_MB),
        row("memory of the parent (tixd once)", parent, MOST_PARENT_MB),
    ]


def row(what: str, figures: tuple[float, float], most: float) -> Row:
    """RSS and USS of a process, MB, of which the first is limited."""
    rss, uss = figures
    return Row(
        f"{what}, RSS (USS)",
        f"{rss:.0f} ({uss:.0f}) MB",
        target=f"under {most:.0f} MB",
        reached=rss < most,
    )


def _watched(reports: Path, api: StandIn) -> list[tuple[float, float]]:
    """The largest RSS and USS (MB) seen of the parent and of its worker."""
    environment = api.environment(reports) | {"TIX_WORKERS": "1"}
    command = [sys.executable, "-m", "tixd", "once"]
    most = [(0.0, 0.0), (0.0, 0.0)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for place, pid in enumerate([process.pid, *workers_of(process.pid)]):
                most[place] = max(most[place], memory_mb(pid))
            time.sleep(0.02)
    return most


def workers_of(parent: int) -> list[int]:
    """The workers among the parent's children: the other one is multiprocessing's tracker."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    except OSError:
        return []
    return [pid for pid, command in commands.items() if b"spawn_main" in command]


def memory_mb(pid: int) -> tuple[float, float]:
    """RSS and USS of a process; nothing where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return (0.0, 0.0)
    kb = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    return kb["Rss"] / 1024, (kb["Private_Clean"] + kb["Private_Dirty"]) / 1024
