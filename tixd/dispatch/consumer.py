"""Take jobs from a queue and give them to the workers, in every role that has workers.

A job is acknowledged only after a worker has finished it; one that was not started is released.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tixd import errors
from tixd.jobs import JobResult
from tixd.pool.pool import Pool
from tixd.queues.base import JobSource

#: Pause before a job is tried again after no worker could be started.
START_FAILURE_SECONDS = 5.0

OnJobDone = Callable[[JobResult], None]


async def consume(
    queue: JobSource, pool: Pool, on_job_done: OnJobDone, *, retry_on_start_failure: bool = False
) -> None:
    """Give jobs to the workers until cancelled or the pool stops.

    Where no worker can be started, retry, or raise CannotStart (in an ExceptionGroup).
    """
    async with asyncio.TaskGroup() as group:
        for _ in range(pool.capacity):
            group.create_task(
                _consume_in_turn(
                    queue, pool, on_job_done, retry_on_start_failure=retry_on_start_failure
                )
            )


async def _consume_in_turn(
    queue: JobSource, pool: Pool, on_job_done: OnJobDone, *, retry_on_start_failure: bool
) -> None:
    while True:
        delivery = await queue.take()
        try:
            result = await pool.submit(delivery.job)
        except errors.CannotStart:
            if not retry_on_start_failure:
                raise
            await delivery.release()
            await asyncio.sleep(START_FAILURE_SECONDS)
            continue
        if "jobs_not_begun" in result.counts:
            await delivery.release()
            return
        on_job_done(result)  # first: a stop ends this while the broker is waited for
        await (delivery.requeue_last() if result.has_more else delivery.ack())
