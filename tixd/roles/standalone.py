"""The role standalone: one process schedules, its workers do the jobs.

Rules: a process that is not the leader stands by and takes over when the leader's process ends.

Stop order, and why: 1. no new cycle (nothing new to finish), no new worker for one that ends;
2. workers end after their current windows, jobs not yet started are dropped (the next scan finds
them again); 3. what still runs at the deadline is killed (posts in flight may repeat, nothing is
lost); 4. control socket and HTTP (so that the stop can be watched); 5. the leader's lock, so that
a stand-by starts when all has ended.
"""

from __future__ import annotations

from functools import partial

from tixd.dispatch.leader import HostLock
from tixd.dispatch.mounts import check_reports_folder
from tixd.dispatch.scheduler import Scheduler, Tick, queue_installations
from tixd.pool.pool import Pool
from tixd.queues.local import LocalQueue
from tixd.roles.processing import ProcessingService


async def run(service: ProcessingService) -> None:
    """Run until the stop; raises CannotStart where the reports folder is missing."""
    check_reports_folder(service.settings)
    with HostLock(service.settings.schedule_dir) as lock:
        async with service.answering():
            if await service.wait_for_leadership(lock):
                async with service.recording(), service.workers() as pool:
                    await _work(service, pool)


async def _work(service: ProcessingService, pool: Pool) -> None:
    """Schedule and process until the stop."""
    settings, queue = service.settings, LocalQueue()
    service.queue_lengths = lambda: (queue.waiting, queue.open)
    find = partial(queue_installations, pool, queue=queue)
    service.scheduler = scheduler = Scheduler(
        settings, find, service.metrics.add, note=service.record_cycle
    )
    await service.enter_work(pool)
    async with service.feeding(queue, pool):
        try:
            tick = Tick(scheduler.tick)
            scheduler.tick()
            while not service.stopping.is_set():
                tick.run_pending()
                await service.tick()
        finally:
            await scheduler.stop()
