"""What is counted, in words: for the summary of `tixd once` and for `tixd status`.

Progress bars of the commands: on a terminal only, on standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Name of a count -> words, in the order in which people are told.
WORDS = {
    "windows_posted": "windows analysed and posted",
    "windows_stored": "windows analysed and kept in failed-results",
    "windows_without_short": "windows without a short packet, no result",
    "results_reposted": "kept results posted now",
    "results_refused": "kept results refused by the tix-api",
    "results_parked": "kept results rejected: they are in failed-results/rejected now",
    "reports_deleted": "reports deleted",
    "reports_discarded_source": "reports discarded: the source address changed",
    "reports_discarded_gap": "reports discarded: a gap, too little before it",
    "reports_discarded_crowded": "reports discarded: too many in too short a time",
    "reports_bad": "bad reports set aside in bad-reports",
    "reports_unreadable": "reports that cannot be read, passed over, see the log",
    "bad_reports_expired": "bad reports expired",
    "observations_duplicate": "observations that came twice, counted once",
    "journals_without_room": "windows without a journal: disk full",
    "reports_not_deleted": "deletions of finished reports that failed",
    "jobs_locked": "installations another process works on",
    "jobs_vanished": "installations whose files went away meanwhile",
    "jobs_failed": "installations skipped, see the log",
    "jobs_given_up": "installations given up: workers died, see the log",
    "jobs_waiting": "installations left alone for now: workers died over them",
    "worker_restarts_exit": "workers replaced: they had ended by themselves",
    "worker_restarts_signal": "workers replaced: a signal had ended them",
    "worker_restarts_exception": "jobs given out again: something unexpected, see the log",
    "worker_restarts_memory": "jobs given out again: no memory was to be had",
    "worker_restarts_time": "workers replaced: their time was up",
    "jobs_not_finished": "installations left unfinished: stopped",
    "jobs_not_begun": "installations not looked at, or not again: stopped",
    "cycles": "scans completed",
    "cycles_failed": "scans that could not list the reports, see the log",
    "cycles_skipped": "cycles skipped: a scan was still running",
    "installations_skipped": "installations skipped: their job was still open",
    "messages_for_users": "cycles that asked the workers to look through the reports",
    "messages_fanned_out": "such messages turned into jobs here",
    "messages_expired": "messages that came too late to be of use",
    "messages_dead": "messages that are no jobs, now in tixd.dead",
}


@contextmanager
def bar(what: str, *, share: bool = False) -> Iterator[Callable[[int, int], object]]:
    """A bar on a terminal, nothing elsewhere; yields what is to be told how much is done, of what.

    share: show per cent instead of the two numbers.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich import console, progress  # noqa: PLC0415 - slow to import, needed on a terminal only

    columns = (
        progress.TextColumn(what, markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn() if share else progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=console.Console(stderr=True)) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
