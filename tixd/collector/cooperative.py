"""Run long work of many requests in one event loop, a step at a time.

In: work in steps (steps.py), the share of its request. Out: its result. Rules: in a turn of the
loop as many steps run as fit into some milliseconds, so that small requests leave together for the
outputs, and others are not kept waiting; the next step belongs to the request that has used least
CPU time, of equals to the one that came first, so that a small request never waits for large ones;
each eighth turn begins with the one that came first, so that small ones do not shut out large ones.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter
from types import TracebackType
from typing import TypeVar

from tixd import errors
from tixd.collector.admission import Reservation
from tixd.collector.steps import Steps

T = TypeVar("T")

#: CPU time up to which requests are equals, seconds; then twice as much, and so on.
EQUAL_SECONDS = 0.01

#: Beyond so many times doubled, all are equals.
MOST_LEVEL = 5

#: One turn in so many begins with the request that came first.
FIRST_EACH = 8

#: CPU time of the steps in one turn of the loop, seconds; one step may be longer.
TURN_SECONDS = 0.04

#: What a step takes of which nothing is known yet, at first, and how soon that is learned.
USUAL_SECONDS, LEARNED = 0.005, 0.1


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request that waits for its next step."""

    share: Reservation
    number: int
    granted: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def rank(self) -> tuple[int, int]:
        """Small first."""
        return min(
            int(self.share.cpu_seconds / EQUAL_SECONDS).bit_length(), MOST_LEVEL
        ), self.number


class Limited:
    """Interrupts its block at the deadline (of the loop's clock), or when the share is ended.

    Raises the reason: RequestTimeout where the request has not arrived in time, Unavailable where
    it was not worked through.
    """

    def __init__(self, share: Reservation, deadline: float) -> None:
        self._share, self._scope = share, asyncio.timeout_at(deadline)

    async def __aenter__(self) -> None:
        """Begin."""
        await self._scope.__aenter__()
        self._share.interrupt = self._expire

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End; raises the reason where the block was interrupted."""
        share, share.interrupt = self._share, None
        try:
            await self._scope.__aexit__(kind, error, traceback)
        except TimeoutError:
            if share.ended:
                raise share.ended() from None
            if share.is_whole:
                raise errors.Unavailable("not worked through within its time-out") from None
            raise errors.RequestTimeout("not whole within its time-out") from None

    def _expire(self) -> None:
        if not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())


class Scheduler:
    """Gives steps to requests."""

    def __init__(self) -> None:
        self._numbers = count()
        self._waiting: list[_Waiting] = []
        self._planned_seconds, self._usual_seconds = 0.0, USUAL_SECONDS
        self._turns = 0

    async def run(self, work: Steps[T], share: Reservation) -> T:
        """The result of the work; what it holds counts for the share until it ends.

        Raises what the work raises, and Unavailable or OverLimit where memory is short.
        """
        number, before = next(self._numbers), share.bytes
        try:
            while True:
                await self._step(share, number)
                begun = time.thread_time()
                try:
                    held = next(work)
                except StopIteration as end:
                    result: T = end.value
                    return result
                finally:
                    self._learn(share, time.thread_time() - begun)
                share.hold(before + held)
        finally:
            work.close()

    async def _step(self, share: Reservation, number: int) -> None:
        """Return when the next step is this request's."""
        if not self._waiting and self._fits(share):
            self._plan(share)
            return
        waiting = _Waiting(share, number)
        self._waiting.append(waiting)
        try:
            await waiting.granted
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            raise

    def _fits(self, share: Reservation) -> bool:
        planned = self._planned_seconds
        return not planned or planned + self._expected_seconds(share) <= TURN_SECONDS

    def _plan(self, share: Reservation) -> None:
        if not self._planned_seconds:
            asyncio.get_running_loop().call_soon(self._turn)
        self._planned_seconds += self._expected_seconds(share)

    def _expected_seconds(self, share: Reservation) -> float:
        return share.step_seconds or self._usual_seconds

    def _learn(self, share: Reservation, seconds: float) -> None:
        share.cpu_seconds += seconds
        share.step_seconds = seconds
        self._usual_seconds += LEARNED * (seconds - self._usual_seconds)

    def _turn(self) -> None:
        """The loop has turned: give further steps to those that wait."""
        self._planned_seconds = 0.0
        self._turns += 1
        waiting = [one for one in self._waiting if not one.granted.done()]
        waiting.sort(key=attrgetter("rank"))
        if waiting and not self._turns % FIRST_EACH:
            waiting.insert(0, min(waiting, key=attrgetter("number")))
        for one in waiting:
            if one in self._waiting:
                if not self._fits(one.share):
                    break
                self._plan(one.share)
                self._waiting.remove(one)
                one.granted.set_result(None)
