"""The jobs behind `tixd failed`: list kept results, and restore rejected ones.

Rules: listing takes no lock, restoring takes the installation's; a missing installation has no
results; one that cannot be read, or that another process has locked, holds up no other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tixd import errors, logs
from tixd.directory import Folder
from tixd.jobs import JobResult, ListFailed, RetryFailed
from tixd.results.backoff import Backoff
from tixd.results.failed_results import FailedResults
from tixd.results.journal import Journal, peek
from tixd.results.journal_format import JournalEntry


def list_failed(job: ListFailed, now: float) -> JobResult:
    """List kept results at the epoch second `now`; raises a VolumeError if there is no base."""
    return _for_each(job, partial(_counts, now=now))


def retry_failed(job: RetryFailed) -> JobResult:
    """Restore rejected results; raises a VolumeError if there is no base."""
    return _for_each(job, _retry)


def _for_each(
    job: ListFailed | RetryFailed, look: Callable[[Folder], tuple[tuple[int, ...], str]]
) -> JobResult:
    """Return the numbers, and a text, of each installation whose numbers are not all 0."""
    found, reasons, counts = [], [], Counter[str]()
    with Folder(job.base, follow=True) as base:
        for user_id, installation_id in job.installations:
            try:
                with (
                    base.subfolder(str(user_id)) as user,
                    user.subfolder(str(installation_id)) as f,
                ):
                    numbers, reason = look(f)
            except errors.NotFound:
                continue
            except errors.Locked:
                counts["locked"] += 1
            except errors.VolumeError as error:
                counts["failed"] += 1
                logs.error("failed_results_unusable", reason=str(error))
            else:
                if any(numbers):
                    found.append((user_id, installation_id, *numbers))
                    reasons.append(reason)
    return JobResult(counts=counts, rows=tuple(found), reasons=tuple(reasons))


def _counts(folder: Folder, now: float) -> tuple[tuple[int, ...], str]:
    """Return kept results, timestamp of the oldest, end of the pause, rejected results; why."""
    with FailedResults(folder) as failed_results:
        waiting, oldest = failed_results.counts()
        entry = peek(folder) if waiting else JournalEntry()
        if entry.accepted:
            failed_results.not_removed = set(entry.accepted)
            waiting, oldest = failed_results.counts()
        rejected = failed_results.rejected()
        why = failed_results.why_rejected(rejected[-1]) if rejected else ""
    backoff = entry.backoff
    paused_until = math.ceil(backoff.not_before) if backoff.paused(now) else 0
    return (waiting, oldest, paused_until, len(rejected)), backoff.reason or why


def _retry(folder: Folder) -> tuple[tuple[int, ...], str]:
    """Restore rejected results and end the pause; returns how many were restored."""
    with Journal(folder) as journal, FailedResults(folder) as failed_results:
        before, cleared = journal.entry, replace(journal.entry, backoff=Backoff())
        journal.write_ahead(cleared)
        restored = failed_results.restore()
        if restored or before != cleared:
            journal.write_now(cleared)
    return (restored,), ""
