"""What a consumer does when a job has ended, and when it is ended itself."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from tixd.dispatch.consumer import consume
from tixd.jobs import JobResult


class Waiting:
    """A queue with one job, whose broker answers neither `ack` nor `requeue_last`."""

    job = None

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._taken = False

    async def take(self) -> Waiting:
        if self._taken:
            await asyncio.Event().wait()
        self._taken = True
        return self

    async def ack(self) -> None:
        self.asked.set()
        await asyncio.Event().wait()

    requeue_last = ack


class Pool:
    """Ends each job at once, in that way."""

    capacity = 1

    def __init__(self, result: JobResult) -> None:
        self._result = result

    async def submit(self, _: Any) -> JobResult:
        return self._result


@pytest.mark.parametrize("has_more", [False, True])
def test_what_a_job_tells_is_told_on_although_a_stop_comes_before_the_brokers_answer(has_more):
    result, told = JobResult(has_more=has_more, record="what was posted"), []

    async def run() -> None:
        queue = Waiting()
        consuming = asyncio.create_task(consume(queue, Pool(result), told.append))
        await queue.asked.wait()
        consuming.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await consuming

    asyncio.run(run())
    assert told == [result]
