"""Windows a second beside a tix-api that answers late, and what each window costs meanwhile."""

from __future__ import annotations

from pathlib import Path

from benchmarks.memory import MOST_PARENT_MB, MOST_WORKER_MB
from benchmarks.memory import row as memory_row
from benchmarks.runs import Cpu, Run, run
from benchmarks.yardstick import Row, row, yardstick_ns

#: What the specification asks of 2 workers: windows a second, by the API's delay in ms.
LEAST_RATES = {0: 600, 50: 400, 200: 150}

#: With so many other worker processes it is measured too.
OTHER_WORKERS = (1, 3, 4)

#: Windows in front of them, one in each installation: what the target needs so many seconds for.
SECONDS = 4


def measure(base: Path) -> list[Row]:
    """Two workers, each delay: rate, CPU, and memory with the longest delay."""
    rows = []
    for delay_ms, least in LEAST_RATES.items():
        before = yardstick_ns()
        seen = run(base, SECONDS * least, delay_ms=delay_ms)
        yardstick = (before + yardstick_ns()) / 2
        rows += [_rate(seen, delay_ms, 2, least), *_cpu(seen.cpu, yardstick)]
    return [
        *rows,
        memory_row("  memory of a worker meanwhile", seen.worker_mb, MOST_WORKER_MB),
        memory_row("  memory of the parent meanwhile", seen.parent_mb, MOST_PARENT_MB),
    ]


def measure_workers(base: Path) -> list[Row]:
    """Other numbers of workers."""
    return [
        _rate(run(base, SECONDS * least, delay_ms=delay_ms, workers=workers), delay_ms, workers)
        for delay_ms, least in LEAST_RATES.items()
        for workers in OTHER_WORKERS
    ]


def _rate(seen: Run, delay_ms: int, workers: int, least: int | None = None) -> Row:
    """Windows a second."""
    what = f"windows posted, {workers} worker{'s' * (workers > 1)}, API after {delay_ms} ms"
    target = (f"{least}/s or more", seen.rate >= least) if least else ()
    return Row(what, f"{seen.rate:.0f}/s", "", *target)


def _cpu(cpu: Cpu, yardstick: float) -> list[Row]:
    """CPU of a window."""
    parts = {
        "CPU of the workers for a window": cpu.workers,
        "CPU of the parent for a window": cpu.parents,
        "CPU of the stand-in API for a post": cpu.api,
    }
    return [row(f"  {what}", [ns], [ns / yardstick]) for what, ns in parts.items()]
