"""CPU of a window in the whole tree of processes: standalone, and dispatcher and worker."""

from __future__ import annotations

import shutil
import statistics
from operator import attrgetter
from pathlib import Path

from benchmarks.runs import Cpu, run
from benchmarks.step import MOST_PARENT, MOST_STEP
from benchmarks.yardstick import Row, row, yardstick_ns

#: Windows of a run, one in each installation.
WINDOWS = 600

#: Runs of either kind, in turn, of which the median counts.
ROUNDS = 3

#: What the specification allows dispatcher and worker, as a multiple of standalone.
MOST_OF_STANDALONE = 1.5

#: CPU of the whole step in the tix-time-processor, in Y; tixd must take so many times less.
ORIGINAL_Y, LEAST_TIMES = 5.7, 150


def measure(base: Path) -> list[Row]:
    """Runs of both kinds in turn; the broker is one of the benchmark's own."""
    if not shutil.which("rabbitmq-server", path="/usr/sbin:/usr/bin:/usr/local/sbin"):
        return [Row("standalone, dispatcher and worker", "not run: no rabbitmq-server")]
    from tests.support.broker import Broker

    alone: list[Cpu] = []
    apart: list[Cpu] = []
    yardsticks = [yardstick_ns()]
    (base / "broker").mkdir(parents=True)
    with Broker(base / "broker") as broker:
        for _ in range(ROUNDS):
            alone.append(run(base, WINDOWS).cpu)
            apart.append(run(base, WINDOWS, broker=broker).cpu)
            yardsticks.append(yardstick_ns())
    return _rows(alone, apart, statistics.median(yardsticks))


def _rows(alone: list[Cpu], apart: list[Cpu], yardstick: float) -> list[Row]:
    def of(what: str, runs: list[Cpu], part: str, most: float | None = None) -> Row:
        figures = list(map(attrgetter(part), runs))
        return row(what, figures, [ns / yardstick for ns in figures], most)

    tixd = statistics.median(cpu.tixd for cpu in alone)
    times = ORIGINAL_Y * yardstick / tixd
    more = statistics.median(b.tixd / a.tixd for a, b in zip(alone, apart, strict=True))
    return [
        of("standalone, all processes, CPU of a window", alone, "tixd"),
        of("  of this the workers", alone, "workers", MOST_STEP),
        of("  of this the parent", alone, "parents", MOST_PARENT),
        Row(
            f"  the original's {ORIGINAL_Y} Y, in multiples of it",
            f"{times:.0f}",
            "",
            f"{LEAST_TIMES} or more",
            times >= LEAST_TIMES,
        ),
        of("dispatcher and worker, all processes, CPU of a window", apart, "tixd"),
        of("  of this the workers", apart, "workers"),
        of("  of this the workers' parent", apart, "parents"),
        of("  of this the dispatcher with its worker", apart, "dispatcher"),
        of("  RabbitMQ beside it", apart, "broker"),
        Row(
            "  in multiples of standalone",
            f"{more:.2f}",
            "",
            f"{MOST_OF_STANDALONE} or less",
            more <= MOST_OF_STANDALONE,
        ),
    ]
