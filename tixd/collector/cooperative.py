"""Run long work of many requests in one event loop, a step at a time.

Rules: in a turn of the loop as many steps run as fit into some milliseconds, so that small requests
leave together for the sinks, and others are not kept waiting; the next step belongs to the request
that has used least CPU time, of equals to the one that came first, so that a small request never
waits for large ones; each eighth turn begins with the one that came first, so that small ones do
not shut out large ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter
from typing import TypeVar

from tixd import errors
from tixd.collector.admission import Reservation

T = TypeVar("T")

#: Work that yields wherever it may pause, at least every 20 ms, and returns its result. What it
#: yields is how many bytes it holds beside its input at that moment.
Steps = Generator[int, None, T]

#: CPU time up to which requests are equals, seconds; then twice as much, and so on.
EQUAL_SECONDS = 0.01

#: Most doublings; beyond them all requests are equals.
MAX_LEVEL = 5

#: Each eighth turn begins with the request that came first.
FIRST_EACH = 8

#: CPU time of the steps in one turn of the loop, seconds; one step may be longer.
TURN_SECONDS = 0.04

#: Expected time of the first step of a request, seconds; then learned from all steps.
FIRST_EXPECTED_SECONDS = 0.005

#: How much of each step's time goes into what is expected of the next.
LEARNED_PART = 0.1


def run_at_once(work: Steps[T]) -> T:
    """Return the result of the work, without a pause; raises what the work raises."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


@asynccontextmanager
async def interruptible(reservation: Reservation, deadline: float) -> AsyncIterator[None]:
    """Interrupt the block at the deadline (of the loop's clock), or when its request is cancelled.

    Raises the reason of the cancelled request; at the deadline RequestTimeout where the request has
    not arrived, and Unavailable where it was not processed.
    """

    def interrupt() -> None:
        if not scope.expired():
            scope.reschedule(asyncio.get_running_loop().time())

    try:
        async with asyncio.timeout_at(deadline) as scope:
            reservation.interrupt = interrupt
            try:
                yield
            finally:
                reservation.interrupt = None
    except TimeoutError:
        if reservation.cancelled:
            raise reservation.cancelled() from None
        if reservation.is_whole:
            raise errors.Unavailable("not processed in time") from None
        raise errors.RequestTimeout("incomplete after the time-out") from None


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request that waits for its next step."""

    reservation: Reservation
    number: int
    granted: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def rank(self) -> tuple[int, int]:
        """Sorts requests with little CPU time first."""
        level = int(self.reservation.cpu_seconds / EQUAL_SECONDS).bit_length()
        return min(level, MAX_LEVEL), self.number


class StepScheduler:
    """Gives steps to requests."""

    def __init__(self) -> None:
        self._numbers = count()
        self._waiting: list[_Waiting] = []
        self._planned_seconds = 0.0
        self._expected_seconds = FIRST_EXPECTED_SECONDS
        self._turns = 0

    async def run(self, work: Steps[T], reservation: Reservation) -> T:
        """Return the result of the work; what it holds is reserved until it ends.

        Raises what the work raises, and Unavailable or OverLimit where memory is short.
        """
        number = next(self._numbers)
        before = reservation.bytes
        try:
            while True:
                await self._wait_for_step(reservation, number)
                begun = time.thread_time()
                try:
                    held = next(work)
                except StopIteration as end:
                    result: T = end.value
                    return result
                finally:
                    self._learn(reservation, time.thread_time() - begun)
                reservation.resize(before + held)
        finally:
            work.close()

    async def _wait_for_step(self, reservation: Reservation, number: int) -> None:
        if not self._waiting and self._fits(reservation):
            self._plan(reservation)
            return
        waiting = _Waiting(reservation, number)
        self._waiting.append(waiting)
        try:
            await waiting.granted
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            raise

    def _fits(self, reservation: Reservation) -> bool:
        planned = self._planned_seconds
        return not planned or planned + self._seconds_of(reservation) <= TURN_SECONDS

    def _plan(self, reservation: Reservation) -> None:
        if not self._planned_seconds:
            asyncio.get_running_loop().call_soon(self._begin_turn)
        self._planned_seconds += self._seconds_of(reservation)

    def _seconds_of(self, reservation: Reservation) -> float:
        """Return the expected time of the next step of a request."""
        return reservation.step_seconds or self._expected_seconds

    def _learn(self, reservation: Reservation, seconds: float) -> None:
        reservation.cpu_seconds += seconds
        reservation.step_seconds = seconds
        self._expected_seconds += LEARNED_PART * (seconds - self._expected_seconds)

    def _begin_turn(self) -> None:
        """Grant steps to those that wait, in the next turn of the loop."""
        self._planned_seconds = 0.0
        self._turns += 1
        waiting = [one for one in self._waiting if not one.granted.done()]
        waiting.sort(key=attrgetter("rank"))
        if waiting and not self._turns % FIRST_EACH:
            waiting.insert(0, min(waiting, key=attrgetter("number")))
        for one in waiting:
            if one in self._waiting:
                if not self._fits(one.reservation):
                    break
                self._plan(one.reservation)
                self._waiting.remove(one)
                one.granted.set_result(None)
