"""The role worker: does the jobs that RabbitMQ has for it.

Rules: no schedule; a message is acknowledged when its job is done.

Stop order, and why: 1. no more messages, and what waits here goes back (another host begins it at
once); 2. workers end after their current window, what they had not begun goes back; 3. what still
runs at the deadline is killed, its message goes back with the connection; 4. the connections; 5.
HTTP and control socket.
"""

from __future__ import annotations

import time
from collections import Counter

from tixd.dispatch.leader import LeaderWatch
from tixd.dispatch.mounts import check_reports_folder
from tixd.dispatch.scheduler import cycle_number, listing_job, queue_installations
from tixd.pool.pool import Pool
from tixd.queues.celery_message import PathMapping
from tixd.queues.publisher import ConfirmedPublisher, JobPublisher
from tixd.queues.rabbitmq import RabbitQueue
from tixd.queues.results_exchange import ResultsOut
from tixd.queues.watch import QueueWatch
from tixd.roles.processing import ProcessingService, endpoint, in_epoch
from tixd.runtime import tasks
from tixd.runtime.status import BrokerView


async def run(service: ProcessingService) -> None:
    """Run until the stop; raises CannotStart where the reports folder is missing."""
    check_reports_folder(service.settings)
    async with service.answering(), service.workers() as pool:
        await _work(service, pool)


async def _work(service: ProcessingService, pool: Pool) -> None:
    publisher = ConfirmedPublisher(endpoint(service.settings), "jobs out")
    queue = _queue(service, pool, publisher)
    links = [publisher.link, queue.link]
    results = ResultsOut(publisher.link)

    def on_reload() -> None:
        for link in links:
            link.set_endpoint(endpoint(service.settings))

    service.queue_lengths = lambda: (queue.waiting, queue.open)
    watch = QueueWatch(queue.link, queue.jobs.period_seconds)
    leader = LeaderWatch(queue.link, lambda: queue.idle_seconds, queue.jobs.period_seconds)
    service.broker = lambda: BrokerView(
        queue.outage or publisher.outage or "",
        in_epoch(publisher.last_confirmed_at),
        queue.link.address,
    )
    service.queue = lambda: watch.view if queue.link.connection else None
    service.leaderless_since = lambda: leader.leaderless_since
    service.on_reload = on_reload
    service.on_record = results.publish
    await service.enter_work(pool)
    linked = [tasks.start_loop(link.run, f"connection for {link.name}") for link in links]
    linked.append(tasks.start_loop(results.run, "channel for results"))
    linked.append(tasks.start_loop(watch.run, "watch over the queue"))
    linked.append(tasks.start_loop(leader.run, "watch over the dispatcher"))
    try:
        async with service.feeding(queue, pool):
            while not service.stopping.is_set():
                await service.tick()
            await queue.stop()
    finally:
        await queue.close()
        await tasks.end(*linked)


def _queue(service: ProcessingService, pool: Pool, publisher: ConfirmedPublisher) -> RabbitQueue:
    settings = service.settings
    base, period_seconds = settings.reports_base_path, settings.processing_period_minutes * 60
    jobs = JobPublisher(publisher, period_seconds)

    async def fan_out() -> Counter[str]:
        now = time.time()
        listing = listing_job(base, period_seconds, cycle_number(now, period_seconds), now)
        return await queue_installations(pool, listing, jobs)

    return RabbitQueue(
        endpoint(settings),
        jobs,
        PathMapping(base, settings.sender_base_path or base),
        pool.capacity,
        fan_out,
        service.metrics.add,
    )
