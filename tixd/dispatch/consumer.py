"""From a queue to the workers: the same for every role that has workers.

In: a queue, a pool. Out: jobs done, and what happened in each told to whoever counts. Rules: a job
is done with in the queue only after a worker has finished it; one that was not begun goes back.
Where no worker can be started, jobs of a patient role wait until one can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tixd import errors
from tixd.jobs import JobResult
from tixd.pool.pool import Pool
from tixd.queues.base import JobQueue

#: Jobs in hand or next in line for each worker, so that none waits for the parent.
JOBS_PER_WORKER = 2

#: Pause before a job is tried again that no worker could be started for.
REFUSED_SECONDS = 5.0


async def consume(
    queue: JobQueue, pool: Pool, heard: Callable[[JobResult], None], *, patient: bool = False
) -> None:
    """Give jobs to the workers until cancelled or the pool stops; `heard` is told how each ended.

    Who is not patient gets CannotStart, in an ExceptionGroup, where no worker can be started.
    """
    async with asyncio.TaskGroup() as group:
        for _ in range(pool.size * JOBS_PER_WORKER):
            group.create_task(_feed_one_after_the_other(queue, pool, heard, patient=patient))


async def _feed_one_after_the_other(
    queue: JobQueue, pool: Pool, heard: Callable[[JobResult], None], *, patient: bool
) -> None:
    while True:
        delivery = await queue.take()
        try:
            done = await pool.submit(delivery.job)
        except errors.CannotStart:
            if not patient:
                raise
            await delivery.back()
            await asyncio.sleep(REFUSED_SECONDS)
            continue
        if "jobs_not_begun" in done.counts:
            await delivery.back()
            return
        await (delivery.again() if done.has_more else delivery.done())
        heard(done)
