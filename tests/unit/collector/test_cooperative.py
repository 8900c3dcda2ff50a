"""Steps of many requests in one loop: small ones first, none left out, none that goes on."""

from __future__ import annotations

import asyncio
import time

import pytest

from tixd import errors
from tixd.collector.admission import Admission, ClientGone, Reservation
from tixd.collector.cooperative import Steps, StepScheduler, interruptible

#: CPU time of a step of made-up work, seconds.
STEP_SECONDS = 0.003


def work(steps: int, done: list[str], name: str = "", held: int = 0) -> Steps[str]:
    """So many steps; each is in the list."""
    for _ in range(steps):
        begun = time.thread_time()
        while time.thread_time() - begun < STEP_SECONDS:
            pass
        done.append(name)
        yield held
    return name


def admission(most_bytes: int = 1 << 20) -> Admission:
    """An admission with room."""
    return Admission(10, most_bytes, time.monotonic)


def test_a_small_request_is_worked_through_before_large_ones_that_came_earlier():
    done: list[str] = []

    async def run() -> None:
        scheduler, room = StepScheduler(), admission()
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(scheduler.run(work(60, done, "large"), Reservation(room)))
            while done.count("large") < 200:
                await asyncio.sleep(0)
            assert await scheduler.run(work(3, done, "small"), Reservation(room)) == "small"
            assert done.count("large") < 300

    asyncio.run(run())
    assert done.count("large") == 1200


def test_the_first_large_request_is_worked_through_although_small_ones_keep_coming():
    done: list[str] = []

    async def run() -> None:
        scheduler, room = StepScheduler(), admission()

        async def small() -> None:
            while "end" not in done:
                await scheduler.run(work(1, done, "small"), Reservation(room))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(small()) for _ in range(5)]
            await scheduler.run(work(40, done, "large"), Reservation(room))
            done.append("end")
            assert tasks

    asyncio.run(run())
    assert done.count("small") > done.count("large") == 40


def test_what_work_holds_counts_and_ends_it_where_there_is_no_room():
    done: list[str] = []

    async def run() -> int:
        room = admission(4000)
        reservation = Reservation(room)
        reservation.add(500)
        await StepScheduler().run(work(2, done, held=1000), reservation)
        with pytest.raises(errors.OverLimit):
            await StepScheduler().run(work(9, done, held=2000), reservation)
        return reservation.bytes

    assert asyncio.run(run()) == 1500
    assert len(done) == 3


async def left(scheduler: StepScheduler, reservation: Reservation, done: list[str]) -> None:
    """Endless work for a sender that leaves."""
    with pytest.raises(ClientGone):
        async with interruptible(reservation, asyncio.get_running_loop().time() + 60):
            await scheduler.run(work(10**6, done, "left"), reservation)


def test_work_for_a_sender_that_leaves_ends_although_it_waits_for_its_turn():
    done: list[str] = []

    async def run() -> None:
        scheduler, room = StepScheduler(), admission()
        reservation = Reservation(room)
        async with asyncio.TaskGroup() as group:
            other = group.create_task(scheduler.run(work(30, done, "stays"), Reservation(room)))
            gone = group.create_task(left(scheduler, reservation, done))
            while "left" not in done:
                await asyncio.sleep(0)
            reservation.cancel(ClientGone)
            await gone
            assert await other == "stays"

    asyncio.run(run())
    assert done.count("stays") == 30


@pytest.mark.parametrize(
    ("is_whole", "kind", "reason"),
    [
        (False, errors.RequestTimeout, "incomplete after the time-out"),
        (True, errors.Unavailable, "not processed in time"),
    ],
)
def test_work_on_a_request_ends_with_its_time(is_whole, kind, reason):
    async def run() -> None:
        reservation = Reservation(admission())
        reservation.is_whole = is_whole
        async with interruptible(reservation, asyncio.get_running_loop().time() + 0.05):
            await StepScheduler().run(work(10**6, []), reservation)

    with pytest.raises(kind, match=reason):
        asyncio.run(run())
