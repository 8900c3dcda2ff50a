"""Jobs of empty installations through RabbitMQ and, in turn with it, through the local queue alone.

The broker is one of the benchmark's own, on this machine; where there is none, that is the figure.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.yardstick import Row
from tixd import errors, logs
from tixd.config.settings import Settings
from tixd.dispatch.consumer import consume
from tixd.jobs import ProcessInstallation
from tixd.pool.pool import Pool
from tixd.queues.local import LocalQueue

if TYPE_CHECKING:
    from tests.support.broker import Broker
    from tests.support.queues import JobQueue, RabbitEnds

#: Jobs of a round, each for an installation of its own.
JOBS = 1000

#: Rounds, of which the median counts.
ROUNDS = 3

#: Restarts of the broker, of which the longest counts.
RESTARTS = 3

#: Worker processes.
WORKERS = 2

#: After its port is open the first job must be done so soon.
MOST_SECONDS = 15.0

#: Longest wait for anything.
PATIENCE_SECONDS = 120.0


def measure(base: Path) -> list[Row]:
    """Rounds through either queue, then restarts of the broker."""
    if not shutil.which("rabbitmq-server", path="/usr/sbin:/usr/bin:/usr/local/sbin"):
        return [Row("RabbitMQ", "not run: no rabbitmq-server")]
    from tests.support.broker import Broker

    reports = base / "reports"
    for number in range(1, JOBS + 1):
        (reports / "1" / str(number)).mkdir(parents=True)
    (base / "broker").mkdir()
    logs.set_up("CRITICAL", "text", "stderr")
    with Broker(base / "broker") as broker:
        return asyncio.run(_measure(reports, broker))


async def _measure(reports: Path, broker: Broker) -> list[Row]:
    from tests.support.queues import consumer

    log_file = str(reports.with_name("tixd.log"))
    settings = Settings(reports_base_path=str(reports), workers=WORKERS, log_file=log_file)
    async with (
        Pool(settings) as pool,
        consumer(broker.port, str(reports), pool.capacity) as remote,
    ):
        bench = _Bench(str(reports), pool)
        await bench.jobs_per_second(LocalQueue())  # until the workers are warm
        rates = [
            (await bench.jobs_per_second(LocalQueue()), await bench.jobs_per_second(remote))
            for _ in range(ROUNDS)
        ]
        back = [await bench.seconds_from_up(broker, remote) for _ in range(RESTARTS)]
    local, rabbit = (statistics.median(column) for column in zip(*rates, strict=True))
    up = max(back)
    return [
        Row(f"empty jobs, {WORKERS} workers, local queue and ZeroMQ", f"{local:.0f} jobs/s"),
        Row("  the same through RabbitMQ, from publishing to the last ack", f"{rabbit:.0f} jobs/s"),
        Row(
            f"  from the broker's port open to the first job done, most of {RESTARTS}",
            f"{up:.2f} s",
            "",
            f"{MOST_SECONDS:.0f} s or less",
            up <= MOST_SECONDS,
        ),
    ]


class _Bench:
    """Jobs for the installations below a folder, and the workers that do them."""

    def __init__(self, reports: str, pool: Pool) -> None:
        self._jobs = [ProcessInstallation(f"{reports}/1/{n}", 1, n) for n in range(1, JOBS + 1)]
        self._pool = pool
        self._done = 0

    async def jobs_per_second(self, queue: JobQueue) -> float:
        """Put every job, and have all done."""
        begun, due = time.perf_counter(), self._done + JOBS
        async with self._fed(queue):
            await asyncio.gather(*map(queue.put, self._jobs))
            await _until(lambda: self._done >= due)
        return JOBS / (time.perf_counter() - begun)

    async def seconds_from_up(self, broker: Broker, queue: RabbitEnds) -> float:
        """Kill the broker with a job in its queue; from its port open to that job done."""
        await self._put(queue)
        await asyncio.to_thread(broker.kill)
        await _until(lambda: bool(queue.outage))
        await asyncio.to_thread(broker.start)
        begun, before = time.perf_counter(), self._done
        async with self._fed(queue):
            await _until(lambda: self._done > before)
        return time.perf_counter() - begun

    async def _put(self, queue: RabbitEnds) -> None:
        """Put a job, as soon as the queue takes one."""
        while True:
            with contextlib.suppress(errors.BrokerError):
                await queue.put(self._jobs[0])
                return
            await asyncio.sleep(0.1)

    @contextlib.asynccontextmanager
    async def _fed(self, queue: JobQueue) -> AsyncIterator[None]:
        feeding = asyncio.ensure_future(consume(queue, self._pool, self._count))
        try:
            yield
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])

    def _count(self, _: object) -> None:
        self._done += 1


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"it did not happen within {PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(0.001)
