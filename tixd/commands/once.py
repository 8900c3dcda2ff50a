"""`tixd once`: one cycle over all installations, then a summary.

Rules: no schedule, no leader lock and no cycle state; every installation gets a job, and one that
is not finished comes again behind the others; SIGTERM and Ctrl-C end the cycle after the windows
that workers have begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import click

from tixd import errors, logs
from tixd.commands import Invocation
from tixd.commands.output import WORDS, count_line, count_lines, progress_bar
from tixd.config.settings import Settings
from tixd.dispatch.consumer import consume
from tixd.dispatch.control_commands import count_waiting
from tixd.dispatch.mounts import check_reports_folder
from tixd.dispatch.scheduler import queue_installations
from tixd.jobs import JobResult, ListInstallations
from tixd.pool.pool import Pool
from tixd.queues.base import JobSink
from tixd.queues.local import LocalQueue
from tixd.runtime import control, tasks
from tixd.runtime.startup import exit_now

Progress = Callable[[int, int], object]


async def run_once(pool: Pool, base: str, counts: Counter[str], progress: Progress) -> None:
    """Give every installation a job until all is done, or the pool stops.

    counts: added to as jobs end, and by worker_restarts_<cause> at the end; progress: told after
    each how many installations are finished, of how many found so far. Raises CannotStart where
    the base cannot be listed.
    """
    everything = ListInstallations(base, ())
    await drain(pool, partial(queue_installations, pool, everything), counts, progress)


async def drain(
    pool: Pool,
    fill: Callable[[JobSink], Awaitable[Counter[str]]],
    counts: Counter[str],
    progress: Progress,
) -> None:
    """Do all jobs that `fill` puts, and those that they leave, until none is open."""
    queue, restarts = LocalQueue(), pool.restarts.copy()

    def on_job_done(done: JobResult) -> None:
        counts.update(done.counts)
        ended = 0 if done.has_more else 1  # it is open until this has been told
        progress(queue.taken - queue.open + ended, queue.taken)

    consuming = tasks.start(consume(queue, pool, on_job_done), "consumer of the queue")
    try:
        counts.update(await fill(queue))
        idle = tasks.start(queue.idle(), "waiting for the end")
        await asyncio.wait([idle, consuming], return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        counts["jobs_not_begun"] += queue.waiting
        for cause, count in (pool.restarts - restarts).items():
            counts[f"worker_restarts_{cause}"] += count
    finally:
        await tasks.end(consuming)
    failure = None if consuming.cancelled() else consuming.exception()
    if failure:
        raise failure.exceptions[0] if isinstance(failure, ExceptionGroup) else failure


@click.command()
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Process every installation in the reports folder once, then end.

    Chooses windows, analyses them, posts the results to the tix-api and deletes the reports that
    are no longer needed. Results that cannot be posted stay in failed-results; a later cycle posts
    them. The exit code is 0 when the cycle ran, whatever the tix-api answered.

    \b
    Example: from a timer, without a daemon
      TIX_REPORTS_BASE_PATH=/srv/reports TIX_API_HOST=api.example.org tixd once
    """
    loaded = invocation.start()
    settings, counts = loaded.settings, Counter[str]()
    check_reports_folder(settings)
    begun = time.monotonic()
    left = asyncio.run(_cycle(settings, control.runtime_folder(loaded.environment), counts))
    _show(counts, settings.reports_base_path, time.monotonic() - begun)
    if left:
        exit_now(0)


async def _cycle(settings: Settings, runtime_folder: str, counts: Counter[str]) -> bool:
    """Run the cycle; a signal ends it early, and the counts say what was done until then.

    Returns whether workers are left that could not be ended.
    """
    async with Pool(settings, runtime_folder) as pool:
        stopping: list[asyncio.Future[None]] = []

        def stop() -> None:
            if stopping:
                pool.kill()
            else:
                logs.info("stopping", reason="signal; another one ends it at once")
                stopping.append(tasks.start(pool.stop(settings.stop_seconds), "stop"))

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        with progress_bar("installations") as progress:
            await run_once(pool, settings.reports_base_path, counts, progress)
        if not stopping:
            with contextlib.suppress(errors.NotDone):  # stopped just now
                waiting = await count_waiting(pool, settings.reports_base_path)
                counts["results_waiting"] = max(0, waiting - counts["windows_stored"])
        await (stopping[0] if stopping else pool.stop(settings.stop_seconds))
    return bool(pool.workers)


def _show(counts: Counter[str], base: str, seconds: float) -> None:
    looked_at = f"installations looked at in {seconds:.1f} s"
    is_complete = "results_waiting" in counts  # not counted where a signal ended the cycle
    if is_complete and not counts["installations_queued"]:
        looked_at += f": no folder <user>/<installation> in {base}"
    print(count_line(counts["installations_queued"], looked_at))
    for line in count_lines(counts, WORDS):
        print(line)
