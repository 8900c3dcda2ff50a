"""What a job costs over ZeroMQ, one at a time: jobs that have next to nothing to do."""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from pathlib import Path

from benchmarks.yardstick import Row, cpu_ns, own_cpu_ns
from tixd import logs
from tixd.config.settings import Settings
from tixd.jobs import Job, ListUsers, ProcessInstallation
from tixd.pool.pool import Pool
from tixd.reports.scan import list_users

#: Jobs of a round, one after the other.
JOBS = 500

#: Rounds, of which the median counts.
ROUNDS = 5

#: What the specification allows for a job.
MOST_US = 200.0


def measure(base: Path) -> list[Row]:
    """A listing of an empty folder, then an empty installation."""
    empty, installation = base / "empty", base / "reports" / "1" / "1"
    empty.mkdir(parents=True)
    installation.mkdir(parents=True)
    settings = Settings(
        reports_base_path=str(base / "reports"), workers=1, log_file=str(base / "tixd.log")
    )
    listing = ListUsers(str(empty))
    process = ProcessInstallation(str(installation), 1, 1)
    return asyncio.run(_measure(settings, listing, process))


async def _measure(settings: Settings, listing: ListUsers, process: Job) -> list[Row]:
    started = time.perf_counter()
    async with Pool(settings) as pool:
        await pool.submit(listing)
        ready_ms = (time.perf_counter() - started) * 1e3
        wall, parent, worker = await _jobs(pool, listing)
        own = worker - _listing_alone_us(listing)
        cpu = parent + own
        return [
            Row("a worker process, from start to its first job done", f"{ready_ms:.0f} ms"),
            Row("dispatch of a job, one at a time, wall", *_limited(wall)),
            Row(f"  CPU of parent {parent:.0f} us and worker {own:.0f} us", *_limited(cpu)),
            Row(
                "an empty installation: wall, CPU parent, CPU worker",
                " + ".join(f"{figure:.0f}" for figure in await _jobs(pool, process)) + " us",
            ),
        ]


def _limited(figure_us: float) -> tuple[str, str, str, bool]:
    return f"{figure_us:.0f} us", "", f"{MOST_US:.0f} us or less", figure_us <= MOST_US


async def _jobs(pool: Pool, job: Job) -> tuple[float, float, float]:
    """Wall time, CPU of the parent and CPU of the worker for a job, us."""
    (pid,) = (p.pid for p in multiprocessing.active_children() if p.pid)
    rounds = []
    for _ in range(ROUNDS):
        begun = (time.perf_counter_ns(), own_cpu_ns(), cpu_ns([pid]))
        for _ in range(JOBS):
            await pool.submit(job)
        ended = (time.perf_counter_ns(), own_cpu_ns(), cpu_ns([pid]))
        rounds.append([(b - a) / JOBS / 1e3 for a, b in zip(begun, ended, strict=True)])
    wall, parent, worker = (statistics.median(column) for column in zip(*rounds, strict=True))
    return wall, parent, worker


def _listing_alone_us(listing: ListUsers) -> float:
    """CPU of the listing without any dispatch."""
    limiter = logs.RateLimiter()
    begun = time.process_time_ns()
    for _ in range(JOBS):
        list_users(listing.base, limiter)
    return (time.process_time_ns() - begun) / JOBS / 1e3
