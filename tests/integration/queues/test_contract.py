"""What every queue promises, asked of each of them (tixd/queues/base.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.support.broker import Broker
from tests.support.direct import Direct
from tests.support.queues import JobQueue, MemoryBroker, MemoryQueue, consumer
from tixd.jobs import ProcessInstallation
from tixd.queues.local import LocalQueue

#: Opens one more consumer of the same queue.
Consumers = Callable[[], AbstractAsyncContextManager[JobQueue]]
Test = Callable[[JobQueue], Awaitable[None]]


def job(number: int) -> ProcessInstallation:
    return ProcessInstallation(f"/r/1/{number}", 1, number)


@asynccontextmanager
async def local() -> AsyncIterator[JobQueue]:
    yield LocalQueue()


def memory() -> Consumers:
    broker = MemoryBroker()

    @asynccontextmanager
    async def one() -> AsyncIterator[JobQueue]:
        yield MemoryQueue(broker)

    return one


def rabbitmq(broker: Broker) -> Consumers:
    if Direct(broker.port).exists("celery"):
        Direct(broker.port).delete("celery")
    return lambda: consumer(broker.port, "/r")


@pytest.fixture(params=["memory", "rabbitmq"])
def consumers(request: pytest.FixtureRequest) -> Consumers:
    if request.param == "memory":
        return memory()
    return rabbitmq(request.getfixturevalue("broker"))


@pytest.fixture(params=["local", "memory", "rabbitmq"])
def run(request: pytest.FixtureRequest) -> Callable[[Test], None]:
    make = {
        "local": lambda: local,
        "memory": memory,
        "rabbitmq": lambda: rabbitmq(request.getfixturevalue("broker")),
    }[request.param]()

    def run_on(test: Test) -> None:
        async def main() -> None:
            async with asyncio.timeout(120), make() as queue:
                await test(queue)

        asyncio.run(main())

    return run_on


async def numbers(queue: JobQueue, count: int) -> list[int]:
    """Take so many jobs and do them."""
    done = []
    for _ in range(count):
        delivery = await queue.take()
        done.append(delivery.job.installation_id)
        await delivery.ack()
    return done


async def nothing_comes(queue: JobQueue) -> bool:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.take(), 0.2)
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
        await (await queue.take()).ack()
        assert await nothing_comes(queue)

    run(test)


def test_a_job_again_comes_behind_the_others_and_one_back_before_them(
    run: Callable[..., None],
) -> None:
    async def test(queue: JobQueue) -> None:
        for number in (1, 2, 3):
            await queue.put(job(number))
        first, second = await queue.take(), await queue.take()
        await second.release()
        await first.requeue_last()
        assert await numbers(queue, 3) == [2, 3, 1]

    run(test)


def test_each_job_is_in_the_hands_of_one_consumer(run: Callable[..., None]) -> None:
    async def test(queue: JobQueue) -> None:
        for number in range(1, 51):
            await queue.put(job(number))
        taken = await asyncio.gather(*(numbers(queue, 10) for _ in range(5)))
        assert sorted(number for part in taken for number in part) == list(range(1, 51))

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
        await delivery.ack()
        assert await queue.put(job(1))

    asyncio.run(test())


def test_what_a_dead_consumer_had_goes_to_another_one(consumers: Consumers) -> None:
    async def test() -> None:
        async with consumers() as alive:
            async with consumers() as dead:
                for number in (1, 2, 3):
                    await alive.put(job(number))
                delivery = await dead.take()
                await dead.close()
            assert sorted(await numbers(alive, 3)) == [1, 2, 3]
            await delivery.ack()
            assert await nothing_comes(alive), "a late answer of the dead one changes nothing"

    asyncio.run(asyncio.wait_for(test(), 120))
