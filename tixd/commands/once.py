"""`tixd once`: one cycle over all installations, then a summary.

In: the reports folder of the settings. Out: results at the tix-api or in failed-results; a summary.
Rules: no leader lock and no cycle state; SIGTERM and Ctrl-C end it after the windows in hand.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from tixd import errors, logs
from tixd.commands import Invocation
from tixd.dispatch.cycle import CycleSummary, find_installations, run_cycle
from tixd.dispatch.mounts import lock_warning, read_mountinfo
from tixd.dispatch.pool import Pool
from tixd.settings import Settings

#: How long workers may take for the window in hand after SIGTERM or Ctrl-C.
STOP_GRACE_SECONDS = 25.0

#: Jobs in hand or next in line for each worker, so that none waits for the parent.
JOBS_PER_WORKER = 2

#: Counts of a cycle in the words of the summary, in its order.
WORDS = {
    "windows_posted": "windows analysed and posted",
    "windows_stored": "windows analysed and kept in failed-results",
    "windows_without_short": "windows without a short packet, no result",
    "results_reposted": "kept results posted now",
    "results_refused": "kept results refused by the tix-api",
    "results_parked": "kept results parked in failed-results/rejected",
    "reports_deleted": "reports deleted",
    "reports_discarded_source": "reports discarded: the source address changed",
    "reports_discarded_gap": "reports discarded: a gap, too little before it",
    "reports_discarded_crowded": "reports discarded: too many in too short a time",
    "reports_bad": "bad reports set aside in bad-reports",
    "bad_reports_expired": "bad reports expired",
    "observations_duplicate": "observations that came twice, counted once",
    "journals_without_room": "windows without a journal: disk full",
    "jobs_locked": "installations another process works on",
    "jobs_vanished": "installations whose files went away meanwhile",
    "jobs_failed": "installations skipped, see the log",
    "jobs_given_up": "installations given up: workers died, see the log",
    "jobs_not_finished": "installations left unfinished: stopped",
    "jobs_not_begun": "installations not looked at: stopped",
}


@click.command(short_help="Process what lies in the reports folder, then end")
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Process every installation in the reports folder once, then end.

    Chooses windows, analyses them, posts the results to the tix-api and deletes what is done with;
    what cannot be posted stays in failed-results and goes out with a later cycle. Ends with exit
    code 0 when the cycle ran, whatever the tix-api said.

    \b
    Example: from a timer, without a daemon
      TIX_REPORTS_BASE_PATH=/srv/reports TIX_API_HOST=api.example.org tixd once
    """
    settings = invocation.start().settings
    if not os.path.isdir(settings.reports_base_path):
        raise errors.CannotStart(f"reports folder {settings.reports_base_path} is not there")
    warning = lock_warning(settings.reports_base_path, read_mountinfo())
    if warning:
        logs.warning("locks_not_shared", folder=settings.reports_base_path, reason=warning)
    begun = time.monotonic()
    summary = asyncio.run(_cycle(settings))
    _show(summary, time.monotonic() - begun)


async def _cycle(settings: Settings) -> CycleSummary:
    """The cycle; a signal ends it early, and the summary says what had been done until then."""
    async with Pool(settings) as pool:
        stopping: list[asyncio.Task[None]] = []

        def stop() -> None:
            if stopping:
                pool.kill()
            else:
                logs.info("stopping", reason="signal; another one ends it at once")
                stopping.append(asyncio.ensure_future(pool.stop(STOP_GRACE_SECONDS)))

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        jobs = await find_installations(pool, settings.reports_base_path)
        with _progress(len(jobs)) as progress:
            summary = await run_cycle(pool, jobs, JOBS_PER_WORKER, progress)
        await (stopping[0] if stopping else pool.stop(STOP_GRACE_SECONDS))
    return summary


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere; yields what is to be told how many are done."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich import console, progress  # noqa: PLC0415 - slow to import, needed on a terminal only

    columns = (
        progress.TextColumn("installations"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=console.Console(stderr=True)) as bar:
        task = bar.add_task("cycle", total=total)
        yield lambda done: bar.update(task, completed=done)


def _show(summary: CycleSummary, seconds: float) -> None:
    print(f"{summary.installations:>9,}  installations looked at in {seconds:.1f} s")
    for name, words in WORDS.items():
        if summary.counts[name]:
            print(f"{summary.counts[name]:>9,}  {words}")
