"""What roles with workers have in common: jobs from a queue, and an eye on the reports volume.

In: a Service, a queue, a pool. Out: jobs done. Rules: at the end no worker begins another job, and
what was not begun goes back, before the queue is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tixd.dispatch.feed import feed
from tixd.dispatch.pool import Pool
from tixd.queues.contract import JobQueue
from tixd.service import Service


@contextlib.asynccontextmanager
async def working(
    service: Service, queue: JobQueue, pool: Pool
) -> AsyncIterator[asyncio.Future[None]]:
    """Feed the workers; the future is done only if that goes wrong, and tells how."""
    feeding = asyncio.ensure_future(feed(queue, pool, service.heard, patient=True))
    checking = asyncio.ensure_future(service.check_volume(pool))
    try:
        yield feeding
    finally:
        checking.cancel()
        await service.finish(pool)
        feeding.cancel()
        await asyncio.wait([feeding, checking])
    if not feeding.cancelled():
        feeding.result()
