"""Run long work of many requests in one event loop, a step at a time.

In: work in steps (steps.py), the share of its request. Out: its result. Rules: one step runs in a
turn of the loop; the next one belongs to the request that has used least CPU time, of equals to
the one that came first, so that a small request never waits for large ones; each eighth step
belongs to the one that came first, so that small ones do not shut out large ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from operator import attrgetter
from typing import TypeVar

from tixd import errors
from tixd.collector.hand import Share
from tixd.collector.steps import Steps

T = TypeVar("T")

#: CPU time up to which requests are equals, seconds; then twice as much, and so on.
EQUAL_SECONDS = 0.01

#: Beyond so many times doubled, all are equals.
MOST_LEVEL = 5

#: One step in so many belongs to the request that came first.
FIRST_EACH = 8


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request that waits for its next step."""

    share: Share
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


@asynccontextmanager
async def limited(share: Share, deadline: float) -> AsyncIterator[None]:
    """Interrupt the block at the deadline (of the loop's clock), or when the share is ended.

    Raises the reason: TooSlow where the request has not arrived in time, NotAccepted where it was
    not worked through.
    """
    try:
        async with asyncio.timeout_at(deadline) as scope:
            with share.interruptible(partial(_expire, scope)):
                yield
    except TimeoutError:
        if share.ended:
            raise share.ended() from None
        if share.is_whole:
            raise errors.NotAccepted("not worked through within its time-out") from None
        raise errors.TooSlow("not whole within its time-out") from None


def _expire(scope: asyncio.Timeout) -> None:
    if not scope.expired():
        scope.reschedule(asyncio.get_running_loop().time())


class Scheduler:
    """Gives steps to requests."""

    def __init__(self) -> None:
        self._numbers = count()
        self._waiting: list[_Waiting] = []
        self._busy = False
        self._steps = 0

    async def run(self, work: Steps[T], share: Share) -> T:
        """The result of the work; what it holds counts for the share until it ends.

        Raises what the work raises, and NotAccepted or OverLimit where memory is short.
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
                    share.cpu_seconds += time.thread_time() - begun
                share.hold(before + held)
        finally:
            work.close()

    async def _step(self, share: Share, number: int) -> None:
        """Return when the next step is this request's."""
        if self._busy:
            waiting = _Waiting(share, number)
            self._waiting.append(waiting)
            try:
                await waiting.granted
            except asyncio.CancelledError:
                if waiting in self._waiting:
                    self._waiting.remove(waiting)
                else:
                    self._pass_on()
                raise
        self._pass_on()

    def _pass_on(self) -> None:
        """Have the step after this one given a turn of the loop later."""
        self._busy = True
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        waiting = [one for one in self._waiting if not one.granted.done()]
        if not waiting:
            self._busy = False
            return
        self._steps += 1
        first = min(waiting, key=attrgetter("rank" if self._steps % FIRST_EACH else "number"))
        self._waiting.remove(first)
        first.granted.set_result(None)
