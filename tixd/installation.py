"""READ FIRST: one job, from an installation's folder to posted results.

Rules: no report is deleted before its window's result is accepted by the tix-api or kept in
failed-results, and before the deletion is in the journal; a kill at any moment repeats at most the
posts that were in flight, one for an installation. Steps run in one thread, and only a post lets
other installations' steps run before it returns.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from tixd import errors, logs
from tixd.analysis.clock_steps import ClockVerdict
from tixd.analysis.noise import remembered
from tixd.analysis.observations import concatenate
from tixd.analysis.summary import Summary, summarise
from tixd.asn.lookup import OriginLookup
from tixd.config.settings import Settings
from tixd.directory import Folder
from tixd.history.recorder import Recorder
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
from tixd.results.posting import Poster
from tixd.results.response import Posting

#: After this many windows and discards a job is queued again, behind the others.
MAX_STEPS = 32

#: After this time, too.
MAX_JOB_SECONDS = 60.0

#: No installation is begun, or goes on, while others that wait for the tix-api hold observations of
#: more than this.
MAX_HELD_BYTES = 16 * 2**20

#: Counts of windows whose clocks disagree, by the verdict.
CLOCK_COUNTS: dict[ClockVerdict, str] = {
    "set": "windows_clock_set",
    "not-credible": "windows_clock_not_credible",
}

#: At most this many discards of an installation are logged in an hour; the others are counted.
MAX_LOGGED_DISCARDS = 5


@dataclass(slots=True)
class Worker:
    """The state of a worker process from job to job.

    open_folders: those of installations that have a job in this process, with the size of the
    observations that they hold while they wait for the tix-api.
    """

    settings: Settings
    client: ApiClient
    report_phase: Callable[[Phase], None]
    stopping: Callable[[], bool]
    now: Callable[[], float] = time.time
    random: Random = field(default_factory=Random)
    limiter: logs.RateLimiter = field(default_factory=logs.RateLimiter)
    origins: OriginLookup = field(default_factory=OriginLookup)
    ages: Ages = field(default_factory=Ages)
    unwritten: Unwritten = field(default_factory=dict)
    open_folders: dict[str, int] = field(default_factory=dict)

    @property
    def is_crowded(self) -> bool:
        """Whether the installations that wait for the tix-api hold too much."""
        return sum(self.open_folders.values()) > MAX_HELD_BYTES

    @contextlib.contextmanager
    def opening(self, path: str) -> Iterator[None]:
        """Raise Locked where this process has a job there: not every kernel lock tells that."""
        if path in self.open_folders:
            raise errors.Locked(path)
        self.open_folders[path] = 0
        try:
            yield
        finally:
            del self.open_folders[path]


def process_installation(job: ProcessInstallation, worker: Worker) -> Posting[JobResult]:
    """Process one installation; its errors are logged and counted, not raised.

    Yields each request to the tix-api, so that the worker goes on with others until the outcome.
    """
    tally: Counter[str] = Counter()
    installation = Installation(job.user_id, job.installation_id, job.path)
    base = worker.settings.reports_base_path
    has_more = False
    recorder = Recorder(installation, worker.origins.lookup, worker.now)
    warn = partial(_warn, worker, installation)
    if job.at_once:
        worker.client.end_pauses()
    try:
        with (
            worker.opening(installation.path),
            opened(base, job.user_id, job.installation_id) as folder,
            Journal(folder, tally, worker.unwritten, warn) as journal,
            FailedResults(folder) as failed_results,
        ):
            run = _Run(installation, folder, journal, failed_results, worker, tally, recorder)
            has_more = yield from run.work(job)
            recorder.state = run.state()
    except errors.Locked:
        tally["jobs_locked"] += 1
    except errors.NotFound as error:
        tally["jobs_vanished"] += 1
        logs.debug("installation_vanished", **installation.labels, reason=error.detail)
    except errors.VolumeError as error:
        tally["jobs_failed"] += 1
        recorder.state = {"trouble": str(error)}
        _log_skipped(worker, installation, error)
    counts = {name: n for name, n in tally.items() if n}
    record = "" if worker.settings.history == "off" else recorder.text()
    return JobResult(counts, has_more=has_more, record=record)


class _Run:
    """One job in progress: the steps in their order."""

    def __init__(
        self,
        installation: Installation,
        folder: Folder,
        journal: Journal,
        failed_results: FailedResults,
        worker: Worker,
        tally: Counter[str],
        recorder: Recorder,
    ) -> None:
        self._installation = installation
        self._folder = folder
        self._journal = journal
        self._failed_results = failed_results
        self._worker = worker
        self._tally = tally
        self._warn = partial(_warn, worker, installation)
        self._began = time.monotonic()
        #: First second and reports of the current window, for the parent.
        self._window: tuple[int | None, tuple[str, ...]] = (None, ())
        self._has_finished_window = False
        self._poster = Poster(
            installation,
            failed_results,
            worker.client,
            clock=worker.now,
            jitter=worker.random,
            origin_of=worker.origins.lookup,
            warn=self._warn,
            note=recorder.add,
            tally=tally,
        )
        self._recorder = recorder

    def work(self, job: ProcessInstallation) -> Posting[bool]:
        """Finish an interrupted job, then window after window; return whether more is left."""
        self._report_phase("start", self._journal.entry.names)
        self._journal.finish_deletions()
        self._spool = self._open_spool(1 if job.isolated else BATCH_FILES)
        try:
            self._quarantine(job.crashers)
            self._spool.exclude(self._journal.entry.names)
            self._spool.list_reports()
            kept_left = yield from self._repost()
            has_more = (yield from self._take_steps()) or kept_left
            backoff = self._journal.entry.backoff.left_unfinished(unfinished=has_more)
            self._journal.set_backoff(backoff, self._failed_results.not_removed)
            self._journal.close()
        finally:
            self._spool.close()
        return has_more

    def state(self) -> dict[str, object]:
        """Return how the installation is after the work, by the names of the history's STATE."""
        spool, backoff = self._spool, self._journal.entry.backoff
        listed = self._failed_results.listed
        kept = self._failed_results.counts()[0] if listed is None else listed + self._recorder.kept
        return {
            "reports": spool.count_left(),
            "newest": spool.newest,
            "kept": kept,
            "nextTry": math.ceil(backoff.not_before) if backoff.paused(self._worker.now()) else 0,
            "reason": backoff.reason if kept else "",
            "setAside": self._tally["reports_bad"],
            "setAsideReason": spool.bad_reason or None,
        }

    def _open_spool(self, batch_files: int) -> Spool:
        return Spool(
            self._folder,
            self._installation,
            self._worker.settings,
            self._tally,
            now=self._worker.now(),
            limiter=self._worker.limiter,
            ages=self._worker.ages,
            reading=lambda names: self._report_phase("read", names),
            may_continue=self._may_continue,
            batch_files=batch_files,
        )

    def _quarantine(self, crashers: Sequence[str]) -> None:
        """Move reports that crashed three workers to bad-reports, with the reason beside them."""
        for name in crashers:
            self._spool.quarantine(name, "reading or analysing it crashed three worker processes")

    def _repost(self) -> Posting[bool]:
        """Post kept results, oldest first, before new ones; return whether to go on with them."""
        failed_results = self._failed_results
        failed_results.not_removed = set(self._journal.entry.accepted)
        backoff = self._journal.entry.backoff
        done = yield from self._poster.repost(
            backoff, limit=MAX_STEPS, may_continue=self._may_continue_reposting
        )
        self._tally["results_reposted"] += done.accepted
        self._tally["results_refused"] += done.refused
        self._tally["results_rejected"] += done.rejected
        for name in sorted(failed_results.not_removed):
            self._warn("result_not_removed", name, "the tix-api has it; it is not posted again")
        if unreadable := failed_results.not_permitted:
            reason = f"not permitted: {len(unreadable)} in all"
            self._warn("kept_result_unreadable", unreadable[0], reason)
        self._journal.set_backoff(done.backoff, failed_results.not_removed)
        return done.has_more

    def _may_continue_reposting(self) -> bool:
        """Report the phase, only where there are results; return whether to post the next one."""
        self._report_phase("repost")
        self._journal.check_writable()
        return self._may_continue()

    def _take_steps(self) -> Posting[bool]:
        """Process windows and discards until there is none, or the job has reached its limits."""
        for _ in range(MAX_STEPS):
            if self._worker.stopping() or self._worker.is_crowded:
                return True
            self._window = (None, ())
            step = next_step(self._spool.reports())
            if step is None:
                return self._spool.has_more
            if isinstance(step, Window):
                yield from self._process(step)
            else:
                self._discard(step)
            if not self._may_continue():
                return True
        return True

    def _may_continue(self) -> bool:
        """Return whether the job may go on: no stop was requested, and time is left."""
        in_time = time.monotonic() - self._began < MAX_JOB_SECONDS
        return in_time and not self._worker.stopping()

    def _discard(self, step: Discard) -> None:
        """Delete reports that can never be part of a window."""
        self._tally[f"reports_discarded_{step.reason}"] += len(step.reports)
        self._worker.limiter.log(
            logs.info,
            "reports_discarded",
            self._installation.path,
            now=self._worker.now(),
            most=MAX_LOGGED_DISCARDS,
            **self._installation.labels,
            reason=step.reason,
            reports=len(step.reports),
        )
        self._commit_then_delete(step.reports, self._journal.entry)

    def _process(self, window: Window) -> Posting[None]:
        """Analyse a window, post or keep its result, then delete the reports that it consumed."""
        first = min(r.first for r in window.reports)
        self._window = (first, tuple(r.name for r in window.reports))
        result = self._analyse(window)
        entry = self._journal.entry
        if result is None:
            self._tally["windows_without_short"] += 1
            self._commit_then_delete(window.consumed, replace(entry, window=first))
            return
        summary = result.summary
        entry = replace(entry, window=first, timestamp=summary.timestamp)
        if summary.spread_ns is not None:
            entry = replace(entry, spreads=remembered(entry.spreads, summary.spread_ns))
        self._journal.prepare(entry, next(in_parts(_names(window.consumed))))
        entry = yield from self._make_safe(result, entry)
        self._commit_then_delete(window.consumed, entry, is_safe=True)

    def _analyse(self, window: Window) -> WindowResult | None:
        """Analyse a window; None where it has no short packet."""
        self._report_phase("analyse")
        settings = self._worker.settings
        rows = concatenate(r.observations for r in window.reports)
        both = settings.usage_post == "both"
        spreads = self._journal.entry.spreads
        summary = summarise(rows, settings.usage_estimator, both=both, spreads=spreads)
        if summary is None:
            return None
        self._tally["observations_duplicate"] += summary.duplicates
        if summary.clock != "fine":
            self._log_clock(summary)
        return WindowResult(window.reports[0].source, summary)

    def _log_clock(self, summary: Summary) -> None:
        """Log and count a window in which a clock was set, or whose clocks disagree."""
        self._tally[CLOCK_COUNTS[summary.clock]] += 1
        self._worker.limiter.log(
            logs.info,
            "clock_set",
            self._installation.path,
            now=self._worker.now(),
            **self._installation.labels,
            verdict=summary.clock,
            timestamp=summary.timestamp,
        )

    def _make_safe(self, result: WindowResult, entry: JournalEntry) -> Posting[JournalEntry]:
        """Post the result or keep it; returns the entry with the pauses that follow."""
        self._report_phase("post")
        self._worker.open_folders[self._installation.path] = self._spool.held_bytes
        answer, backoff = yield from self._poster.post_or_keep(result, entry.backoff)
        self._worker.open_folders[self._installation.path] = 0
        if answer.outcome == "accepted":
            self._tally["windows_posted"] += 1
        else:
            self._tally["windows_stored"] += 1
            labels = self._installation.labels
            logs.debug("result_stored", **labels, window=entry.window, reason=answer.reason)
        return replace(entry, backoff=backoff) if backoff != entry.backoff else entry

    def _commit_then_delete(
        self, reports: Sequence[Report], entry: JournalEntry, *, is_safe: bool = False
    ) -> None:
        """Delete reports whose result is safe, or that have none; the journal lists them first.

        entry: the journal's next entry, without their names; is_safe: their result was posted or
        kept, so they must not be analysed again.
        """
        names = _names(reports)
        try:
            for part in in_parts(names):
                self._report_phase("journal")
                self._journal.commit(entry, part)
                self._report_phase("delete")
                self._journal.delete(part)
                self._has_finished_window |= self._window[0] is not None
        except errors.VolumeError:
            if is_safe:
                self._journal.delete_unlisted(names)
            raise
        self._spool.exclude(names)

    def _report_phase(self, name: PhaseName, files: Sequence[str] = ()) -> None:
        """Report what begins now, for the parent."""
        first, names = self._window
        cpu_ns = time.process_time_ns()
        self._worker.report_phase(
            Phase(name, first, tuple(files) or names, cpu_ns, self._has_finished_window)
        )


def _names(reports: Sequence[Report]) -> tuple[str, ...]:
    return tuple(report.name for report in reports)


def _warn(worker: Worker, installation: Installation, event: str, file: str, reason: str) -> None:
    """Warn, once an hour, of a failure that does not end the job."""
    path, labels, now = installation.path, installation.labels, worker.now()
    worker.limiter.log(logs.warning, event, path, now=now, **labels, file=file, reason=reason)


def _log_skipped(worker: Worker, installation: Installation, error: errors.VolumeError) -> None:
    worker.limiter.log(
        logs.error,
        "installation_skipped",
        type(error).__name__,
        installation.path,
        now=worker.now(),
        **installation.labels,
        reason=str(error),
    )
