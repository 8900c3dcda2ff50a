"""Requests to the tix-api that are in flight, each in a thread, while their caller goes on.

Rules: a request ends at its deadline whatever its thread waits for: a time-out per read cannot do
this, because a server that sends a byte a second never reaches it, nor can a signal interrupt a
name look-up in the C library. So the caller breaks the connection and abandons the thread, which
ends once its wait does; with too many of those, requests fail at once.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from tixd.config.settings import Settings
from tixd.results.response import Posting, PostOutcome, Request
from tixd.results.transport import REASONS, Attempt, Transport
from tixd.runtime import signal_masks

#: At most this many threads of passed deadlines may still wait for the C library or the kernel.
MAX_ABANDONED = 64

#: A deadline that is noticed so much too late says that the whole process was held up.
HELD_UP_SECONDS = 1.0

#: How long the threads then have to read answers that have come meanwhile.
EXTRA_SECONDS = 10.0

_Returned = TypeVar("_Returned")


@dataclass(slots=True, eq=False)
class _Call:
    """A request in flight.

    extended: its deadline was put off; outcome: an exception where the process lacks memory or
    threads.
    """

    key: int
    request: Request
    attempt: Attempt
    deadline: float
    extended: bool = False
    outcome: PostOutcome | Exception | None = field(default=None)


class InFlight:
    """Sends requests in threads; one caller starts them, and takes their outcomes.

    fd: becomes readable when a request has ended.
    """

    def __init__(
        self, settings: Settings, connections: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make it without connecting; clock: seconds that never step.

        Raises errors.ConfigError where certificates or proxy cannot be used.
        """
        self._clock = clock
        self._total_seconds = settings.api_total_seconds
        self._transport = Transport(settings, connections)
        self._open: dict[int, _Call] = {}
        self._threads = 0
        self._abandoned: list[_Call] = []
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def close(self) -> None:
        """Close the connections, whether they are in use or kept, and let the threads end."""
        for call in self._open.values():
            call.attempt.abort()
        for _ in range(self._threads):
            self._calls.put(None)
        self._threads = 0
        self._transport.close()
        with self._closing:
            self._closed = True
            os.close(self.fd)

    def start(self, key: int, request: Request) -> None:
        """Send a request; `key` tells its outcome from others'.

        Raises RuntimeError or MemoryError where no thread can be started for it.
        """
        now = self._clock()
        deadline = time.monotonic() + min(request.seconds, self._total_seconds)
        call = _Call(key, request, Attempt(now), deadline)
        self._abandoned = [call for call in self._abandoned if call.outcome is None]
        if len(self._abandoned) >= MAX_ABANDONED:
            call.outcome = PostOutcome("later", REASONS["connect_time"], cause="connect_time")
            self._end(call)
        elif len(self._open) < self._threads:
            self._calls.put(call)
        else:
            self._start_thread()
            self._calls.put(call)
        self._open[key] = call

    def outcomes(self) -> Iterator[tuple[int, PostOutcome | Exception]]:
        """Take the outcomes of requests that have ended, or whose deadline has passed.

        Those that end meanwhile are left for the next call, so that it comes.
        """
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        for _ in range(self._ended.qsize()):
            call = self._ended.get_nowait()
            if self._open.get(call.key) is call and call.outcome is not None:
                del self._open[call.key]
                yield call.key, call.outcome
        yield from self._late_ones(time.monotonic())

    def _late_ones(self, now: float) -> Iterator[tuple[int, PostOutcome]]:
        """Take the outcomes of requests whose deadline has passed."""
        for call in [call for call in self._open.values() if call.deadline <= now]:
            if now - call.deadline > HELD_UP_SECONDS and not call.extended:
                call.deadline = now + EXTRA_SECONDS
                call.extended = True
            elif outcome := call.attempt.abort():
                del self._open[call.key]
                self._abandon(call)
                yield call.key, outcome

    def seconds_left(self) -> float | None:
        """Return the time until the next deadline; None: nothing is in flight."""
        deadline = min((call.deadline for call in self._open.values()), default=None)
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def perform(self, steps: Posting[_Returned]) -> _Returned:
        """Take all steps of a caller that may wait, with nothing else in flight."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        try:
            request = next(steps)
            while True:
                self.start(0, request)
                while not (ended := list(self.outcomes())):
                    poll.poll(1000 * (self.seconds_left() or 0.0) + 1)
                _, outcome = ended[0]
                request = (
                    steps.throw(outcome) if isinstance(outcome, Exception) else steps.send(outcome)
                )
        except StopIteration as stop:
            returned: _Returned = stop.value
            return returned

    def _abandon(self, call: _Call) -> None:
        self._threads -= 1
        self._abandoned.append(call)

    def _start_thread(self) -> None:
        threading.Thread(target=self._serve, daemon=True).start()
        self._threads += 1

    def _serve(self) -> None:
        """Send requests, in a thread, until one is aborted or there are no more."""
        signal_masks.leave_to_main_thread()
        while call := self._calls.get():
            try:
                call.outcome = self._transport.exchange(call.attempt, call.request)
            except Exception as error:  # noqa: BLE001 - raised again in the caller
                call.outcome = error
            if not call.attempt.end():
                return
            self._end(call)

    def _end(self, call: _Call) -> None:
        self._ended.put(call)
        with self._closing:  # or the number of the descriptor may be another file's
            if not self._closed:
                os.eventfd_write(self.fd, 1)
