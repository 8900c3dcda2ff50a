"""What roles with workers have in common: jobs from a queue, and an eye on the reports volume.

In: a Service, a queue, a pool. Out: jobs done. Rules: at the end no worker begins another job, and
what was not begun goes back, before the queue is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tixd.dispatch.consumer import feed
from tixd.pool.pool import Pool
from tixd.queues.base import JobQueue
from tixd.roles.processing import Service
from tixd.runtime import tasks


@contextlib.asynccontextmanager
async def working(
    service: Service, queue: JobQueue, pool: Pool
) -> AsyncIterator[asyncio.Future[Any]]:
    """Feed the workers; the future is done only if one of the tasks ends, which ends the role.

    Raises the exception of that task.
    """
    feeding = tasks.start(feed(queue, pool, service.heard, patient=True), "feeding of the workers")
    checking = tasks.start(service.check_volume(pool), "checking of the volume")
    needed = [feeding, checking, pool.supervision]
    first = asyncio.wait(needed, return_when=asyncio.FIRST_COMPLETED)
    ended = tasks.start(first, "waiting for the end of a task")
    try:
        yield ended
    finally:
        checking.cancel()
        await service.finish(pool)
        await tasks.end(ended, *needed)
    tasks.check(*needed)
