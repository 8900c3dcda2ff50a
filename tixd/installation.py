"""READ FIRST: one job, from an installation's folder to posted results.

In: a job (which installation) and what a worker keeps between jobs. Out: what happened, counted.
Rules: nothing is deleted before its result is accepted by the API or stored in failed-results, and
before the deletion is in the journal; a kill at any moment repeats at most the window in hand.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from tixd import errors, logs
from tixd.analysis.observations import concatenate
from tixd.analysis.summary import summarise
from tixd.asn.origins import Origins
from tixd.config.settings import Settings
from tixd.directory import Folder
from tixd.jobs import JobResult, Phase, PhaseName, ProcessInstallation
from tixd.reports.ages import Ages
from tixd.reports.model import Installation, Report
from tixd.reports.spool import BATCH_FILES, Spool, opened
from tixd.reports.window import Discard, Window, next_step
from tixd.results.client import ApiClient
from tixd.results.failed_results import FailedResults
from tixd.results.journal import Journal, Unwritten
from tixd.results.journal_format import JournalEntry, in_parts
from tixd.results.payload import WindowResult
from tixd.results.repost import after_fresh, repost
from tixd.results.response import skipped

#: After so many windows and discards a job goes to the end of the queue: nobody starves.
MAX_STEPS = 32

#: So many discards of an installation are logged in an hour, the others counted.
MOST_DISCARDS_TOLD = 5

#: After so long, too.
MAX_JOB_SECONDS = 60.0


@dataclass(slots=True)
class Worker:
    """What a worker process keeps from job to job."""

    settings: Settings
    client: ApiClient
    say: Callable[[Phase], None]
    stopping: Callable[[], bool]
    now: Callable[[], float] = time.time
    random: Random = field(default_factory=Random)
    limiter: logs.RateLimiter = field(default_factory=logs.RateLimiter)
    origins: Origins = field(default_factory=Origins)
    ages: Ages = field(default_factory=Ages)
    unwritten: Unwritten = field(default_factory=dict)


def process_installation(job: ProcessInstallation, worker: Worker) -> JobResult:
    """Do whatever is to be done in one installation; no error of it leaves."""
    tally: Counter[str] = Counter()
    installation = Installation(job.user_id, job.installation_id, job.path)
    more = False
    warn = partial(_warn, worker, installation)
    try:
        with (
            opened(installation, worker.settings) as folder,
            Journal(folder, tally, worker.unwritten, warn) as journal,
            FailedResults(folder) as outbox,
        ):
            more = _Visit(installation, folder, journal, outbox, worker, tally).work(job)
    except errors.Locked:
        tally["jobs_locked"] += 1
    except errors.NotFound as error:
        tally["jobs_vanished"] += 1
        logs.debug("installation_vanished", **installation.labels, reason=error.detail)
    except errors.VolumeError as error:
        tally["jobs_failed"] += 1
        worker.limiter.log(
            logs.error,
            "installation_skipped",
            type(error).__name__,
            installation.path,
            now=worker.now(),
            **installation.labels,
            reason=str(error),
        )
    tally.update(worker.client.tally)
    worker.client.tally.clear()
    return JobResult(counts={name: n for name, n in tally.items() if n}, has_more=more)


def _warn(worker: Worker, installation: Installation, event: str, file: str, reason: str) -> None:
    """Warn of a side duty that failed, once an hour."""
    path, labels, now = installation.path, installation.labels, worker.now()
    worker.limiter.log(logs.warning, event, path, now=now, **labels, file=file, reason=reason)


class _Visit:
    """One job at work: the steps in the order in which they happen."""

    def __init__(
        self,
        installation: Installation,
        folder: Folder,
        journal: Journal,
        outbox: FailedResults,
        worker: Worker,
        tally: Counter[str],
    ) -> None:
        self._installation = installation
        self._folder = folder
        self._worker = worker
        self._tally = tally
        self._in_hand: tuple[int | None, tuple[str, ...]] = (None, ())
        self._begun = time.monotonic()
        self._outbox = outbox
        self._journal = journal
        self._warn = partial(_warn, worker, installation)

    def work(self, job: ProcessInstallation) -> bool:
        """Finish what was begun, then window after window; True when there is more to do."""
        self._say("start", self._journal.entry.names)
        self._journal.finish_deletions()
        self._spool = self._open_spool(1 if job.isolated else BATCH_FILES)
        try:
            self._set_aside(job.quarantine)
            self._spool.leave_out(self._journal.entry.names)
            self._spool.take_stock()
            self._repost()
            more = self._take_steps()
            backoff = replace(self._journal.entry.backoff, unfinished=more)
            self._journal.set_backoff(backoff, self._outbox.left)
            self._journal.close()
        finally:
            self._spool.close()
        return more

    def _open_spool(self, batch_files: int) -> Spool:
        return Spool(
            self._folder,
            self._installation,
            self._worker.settings,
            self._tally,
            now=self._worker.now(),
            limiter=self._worker.limiter,
            ages=self._worker.ages,
            reading=lambda names: self._say("read", names),
            go_on=self._go_on,
            batch_files=batch_files,
        )

    def _set_aside(self, crashers: Sequence[str]) -> None:
        """Reports that killed workers three times: out of the way, with the reason beside them."""
        for name in crashers:
            self._spool.set_aside(name, "reading or analysing it ended three worker processes")

    def _repost(self) -> None:
        """Results that could not be posted before go first, oldest first."""
        self._outbox.left = set(self._journal.entry.accepted)
        done = repost(
            self._installation,
            self._outbox,
            self._worker.client,
            self._journal.entry.backoff,
            limit=MAX_STEPS,
            clock=self._worker.now,
            jitter=self._worker.random,
            go_on=self._go_on_reposting,
            origin_of=self._worker.origins.of,
            warn=self._warn,
        )
        self._tally["results_reposted"] += done.accepted
        self._tally["results_refused"] += done.refused
        self._tally["results_parked"] += done.parked
        for name in sorted(self._outbox.left):
            self._warn("result_not_removed", name, "the tix-api has it; it is not posted again")
        if unreadable := self._outbox.not_permitted:
            reason = f"not permitted: {len(unreadable)} in all"
            self._warn("failed_result_left", unreadable[0], reason)
        self._journal.set_backoff(done.backoff, self._outbox.left)

    def _go_on_reposting(self) -> bool:
        """Asked before each result; the parent hears of it only where there are any."""
        self._say("repost")
        self._journal.prove()
        return self._go_on()

    def _take_steps(self) -> bool:
        """Windows and discards, until there is none or the job has had its share."""
        for _ in range(MAX_STEPS):
            self._in_hand = (None, ())
            step = next_step(self._spool.reports())
            if step is None:
                return self._spool.has_more
            if isinstance(step, Window):
                self._settle(step)
            else:
                self._discard(step)
            if not self._go_on():
                return True
        return True

    def _go_on(self) -> bool:
        """Whether the job may take another step: no stop is asked, and its time is not up."""
        in_time = time.monotonic() - self._begun < MAX_JOB_SECONDS
        return in_time and not self._worker.stopping()

    def _discard(self, step: Discard) -> None:
        """Reports that can never be part of a window: journal, then delete."""
        self._tally[f"reports_discarded_{step.reason}"] += len(step.reports)
        self._worker.limiter.log(
            logs.info,
            "reports_discarded",
            self._installation.path,
            now=self._worker.now(),
            most=MOST_DISCARDS_TOLD,
            **self._installation.labels,
            reason=step.reason,
            reports=len(step.reports),
        )
        self._commit_then_delete(step.reports, self._journal.entry)

    def _settle(self, window: Window) -> None:
        """Analyse a window, make its result safe, then delete its first half."""
        first = min(r.first for r in window.reports)
        self._in_hand = (first, tuple(r.name for r in window.reports))
        self._say("analyse")
        rows, settings = concatenate(r.observations for r in window.reports), self._worker.settings
        both = settings.usage_post == "both"
        summary = summarise(rows, settings.usage_estimator, both=both)
        if summary is None:
            self._tally["windows_without_short"] += 1
            self._commit_then_delete(window.spent, replace(self._journal.entry, window=first))
            return
        self._tally["observations_duplicate"] += summary.duplicates
        entry = replace(self._journal.entry, window=first, timestamp=summary.timestamp)
        self._journal.prepare(entry, next(in_parts(tuple(r.name for r in window.spent))))
        source = window.reports[0].source
        result = WindowResult(source, summary, self._worker.origins.of(source))
        self._commit_then_delete(window.spent, self._make_safe(result, entry), safe=True)

    def _make_safe(self, result: WindowResult, entry: JournalEntry) -> JournalEntry:
        """Post the result or store it; returns the journal with what that means for it."""
        self._say("post")
        worker, backoff = self._worker, entry.backoff
        answer = (
            skipped(backoff.reason)
            if backoff.holds_fresh(worker.now())
            else worker.client.post(self._installation, result, known_silent=backoff.unanswered)
        )
        if answer.outcome == "accepted":
            self._tally["windows_posted"] += 1
            return replace(entry, backoff=backoff.answered())
        name = self._outbox.store(result)
        self._tally["windows_stored"] += 1
        logs.debug(
            "result_stored", **self._installation.labels, window=entry.window, reason=answer.reason
        )
        backoff = after_fresh(
            answer,
            name,
            backoff,
            worker.client,
            self._installation,
            now=worker.now(),
            jitter=worker.random,
        )
        return replace(entry, backoff=backoff)

    def _commit_then_delete(
        self, reports: Sequence[Report], entry: JournalEntry, *, safe: bool = False
    ) -> None:
        """Delete reports whose result is safe, or that can have none: first the list, then they.

        safe: a result of theirs was posted or stored, so they must not come up again.
        """
        names = tuple(report.name for report in reports)
        try:
            for part in in_parts(names):
                self._say("journal")
                self._journal.commit(entry, part)
                self._say("delete")
                self._journal.delete(part)
        except errors.VolumeError:
            if safe:
                self._journal.delete_unlisted(names)
            raise
        self._spool.leave_out(names)

    def _say(self, name: PhaseName, files: Sequence[str] = ()) -> None:
        """Tell the parent what begins now."""
        window, names = self._in_hand
        self._worker.say(Phase(name, window, tuple(files) or names, time.process_time_ns()))
