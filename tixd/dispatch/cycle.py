"""One cycle over everything, from the first installation to the last: for `tixd once`.

In: a pool, the reports base. Out: counts of what happened. Rules: no schedule and no leader; every
installation gets a job; an installation that is not finished comes again behind the others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from tixd.dispatch.consumer import feed
from tixd.dispatch.scheduler import Put, scan
from tixd.jobs import Done, ListInstallations
from tixd.pool.pool import Pool
from tixd.queues.local import LocalQueue
from tixd.runtime import tasks

Progress = Callable[[int, int], object]


async def run_cycle(pool: Pool, base: str, counts: Counter[str], progress: Progress) -> None:
    """Give every installation a job until all is done, or the pool stops.

    counts: added to as jobs end, and by worker_restarts_<cause> at the end; progress: told after
    each how many installations are finished, of how many found so far. Raises CannotStart where
    the base cannot be listed.
    """
    await work_off(pool, lambda put: scan(pool, ListInstallations(base, ()), put), counts, progress)


async def work_off(
    pool: Pool,
    fill: Callable[[Put], Awaitable[Counter[str]]],
    counts: Counter[str],
    progress: Progress,
) -> None:
    """Do all jobs that `fill` puts, and those that they leave, until none is open."""
    queue, restarts = LocalQueue(), pool.restarts.copy()

    def heard(done: Done) -> None:
        counts.update(done.counts)
        progress(queue.taken - queue.open, queue.taken)

    feeding = tasks.start(feed(queue, pool, heard), "feeding of the workers")
    try:
        counts.update(await fill(queue.put))
        idle = tasks.start(queue.idle(), "waiting for the end")
        await asyncio.wait([idle, feeding], return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        counts["jobs_not_begun"] += queue.waiting
        for cause, count in (pool.restarts - restarts).items():
            counts[f"worker_restarts_{cause}"] += count
    finally:
        await tasks.end(feeding)
    failure = None if feeding.cancelled() else feeding.exception()
    if failure:
        raise failure.exceptions[0] if isinstance(failure, ExceptionGroup) else failure
