"""A worker process: gets one job, does it, says how it went, asks for the next.

In: the address of the parent's ROUTER and the frozen settings. Out: Ready, Phase and Done messages.
Rules: plain synchronous code, one job at a time; no command line and no pydantic are imported here;
SIGTERM ends it after the window in hand, SIGINT is the parent's affair, and so is its death: a
worker without a parent ends too.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator
from types import FrameType

import zmq

from tixd import errors, logs
from tixd.dispatch.job import (
    Done,
    ListInstallations,
    ListUsers,
    Message,
    ProcessInstallation,
    Ready,
    decode,
    encode,
)
from tixd.dispatch.scan import list_installations, list_users
from tixd.installation import Worker, process_installation
from tixd.results.client import ApiClient
from tixd.settings import Settings

#: How long a worker that ends waits for its last words to reach the parent.
LINGER_MILLISECONDS = 2000

#: Longest description of a failure that is sent to the parent.
MAX_FAILURE_CHARACTERS = 500


def main(endpoint: str, identity: bytes, settings: Settings) -> None:
    """Run until the parent says so, or is gone."""
    logs.set_up(settings.log_level, settings.log_format, settings.log_file)
    stop = _Stop()
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.IDENTITY, identity)
    socket.setsockopt(zmq.LINGER, LINGER_MILLISECONDS)
    socket.connect(endpoint)
    worker = Worker(
        settings=settings,
        client=ApiClient(settings),
        say=lambda phase: _say(socket, phase),
        stopping=lambda: stop.asked,
    )
    try:
        _serve(socket, worker, stop)
    finally:
        socket.close()
        context.term()


def _say(socket: zmq.Socket[bytes], message: Message) -> None:
    """Send to the parent; one that no longer reads is no reason to wait."""
    try:
        socket.send(encode(message), zmq.NOBLOCK)
    except zmq.Again:
        logs.warning("parent_does_not_read")


def _serve(socket: zmq.Socket[bytes], worker: Worker, stop: _Stop) -> None:
    """Job after job."""
    parent = multiprocessing.parent_process()
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    if parent:
        poller.register(parent.sentinel, zmq.POLLIN)
    _say(socket, Ready(os.getpid()))
    while not stop.asked:
        with stop.at_once():
            ready = dict(poller.poll())
        if socket not in ready:
            return
        _say(socket, _do(decode(socket.recv()), worker))


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
        case ListInstallations(base, user_ids):
            return Done(found=tuple(list_installations(base, user_ids, worker.hourly)))
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
