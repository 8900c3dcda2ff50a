"""From a queue to the workers: the same for every role that has workers.

In: a queue, a pool. Out: jobs done, and what happened in each told to whoever counts. Rules: a job
is done with in the queue only after a worker has finished it; one that was not begun goes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tixd.dispatch.job import Done
from tixd.dispatch.pool import Pool
from tixd.queues.contract import JobQueue

#: Jobs in hand or next in line for each worker, so that none waits for the parent.
JOBS_PER_WORKER = 2


async def feed(queue: JobQueue, pool: Pool, heard: Callable[[Done], None]) -> None:
    """Give jobs to the workers until cancelled; `heard` is told how each one ended."""
    async with asyncio.TaskGroup() as group:
        for _ in range(pool.size * JOBS_PER_WORKER):
            group.create_task(_feed_one_after_the_other(queue, pool, heard))


async def _feed_one_after_the_other(
    queue: JobQueue, pool: Pool, heard: Callable[[Done], None]
) -> None:
    while True:
        delivery = await queue.take()
        done = await pool.submit(delivery.job)
        if "jobs_not_begun" in done.counts:
            await delivery.back()
            return
        await (delivery.again() if done.more else delivery.done())
        heard(done)
