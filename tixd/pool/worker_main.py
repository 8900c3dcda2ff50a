"""A worker process: gets one job, does it, says how it went, asks for the next.

In: the address of the parent's ROUTER and the frozen settings. Out: Ready, Phase and Done messages.
Rules: plain synchronous code, one job at a time; no command line and no pydantic are imported here;
SIGTERM ends it after the window in hand, SIGALRM at once but tidily. Other signals are the parent's
affair, and so is its death: a worker without a parent ends too. REOPEN_LOG and TOGGLE_DEBUG, which
come from the parent, act between two jobs.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import replace
from functools import partial
from types import FrameType

from tixd import bounded, errors, logs
from tixd.asn.origins import Origins
from tixd.config.settings import Settings
from tixd.installation import Worker, process_installation
from tixd.jobs import (
    CheckVolume,
    Job,
    JobResult,
    ListFailed,
    ListInstallations,
    ListUsers,
    Message,
    Phase,
    ProcessInstallation,
    Ready,
    RetryFailed,
    describe,
)
from tixd.pool import failures
from tixd.pool.sockets import REOPEN_LOG, TOGGLE_DEBUG, WorkerSocket
from tixd.reports.scan import free_bytes, list_installations, list_users
from tixd.results.admin import list_failed, retry_failed
from tixd.results.client import ApiClient

#: So many signals are taken note of at a time.
MOST_SIGNALS = 100

#: Longest description of a failure that is sent to the parent.
MAX_FAILURE_CHARACTERS = 500


def main(endpoint: str, identity: bytes, settings: Settings) -> None:
    """Run until the parent says so, or is gone."""
    logs.set_up(settings.log_level, settings.log_format, settings.log_file)
    logs.adopt()
    try:
        _live(endpoint, identity, settings)
    except Exception as error:  # noqa: BLE001 - or a traceback would stand between the log's lines
        logs.failure("worker_failed", error)
        raise SystemExit(1) from None


def _live(endpoint: str, identity: bytes, settings: Settings) -> None:
    signals = _Signals()
    client = _client(settings)
    line = WorkerSocket(endpoint, identity, signals.fd)
    worker = Worker(
        settings=settings,
        client=client,
        say=partial(_say, line),
        stopping=lambda: signals.asked or line.cut,
        origins=Origins(settings.asn_table),
    )
    try:
        _serve(line, worker, signals)
    finally:
        line.close()


def _say(line: WorkerSocket, phase: Phase) -> None:
    """Tell the parent what begins; in a job whose worker died before, only if there is room."""
    if line.careful:
        failures.prove_room()
    line.say(phase)


def _client(settings: Settings) -> ApiClient:
    """The client of the tix-api; what is wrong with its settings is a line in the log."""
    try:
        return ApiClient(settings)
    except errors.TixdError as error:
        logs.error("worker_not_started", reason=str(error))
        raise SystemExit(1) from None


def _serve(line: WorkerSocket, worker: Worker, signals: _Signals) -> None:
    """Job after job."""
    line.say(Ready(os.getpid()))
    while not (signals.asked or line.cut):
        line.wait()
        signals.act()
        job = line.hear()
        if job:
            line.careful = isinstance(job, ProcessInstallation) and job.isolated
            line.say(_do(job, worker))


def _do(job: Message, worker: Worker) -> JobResult:
    """Do one job; what nobody expected is told to the parent, which counts it."""
    try:
        return _done(job, worker)
    except errors.VolumeError as error:  # a folder cannot be listed: whoever asked says so
        return JobResult(failure=str(error)[:MAX_FAILURE_CHARACTERS])
    except Exception as error:  # noqa: BLE001 - the worker survives, the parent decides
        doing = describe(job) if isinstance(job, Job) else type(job).__name__
        failure = bounded.error(error, MAX_FAILURE_CHARACTERS)
        lacks_memory = failures.is_lack(error)
        if lacks_memory:
            logs.error("memory_lacking", job=doing, reason=failure)
        else:
            logs.failure("job_failed", error, job=doing)
        return JobResult(failure=failure, lacks_memory=lacks_memory)


def _done(job: Message, worker: Worker) -> JobResult:
    match job:
        case ProcessInstallation():
            done = process_installation(job, worker)
            kept = worker.client.trouble if "windows_stored" in done.counts else ""
            return replace(done, unposted_reason=kept[:MAX_FAILURE_CHARACTERS])
        case ListUsers(base):
            return JobResult(rows=tuple((user,) for user in list_users(base, worker.limiter)))
        case ListInstallations():
            return JobResult(rows=tuple(list_installations(job, worker.limiter)))
        case CheckVolume(base):
            built = worker.origins.built()
            table = () if built is None else (built,)
            return JobResult(rows=((free_bytes(base, worker.limiter), *table),))
        case ListFailed():
            return list_failed(job, worker.now())
        case RetryFailed():
            return retry_failed(job)
        case _:
            raise TypeError(f"no job: {job!r}")


class _Signals:
    """Signals act between two jobs, where no line is half written.

    A signal that comes while the worker is about to wait must end the waiting, so each one leaves a
    byte in a pipe, which is waited for as well. SIGTERM also ends a job after the window in hand.
    """

    def __init__(self) -> None:
        self.asked = False
        self._heard: list[int] = []
        self.fd, wakeup_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, REOPEN_LOG, TOGGLE_DEBUG):
            signal.signal(number, self._hear)
        signal.signal(signal.SIGALRM, _end_at_once)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {REOPEN_LOG, TOGGLE_DEBUG})

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self.asked = self.asked or number == signal.SIGTERM
        self._heard.append(number)

    def act(self) -> None:
        """Do what signals have asked for since the last time."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, MOST_SIGNALS)
        while self._heard:
            number = self._heard.pop(0)
            if number == REOPEN_LOG:
                logs.reopen()
            elif number == TOGGLE_DEBUG:
                logs.toggle_debug()


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    """Leave what is in hand, by way of whoever must tidy up after it."""
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    raise SystemExit
