"""Jobs on their way: those that wait for a worker, and what becomes of one whose worker died.

In: jobs, and how their workers ended. Out: for each job a future of its Done. Rules: a job waits
here, or is in the hands of one worker, or is done, so no death loses one; a job whose future was
cancelled is not begun. Jobs that only look, at folders or at the volume, are few and short and go
before installations, which can take a minute each: a scan waits for none of them. Knows nothing of
processes and sockets.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

from tixd import errors, logs
from tixd.jobs import Job, JobResult, ProcessInstallation
from tixd.pool.codec import encode
from tixd.pool.failures import MOST_DEATHS, FailurePolicy, WorkerExit


@dataclass(slots=True, eq=False)
class Task:
    """A job that is waiting or in hand, and who is told when it is done."""

    job: Job
    future: asyncio.Future[JobResult]
    deaths: int = 0

    def finish(self, done: JobResult) -> None:
        """Tell it; whoever has cancelled the future does not want to know."""
        if not self.future.done():
            self.future.set_result(done)

    def fail(self, failure: Exception) -> None:
        """Tell that it cannot be done."""
        if not self.future.done():
            self.future.set_exception(failure)


class PendingJobs:
    """The queue of jobs, and the parent's memory of deaths."""

    def __init__(self) -> None:
        self._waiting: deque[Task] = deque()
        self._deaths = FailurePolicy()
        self._closed = False
        self._failure: errors.CannotStart | None = None

    def __len__(self) -> int:
        """How many jobs wait for a worker."""
        return len(self._waiting)

    def add(self, job: Job) -> asyncio.Future[JobResult]:
        """Queue the job, unless it is clear at once that it will not be done."""
        encode(job)  # what cannot be sent must fail here, where somebody hears of it
        task = Task(job, asyncio.get_running_loop().create_future())
        if self._closed:
            task.finish(JobResult(counts={"jobs_not_begun": 1}))
        elif self._failure:
            task.fail(self._failure)
        elif not isinstance(job, ProcessInstallation):
            self._waiting.appendleft(task)
        elif self._deaths.waits(job, time.monotonic()):
            task.finish(JobResult(counts={"jobs_waiting": 1}))
        else:
            self._waiting.append(task)
        return task.future

    def take(self) -> Task | None:
        """The next job that somebody still waits for."""
        while self._waiting:
            task = self._waiting.popleft()
            if not task.future.done():
                return task
        return None

    def close(self) -> None:
        """From now on no job is begun."""
        self._closed = True
        while self._waiting:
            self._waiting.popleft().finish(JobResult(counts={"jobs_not_begun": 1}))

    def fail(self, failure: errors.CannotStart) -> None:
        """There is nobody to do a job: whoever waits must hear of it, and whoever comes."""
        self._failure = failure
        while self._waiting:
            self._waiting.popleft().fail(failure)

    def recover(self) -> None:
        """There is a worker again."""
        self._failure = None

    def finished_window(self, task: Task) -> None:
        """A window of the job came through."""
        if isinstance(task.job, ProcessInstallation):
            self._deaths.finished_window(task.job)

    def put_back(self, task: Task, death: WorkerExit) -> None:
        """The job of a worker that died, or whose job failed: first in the queue again, or not."""
        if self._closed:
            task.finish(JobResult(counts={"jobs_not_finished": 1}))
        elif isinstance(task.job, ProcessInstallation):
            self._judge(task, task.job, death)
        else:
            self._try_again(task, death)

    def take_back(self, task: Task) -> None:
        """A job that could not be handed over: first in the queue again."""
        if self._closed:
            task.finish(JobResult(counts={"jobs_not_begun": 1}))
        else:
            self._waiting.appendleft(task)

    def _try_again(self, task: Task, death: WorkerExit) -> None:
        """A listing again, but not for ever."""
        task.deaths += 1
        if task.deaths < MOST_DEATHS:
            self._waiting.appendleft(task)
        else:
            how = f"{death.cause} {death.number}"
            task.finish(
                JobResult(failure=f"{task.deaths} workers ended over it, the last by {how}")
            )

    def _judge(self, task: Task, job: ProcessInstallation, death: WorkerExit) -> None:
        verdict = self._deaths.judge(job, death, time.monotonic())
        if verdict.job is None:
            logs.error("installation_waits", user=job.user_id, installation=job.installation_id)
            task.finish(JobResult(counts={"jobs_given_up": 1}))
            return
        if verdict.job.quarantine != job.quarantine:
            labels = {"user": job.user_id, "installation": job.installation_id}
            logs.error("reports_crash_workers", **labels, reports=len(verdict.job.quarantine))
        task.job = verdict.job
        self._waiting.appendleft(task)
