"""The role dispatcher: schedules, and hands the jobs to RabbitMQ for the workers of other hosts.

Rules: one dispatcher leads, on its host by the kernel lock of the schedule folder, over all hosts
by an exclusive queue; jobs go only over the connection that holds it. A dispatcher that does not
see the reports (each cycle looks anew) asks the workers to scan them.

Stop order, and why: 1. no new cycle; 2. the scan's worker; 3. the connection, and with it the
exclusive queue, so that a stand-by takes over; 4. HTTP and control socket; 5. the kernel lock.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from functools import partial

from tixd.dispatch.leader import BrokerLock, HostLock
from tixd.dispatch.scheduler import Scheduler, Tick, queue_installations
from tixd.jobs import ListInstallations, ListUsers
from tixd.pool.pool import Pool
from tixd.queues.publisher import ConfirmedPublisher, JobPublisher
from tixd.queues.results_exchange import ResultsIn
from tixd.queues.watch import QueueWatch
from tixd.roles.processing import ProcessingService, endpoint, in_epoch
from tixd.runtime import tasks
from tixd.runtime.status import BrokerView


async def run(service: ProcessingService) -> None:
    """Run until the stop."""
    with HostLock(service.settings.schedule_dir) as lock:
        async with service.answering():
            if await service.wait_for_leadership(lock):
                async with service.recording(), service.workers() as pool:
                    await _work(service, pool)


async def _work(service: ProcessingService, pool: Pool) -> None:
    """Keep a connection, and schedule while it leads."""
    settings = service.settings
    lock = BrokerLock(f"pid {os.getpid()} on {socket.gethostname()}")
    publisher = ConfirmedPublisher(endpoint(settings), "jobs out", lock.acquire)
    jobs = JobPublisher(publisher, settings.processing_period_minutes * 60)
    link, watch = publisher.link, QueueWatch(publisher.link, jobs.period_seconds)
    service.broker = lambda: BrokerView(
        publisher.outage or "", in_epoch(publisher.last_confirmed_at), link.address
    )
    service.queue = lambda: watch.view if link.connection else None
    service.on_reload = lambda: link.set_endpoint(endpoint(service.settings))
    find = partial(distribute, pool, jobs)
    service.scheduler = scheduler = Scheduler(
        settings, find, service.metrics.add, note=service.record_cycle
    )
    await service.enter_work(pool)
    linked = [
        tasks.start_loop(link.run, "connection for jobs out"),
        tasks.start_loop(watch.run, "watch over the queue"),
    ]
    if service.records:
        results = ResultsIn(publisher.link, service.record)
        linked.append(tasks.start_loop(results.run, "channel for results"))
    try:
        await _schedule(service, pool, scheduler, publisher, lock)
    finally:
        await scheduler.stop()
        try:
            await service.finish(pool)
        finally:
            await tasks.end(*linked)


async def _schedule(
    service: ProcessingService,
    pool: Pool,
    scheduler: Scheduler,
    publisher: ConfirmedPublisher,
    lock: BrokerLock,
) -> None:
    """Every second, see which host leads, and start a cycle when it is time."""
    tick, follows = Tick(scheduler.tick), False
    while not service.stopping.is_set():
        if lock.holder is not None:
            follows = True
            await service.enter_standby(lock.holder)
        elif follows and not publisher.outage:
            follows = False
            service.leader = f"pid {os.getpid()}"
            await service.enter_work(pool)
        if not publisher.outage:
            tick.run_pending()
        await service.tick()


async def distribute(pool: Pool, jobs: JobPublisher, wanted: ListInstallations) -> Counter[str]:
    """Send a job for each wanted installation, or ask the workers for a scan.

    An empty folder may be a volume that only other hosts mount, as in the original's images.
    """
    users = await pool.submit(ListUsers(wanted.base))
    if users.failure or not users.rows:
        await jobs.request_scan(wanted.base)
        return Counter(messages_for_users=1)
    return await queue_installations(pool, wanted, jobs)
