"""The queue of jobs for the workers, and the retry of a job whose worker ended.

A job waits here, or is with one worker, or is done, so the end of a worker loses none. Jobs that
only list or check are short and go before installations, which can take a minute each.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tixd import errors, logs
from tixd.jobs import Job, JobResult, ProcessInstallation
from tixd.pool.codec import encode
from tixd.pool.failures import MAX_FAILURES, FailurePolicy, WorkerExit


@dataclass(slots=True, eq=False)
class PendingJob:
    """A job that waits or is with a worker, and the future of its result."""

    job: Job
    future: asyncio.Future[JobResult]
    failures: int = 0

    def finish(self, result: JobResult) -> None:
        """Set the result, unless the future was cancelled."""
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Set the exception, unless the future was cancelled."""
        if not self.future.done():
            self.future.set_exception(error)


class PendingJobs:
    """The queue of jobs, and the memory of those that failed."""

    def __init__(self) -> None:
        self._short: deque[PendingJob] = deque()
        self._installations: deque[PendingJob] = deque()
        self._policy = FailurePolicy()
        self._closed = False
        self._error: errors.CannotStart | None = None

    def __len__(self) -> int:
        """How many jobs wait for a worker."""
        return len(self._short) + len(self._installations)

    def add(self, job: Job) -> asyncio.Future[JobResult]:
        """Queue the job, or finish or fail it at once where it cannot be done."""
        encode(job)  # what cannot be sent must fail here, where the caller sees it
        pending = PendingJob(job, asyncio.get_running_loop().create_future())
        if self._closed:
            pending.finish(JobResult(counts={"jobs_not_begun": 1}))
        elif self._error:
            pending.fail(self._error)
        elif isinstance(job, ProcessInstallation) and self._policy.is_waiting(
            job, time.monotonic()
        ):
            pending.finish(JobResult(counts={"jobs_waiting": 1}))
        else:
            self._queue_of(job).append(pending)
        return pending.future

    def take(self, *, installations: bool) -> PendingJob | None:
        """Return the next job whose future was not cancelled, if need be only of the short ones."""
        for queue in (self._short, self._installations) if installations else (self._short,):
            while queue:
                pending = queue.popleft()
                if not pending.future.done():
                    return pending
        return None

    def close(self) -> None:
        """Start no more jobs."""
        self._closed = True
        for pending in self._take_all():
            pending.finish(JobResult(counts={"jobs_not_begun": 1}))

    def fail(self, error: errors.CannotStart) -> None:
        """Fail the jobs that wait, and those to come: no worker can be started."""
        self._error = error
        for pending in self._take_all():
            pending.fail(error)

    def _queue_of(self, job: Job) -> deque[PendingJob]:
        return self._installations if isinstance(job, ProcessInstallation) else self._short

    def _take_all(self) -> Iterator[PendingJob]:
        while pending := self.take(installations=True):
            yield pending

    def recover(self) -> None:
        """Queue jobs again: there is a worker."""
        self._error = None

    def on_window_finished(self, pending: PendingJob) -> None:
        """Forget the failures of the job's installation."""
        if isinstance(pending.job, ProcessInstallation):
            self._policy.forget(pending.job)

    def put_back(self, pending: PendingJob, *, may_have_begun: bool = False) -> None:
        """Queue a job at the front, which its worker did not get, or did not end of."""
        if self._closed:
            count = "jobs_not_finished" if may_have_begun else "jobs_not_begun"
            pending.finish(JobResult(counts={count: 1}))
        else:
            self._queue_of(pending.job).appendleft(pending)

    def retry(self, pending: PendingJob, end: WorkerExit) -> None:
        """Queue a job again, at the front, after its worker ended or it failed; or fail it."""
        if self._closed:
            pending.finish(JobResult(counts={"jobs_not_finished": 1}))
        elif isinstance(pending.job, ProcessInstallation):
            self._retry_installation(pending, pending.job, end)
        else:
            self._retry_listing(pending, end)

    def _retry_listing(self, pending: PendingJob, end: WorkerExit) -> None:
        pending.failures += 1
        if pending.failures < MAX_FAILURES:
            self._queue_of(pending.job).appendleft(pending)
        else:
            how = f"{end.cause} {end.number}"
            failure = f"it ended {pending.failures} workers, the last by {how}"
            pending.finish(JobResult(failure=failure))

    def _retry_installation(
        self, pending: PendingJob, job: ProcessInstallation, end: WorkerExit
    ) -> None:
        labels = {"user": job.user_id, "installation": job.installation_id}
        again = self._policy.next_try(job, end, time.monotonic())
        if again is None:
            logs.error("installation_backed_off", **labels)
            pending.finish(JobResult(counts={"jobs_given_up": 1}))
            return
        if again.crashers != job.crashers:
            logs.error("reports_crash_workers", **labels, reports=len(again.crashers))
        pending.job = again
        self._installations.appendleft(pending)
