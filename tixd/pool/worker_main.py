"""A worker process: receive jobs, do them, send their results.

What it does it writes on its board, which the parent can read at any time, and after its death.

Rules: plain synchronous code; neither the command line nor pydantic is imported here. SIGTERM ends
the process after the windows of open jobs, SIGALRM at once but with clean-up, and so does the end
of its parent. REOPEN_LOG and TOGGLE_DEBUG, which come from the parent, act between two jobs.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import signal
import sys
from dataclasses import replace
from functools import partial
from types import FrameType

from tixd import bounded, errors, logs
from tixd.asn.lookup import OriginLookup
from tixd.config.settings import Settings
from tixd.installation import Worker, process_installation
from tixd.jobs import (
    Assignment,
    CheckVolume,
    Hungry,
    Job,
    JobResult,
    ListFailed,
    ListInstallations,
    ListUsers,
    Phase,
    ProcessInstallation,
    Ready,
    RetryFailed,
    describe,
)
from tixd.pool.board import Writer
from tixd.pool.failures import lacks_memory
from tixd.pool.open_jobs import OpenJobs, Steps
from tixd.pool.sockets import REOPEN_LOG, TOGGLE_DEBUG, WorkerSocket
from tixd.reports.scan import free_bytes, list_installations, list_users
from tixd.results.admin import list_failed, retry_failed
from tixd.results.client import ApiClient
from tixd.results.failed_results import has_kept

#: At most this many signals are read at a time.
MAX_SIGNALS = 100

#: Address space that is free before each phase of an isolated job. The largest window takes 25 MB
#: (measured with 117,000 observations), its largest report 16 MB.
RESERVE_BYTES = 64 * 2**20

#: Descriptors of an installation that waits for the tix-api, which has 6, with its next step.
DESCRIPTORS_EACH = 8

#: Those of the worker itself, and of what it opens for a moment.
RESERVED_DESCRIPTORS = 48

#: Counts of a job that has left results in failed-results.
_LEAVES_KEPT = frozenset(
    {
        "windows_stored",
        "posts_failed",
        "posts_refused",
        "posts_unauthorised",
        "posts_delayed",
        "posts_unanswered",
        "posts_unreachable",
    }
)

#: Longest description of a failure that is sent to the parent.
MAX_FAILURE_CHARACTERS = 500


def main(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    """Run until the parent ends, or sends SIGTERM."""
    logs.set_up(settings.log_level, settings.log_format, settings.log_file)
    logs.adopt()
    try:
        _run(endpoint, identity, settings, board)
    except Exception as error:  # noqa: BLE001 - or a traceback would stand between the log's lines
        logs.failure("worker_failed", error)
        raise SystemExit(1) from None


def _run(endpoint: str, identity: bytes, settings: Settings, board: Writer) -> None:
    signals = _Signals()
    client = _client(settings)
    parent = WorkerSocket(endpoint, identity, signals.fd, client.requests.fd)
    worker = Worker(
        settings=settings,
        client=client,
        report_phase=board.report,
        stopping=lambda: signals.stop_requested or parent.is_orphaned,
        origins=OriginLookup(settings.asn_table),
    )
    try:
        _serve(parent, worker, board, signals)
    finally:
        parent.close()


def _report_carefully(board: Writer, phase: Phase) -> None:
    """Report a phase of an isolated job, if there is memory for it."""
    _require_memory()
    board.report(phase)


def _require_memory() -> None:
    """Raise MemoryError where the process cannot allocate RESERVE_BYTES more; keep none of them.

    Lack of memory can look like a crash, so an isolated job checks first.
    """
    try:
        mmap.mmap(-1, RESERVE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        raise MemoryError(f"less than {RESERVE_BYTES >> 20} MiB are available") from error


def _client(settings: Settings) -> ApiClient:
    """Make the client of the tix-api; wrong settings are one line in the log."""
    try:
        return ApiClient(settings)
    except errors.TixdError as error:
        logs.error("worker_not_started", reason=str(error))
        raise SystemExit(1) from None


def _serve(parent: WorkerSocket, worker: Worker, board: Writer, signals: _Signals) -> None:
    """Do jobs, and once the worker has to stop, finish the windows of those that are open."""
    client = worker.client
    most_open = _most_open()
    parent.send(Ready(os.getpid()))
    with OpenJobs(
        client.requests,
        board,
        lambda job: _steps_of(job, worker, board),
        places=lambda: min(client.places, most_open),
        is_crowded=lambda: worker.is_crowded,
        on_done=parent.send,
    ) as jobs:
        has_asked = False
        while jobs or not worker.stopping():
            if jobs.can_begin() and not worker.stopping():
                jobs.begin_next()
                parent.wait(0.0)
            else:
                if jobs.is_hungry and not has_asked:
                    parent.send(Hungry())
                    has_asked = True
                board.rest()
                parent.wait(client.requests.seconds_left())
            signals.handle()
            jobs.resume()
            while isinstance(message := parent.receive(), Assignment):
                jobs.add(message)
                has_asked = False


def _most_open() -> int:
    """Return how many installations may be open, so that descriptors do not run out."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(1, (limit - RESERVED_DESCRIPTORS) // DESCRIPTORS_EACH)


def _steps_of(job: Job, worker: Worker, board: Writer) -> Steps:
    """Do one job; an unexpected error is part of its result."""
    try:
        if isinstance(job, ProcessInstallation):
            return (yield from _process(job, worker, board))
        return _look(job, worker)
    except errors.VolumeError as error:  # a folder cannot be listed; the parent logs it
        return JobResult(failure=str(error)[:MAX_FAILURE_CHARACTERS])
    except Exception as error:  # noqa: BLE001 - the worker survives, the parent decides
        failure = bounded.error(error, MAX_FAILURE_CHARACTERS)
        lacking = lacks_memory(error)
        if lacking:
            logs.error("out_of_memory", job=describe(job), reason=failure)
        else:
            logs.failure("job_failed", error, job=describe(job))
        return JobResult(failure=failure, lacks_memory=lacking, phase=board.phase)


def _process(job: ProcessInstallation, worker: Worker, board: Writer) -> Steps:
    """Process an installation."""
    if job.isolated:
        worker = replace(worker, report_phase=partial(_report_carefully, board))
    result = yield from process_installation(job, worker)
    reason = worker.client.outage if _LEAVES_KEPT & result.counts.keys() else None
    return replace(result, unposted_reason=(reason or "")[:MAX_FAILURE_CHARACTERS])


def _look(job: Job, worker: Worker) -> JobResult:
    """Do a job that processes no installation."""
    match job:
        case ListUsers(base):
            return JobResult(rows=tuple((user,) for user in list_users(base, worker.limiter)))
        case ListInstallations():
            return JobResult(rows=tuple(list_installations(job, worker.limiter, has_kept)))
        case CheckVolume(base):
            built = worker.origins.built()
            table = () if built is None else (built,)
            return JobResult(rows=((free_bytes(base, worker.limiter), *table),))
        case ListFailed():
            return list_failed(job, worker.now())
        case RetryFailed():
            return retry_failed(job)
        case _:
            raise TypeError(f"not a job: {job!r}")


class _Signals:
    """Handles signals between two jobs, where no log line is half written.

    A signal that arrives while the worker begins to wait must end the wait, so each writes a byte
    to a pipe, which the worker polls as well. SIGTERM also ends a job after its window.
    """

    def __init__(self) -> None:
        self.stop_requested = False
        self._received: list[int] = []
        read_fd, wakeup_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.fd = read_fd
        signal.set_wakeup_fd(wakeup_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, REOPEN_LOG, TOGGLE_DEBUG):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGALRM, _end_at_once)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {REOPEN_LOG, TOGGLE_DEBUG})

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.stop_requested = self.stop_requested or number == signal.SIGTERM
        self._received.append(number)

    def handle(self) -> None:
        """Handle the signals that have arrived since the last call."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, MAX_SIGNALS)
        while self._received:
            number = self._received.pop(0)
            if number == REOPEN_LOG:
                logs.reopen()
            elif number == TOGGLE_DEBUG:
                logs.toggle_debug()


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    """Abandon the job by an exception, so that every clean-up runs."""
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    raise SystemExit
