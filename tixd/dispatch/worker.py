"""A worker process: gets one job, does it, says how it went, asks for the next.

In: the address of the parent's ROUTER and the frozen settings. Out: Ready, Phase and Done messages.
Rules: plain synchronous code, one job at a time; no command line and no pydantic are imported here;
SIGTERM ends it after the window in hand, SIGINT is the parent's affair, and so is its death: a
worker without a parent ends too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Iterator
from types import FrameType

from tixd import errors, logs
from tixd.dispatch.job import (
    CheckVolume,
    Done,
    ListInstallations,
    ListUsers,
    Message,
    ProcessInstallation,
    Ready,
)
from tixd.dispatch.line import WorkerEnd
from tixd.dispatch.scan import free_bytes, list_installations, list_users
from tixd.installation import Worker, process_installation
from tixd.results.client import ApiClient
from tixd.settings import Settings

#: Longest description of a failure that is sent to the parent.
MAX_FAILURE_CHARACTERS = 500


def main(endpoint: str, identity: bytes, settings: Settings) -> None:
    """Run until the parent says so, or is gone."""
    logs.set_up(settings.log_level, settings.log_format, settings.log_file)
    stop = _Stop()
    client = _client(settings)
    line = WorkerEnd(endpoint, identity)
    worker = Worker(
        settings=settings,
        client=client,
        say=line.say,
        stopping=lambda: stop.asked or line.cut,
    )
    try:
        _serve(line, worker, stop)
    finally:
        line.close()


def _client(settings: Settings) -> ApiClient:
    """The client of the tix-api; what is wrong with its settings is a line in the log."""
    try:
        return ApiClient(settings)
    except errors.TixdError as error:
        logs.error("worker_not_started", reason=str(error))
        raise SystemExit(1) from None


def _serve(line: WorkerEnd, worker: Worker, stop: _Stop) -> None:
    """Job after job."""
    line.say(Ready(os.getpid()))
    while not (stop.asked or line.cut):
        with stop.at_once():
            line.wait()
        job = line.hear()
        if job:
            line.careful = isinstance(job, ProcessInstallation) and job.one_by_one
            line.say(_do(job, worker))


def _do(job: Message, worker: Worker) -> Done:
    """Do one job; what nobody expected is told to the parent, which counts it."""
    try:
        return _done(job, worker)
    except errors.TixdError as error:
        return Done(failure=str(error)[:MAX_FAILURE_CHARACTERS])
    except Exception as error:  # noqa: BLE001 - the worker survives, the parent decides
        logs.error("job_failed", job=repr(job), trace=traceback.format_exc())
        return Done(failure=repr(error)[:MAX_FAILURE_CHARACTERS])


def _done(job: Message, worker: Worker) -> Done:
    match job:
        case ProcessInstallation():
            return process_installation(job, worker)
        case ListUsers(base):
            return Done(found=tuple((user,) for user in list_users(base, worker.hourly)))
        case ListInstallations():
            return Done(found=tuple(list_installations(job, worker.hourly)))
        case CheckVolume(base):
            return Done(found=((free_bytes(base, worker.hourly),),))
        case _:
            raise TypeError(f"no job: {job!r}")


class _Stop:
    """SIGTERM: at once while the worker waits for a job, else after the window in hand."""

    def __init__(self) -> None:
        self.asked = False
        self._idle = False
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        if self._idle:
            raise SystemExit(0)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within this block SIGTERM ends the process without delay."""
        self._idle = True
        try:
            if self.asked:
                raise SystemExit(0)
            yield
        finally:
            self._idle = False
