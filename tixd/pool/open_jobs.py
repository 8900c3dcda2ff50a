"""The jobs that a worker has open: one takes a step, the others wait for the tix-api.

Rules: outcomes that have come go before jobs that have not begun, because they free a place and a
lock; jobs that only list or check go before installations; what waiting jobs hold is bounded.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tixd.jobs import Assignment, Done, Job, JobResult, Phase, ProcessInstallation
from tixd.pool.board import Writer
from tixd.results.in_flight import InFlight
from tixd.results.response import Posting, PostOutcome, Request

Steps = Posting[JobResult]


@dataclass(slots=True)
class _OpenJob:
    """A job that waits for the outcome of a request; phase: its last one."""

    number: int
    steps: Steps
    phase: Phase | None = None


class OpenJobs:
    """Begins jobs, and resumes each when its request has ended; a context manager."""

    def __init__(
        self,
        requests: InFlight,
        board: Writer,
        steps_of: Callable[[Job], Steps],
        *,
        places: Callable[[], int],
        is_crowded: Callable[[], bool],
        on_done: Callable[[Done], None],
    ) -> None:
        """Make it without any job.

        steps_of: the steps of a job, which raise no Exception; places: how many installations may
        be open now; is_crowded: whether those hold too much for another; on_done: called with each
        result.
        """
        self._requests = requests
        self._board = board
        self._steps_of = steps_of
        self._places = places
        self._is_crowded = is_crowded
        self._on_done = on_done
        self._queue: deque[Assignment] = deque()
        self._open: dict[int, _OpenJob] = {}

    def __enter__(self) -> OpenJobs:
        return self

    def __exit__(self, *_: object) -> None:
        """Abandon the jobs that are open, so that every clean-up runs."""
        with contextlib.ExitStack() as every:
            for job in self._open.values():
                every.callback(job.steps.close)

    def __len__(self) -> int:
        """How many jobs are open."""
        return len(self._open)

    def add(self, assignment: Assignment) -> None:
        """Queue a job."""
        if isinstance(assignment.job, ProcessInstallation):
            self._queue.append(assignment)
        else:
            self._queue.appendleft(assignment)

    def can_begin(self) -> bool:
        """Return whether a job waits that there is a place for."""
        if not self._queue or not isinstance(self._queue[0].job, ProcessInstallation):
            return bool(self._queue)
        return self._has_place()

    def _has_place(self) -> bool:
        return len(self._open) < self._places() and not self._is_crowded()

    @property
    def is_hungry(self) -> bool:
        """Whether none waits to begin, although there is a place."""
        return not self._queue and len(self._open) > 0 and self._has_place()

    def begin_next(self) -> None:
        """Begin the first job of the queue."""
        assignment = self._queue.popleft()
        self._take_steps(_OpenJob(assignment.number, self._steps_of(assignment.job)), None)

    def resume(self) -> None:
        """Resume the jobs whose requests have ended."""
        for number, outcome in self._requests.outcomes():
            self._take_steps(self._open.pop(number), outcome)

    def _take_steps(self, job: _OpenJob, outcome: PostOutcome | Exception | None) -> None:
        """Let a job go on until its next request has begun, or until its end."""
        self._board.begin(job.number, job.phase)
        try:
            while outcome := self._started(job, _next_request(job.steps, outcome)):
                pass  # the job was told that its request could not begin
        except StopIteration as end:
            self._on_done(Done(job.number, end.value))
        else:
            job.phase = self._board.phase
            self._open[job.number] = job

    def _started(self, job: _OpenJob, request: Request) -> Exception | None:
        """Begin a request; return why the process lacks what it needs for that, if it does."""
        try:
            self._requests.start(job.number, request)
        except (MemoryError, RuntimeError) as error:
            return error
        return None


def _next_request(steps: Steps, outcome: PostOutcome | Exception | None) -> Request:
    """Take a job's steps up to its next request; raises StopIteration where there is none."""
    if outcome is None:
        return next(steps)
    if isinstance(outcome, Exception):
        return steps.throw(outcome)
    return steps.send(outcome)
