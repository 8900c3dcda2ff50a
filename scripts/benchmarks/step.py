"""The whole step, through the real Pool: lock, read, analyse, post, journal, log, delete.

The tix-api's stand-in, the parent and the workers share the cores; CPU is counted for each.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import file_system, simulated
from benchmarks.stand_in import StandIn, stand_in
from benchmarks.yardstick import Row, cpu_ns, own_cpu_ns, row, share_of_y, yardstick_ns
from tixd.commands.once import run_once
from tixd.pool.pool import Pool

#: Windows of a round: one each of so many installations.
WINDOWS = 100

#: Rounds that count; one more goes before them, to warm up. Installations live on between them.
ROUNDS = 9

#: What the specification allows for one step, in one worker process.
MOST_STEP = 1 / 25

#: What it allows the parent meanwhile.
MOST_PARENT = 1 / 250

#: What it allows for 100 windows with 2 worker processes.
MOST_HUNDRED = 3.0


@dataclass(frozen=True, slots=True)
class Round:
    """One round, per window in ns: wall time, CPU of workers, parent and stand-in; and Y."""

    wall: float
    workers: float
    parent: float
    api: float
    yardstick: float


def measure(base: Path) -> list[Row]:
    """One worker for the CPU of a step, two for windows a second."""
    kind = file_system(base)
    with stand_in(base) as api:
        one = asyncio.run(_rounds(base / "one", api, workers=1))
        two = asyncio.run(_rounds(base / "two", api, workers=2))
    return [
        _cpu("whole step, CPU of one worker", one, "workers", MOST_STEP),
        _cpu("  beside it: CPU of the parent", one, "parent", MOST_PARENT),
        _cpu("  beside it: CPU of the stand-in API", one, "api"),
        _hundred(f"100 windows, 2 workers, {kind}, wall", [r.wall for r in two], two),
        _hundred("  least of all rounds", [min(r.wall for r in two)], two),
        _hundred(
            f"  by CPU of all processes on {os.cpu_count()} cores",
            [(r.workers + r.parent + r.api) / min(2, os.cpu_count() or 1) for r in two],
            two,
        ),
    ]


def _cpu(what: str, rounds: list[Round], part: str, most: float | None = None) -> Row:
    figures = [getattr(r, part) for r in rounds]
    return row(what, figures, [getattr(r, part) / r.yardstick for r in rounds], most)


def _hundred(what: str, figures_ns: list[float], rounds: list[Round]) -> Row:
    yardstick = statistics.median(r.yardstick for r in rounds)
    figure = statistics.median(figures_ns)
    ratio = 100 * figure / yardstick
    target = f"{share_of_y(MOST_HUNDRED)} or less"
    return Row(what, f"{1e9 / figure:.0f}/s", share_of_y(ratio), target, ratio <= MOST_HUNDRED)


async def _rounds(base: Path, api: StandIn, workers: int) -> list[Round]:
    kept = simulated(WINDOWS)
    rounds = []
    async with Pool(api.settings(base, workers)) as pool:
        for number in range(ROUNDS + 1):
            for each in kept:
                each.lay_out(base)
            before = yardstick_ns()
            measured = await _round(pool, base, api, before)
            if number:  # before, installations were new: no lock file, no journal
                rounds.append(measured)
        await pool.stop(grace_seconds=5.0)
    return rounds


async def _round(pool: Pool, base: Path, api: StandIn, yardstick: float) -> Round:
    counts: Counter[str] = Counter()
    pids = [p.pid for p in multiprocessing.active_children() if p.pid]
    begun = (time.perf_counter_ns(), cpu_ns(pids), own_cpu_ns(), cpu_ns([api.pid]))
    await run_once(pool, str(base), counts, lambda _done, _found: None)
    ended = (time.perf_counter_ns(), cpu_ns(pids), own_cpu_ns(), cpu_ns([api.pid]))
    if counts["windows_posted"] != WINDOWS:
        raise RuntimeError(f"not every window was posted: {counts}")
    wall, workers, parent, stand_in = ((b - a) / WINDOWS for a, b in zip(begun, ended, strict=True))
    return Round(wall, workers, parent, stand_in, yardstick)
