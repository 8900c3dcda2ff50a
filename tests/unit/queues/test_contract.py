"""What every queue promises, asked of each of them (tixd/queues/contract.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tixd.dispatch.job import ProcessInstallation
from tixd.queues.contract import JobQueue
from tixd.queues.local import LocalQueue
from tixd.queues.memory import MemoryBroker, MemoryQueue

QUEUES: dict[str, Callable[[], JobQueue]] = {
    "local": LocalQueue,
    "memory": lambda: MemoryQueue(MemoryBroker()),
}


def job(number: int) -> ProcessInstallation:
    return ProcessInstallation(f"/r/1/{number}", 1, number)


@pytest.fixture(params=sorted(QUEUES))
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[JobQueue], Awaitable[None]]], None]:
    def run_on(test: Callable[[JobQueue], Awaitable[None]]) -> None:
        async def main() -> None:
            await asyncio.wait_for(test(QUEUES[request.param]()), 5)

        asyncio.run(main())

    return run_on


async def numbers(queue: JobQueue, count: int) -> list[int]:
    return [(await queue.take()).job.installation_id for _ in range(count)]


async def nothing_comes(queue: JobQueue) -> bool:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.take(), 0.02)
    return True


def test_jobs_come_in_the_order_in_which_they_were_put(run: Callable[..., None]) -> None:
    async def test(queue: JobQueue) -> None:
        for number in (3, 1, 2):
            assert await queue.put(job(number))
        assert await numbers(queue, 3) == [3, 1, 2]

    run(test)


def test_who_takes_from_an_empty_queue_waits_for_the_next_job(run: Callable[..., None]) -> None:
    async def test(queue: JobQueue) -> None:
        taking = asyncio.ensure_future(queue.take())
        await asyncio.sleep(0)
        assert not taking.done()
        await queue.put(job(7))
        assert (await taking).job == job(7)

    run(test)


def test_a_job_that_is_done_never_comes_again(run: Callable[..., None]) -> None:
    async def test(queue: JobQueue) -> None:
        await queue.put(job(1))
        await (await queue.take()).done()
        assert await nothing_comes(queue)

    run(test)


def test_a_job_again_comes_behind_the_others_and_one_back_before_them(
    run: Callable[..., None],
) -> None:
    async def test(queue: JobQueue) -> None:
        for number in (1, 2, 3):
            await queue.put(job(number))
        first, second = await queue.take(), await queue.take()
        await first.again()
        await second.back()
        assert await numbers(queue, 3) == [2, 3, 1]

    run(test)


def test_each_job_is_in_the_hands_of_one_consumer(run: Callable[..., None]) -> None:
    async def test(queue: JobQueue) -> None:
        for number in range(50):
            await queue.put(job(number))
        taken = await asyncio.gather(*(numbers(queue, 10) for _ in range(5)))
        assert sorted(number for part in taken for number in part) == list(range(50))

    run(test)


def test_a_cancelled_taker_loses_no_job(run: Callable[..., None]) -> None:
    async def test(queue: JobQueue) -> None:
        taking = asyncio.ensure_future(queue.take())
        await asyncio.sleep(0)
        await queue.put(job(1))
        taking.cancel()
        await asyncio.wait([taking])
        if taking.cancelled():
            assert await numbers(queue, 1) == [1]
        else:
            assert taking.result().job == job(1)

    run(test)


def test_a_closed_queue_gives_nothing(run: Callable[..., None]) -> None:
    async def test(queue: JobQueue) -> None:
        await queue.put(job(1))
        await queue.close()
        assert await nothing_comes(queue)

    run(test)


def test_an_installation_with_an_open_job_gets_no_second_one_in_the_local_queue() -> None:
    async def test() -> None:
        queue = LocalQueue()
        assert await queue.put(job(1))
        assert not await queue.put(job(1))
        delivery = await queue.take()
        assert not await queue.put(job(1))
        assert (queue.waiting, queue.open) == (0, 1)
        await delivery.done()
        assert await queue.put(job(1))

    asyncio.run(test())


def test_what_a_dead_consumer_had_goes_to_another_one() -> None:
    async def test() -> None:
        broker = MemoryBroker()
        dead, alive = MemoryQueue(broker), MemoryQueue(broker)
        for number in (1, 2, 3):
            await dead.put(job(number))
        delivery = await dead.take()
        await dead.take()
        await dead.close()
        assert await numbers(alive, 3) == [1, 2, 3]
        await delivery.done()
        assert await nothing_comes(alive), "a late answer of the dead one changes nothing"

    asyncio.run(test())
