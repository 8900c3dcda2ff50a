"""Background tasks: no unexpected error goes unseen, and no endless loop stays dead."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import pytest

from tests.support.log_events import Heard, heard
from tests.support.waiting import until
from tixd import errors, logs
from tixd.runtime import tasks
from tixd.runtime.retry import Retry


@pytest.fixture(autouse=True)
def _quick_and_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause before a loop is started again; nothing was logged in the hour before."""
    monkeypatch.setattr(tasks, "RETRY", Retry(0.0, 60.0))
    monkeypatch.setattr(tasks._Failures, "count", 0)
    monkeypatch.setattr(logs, "_NOTICES", logs.RateLimiter())


async def fail(error: Exception) -> None:
    """What a task does that fails."""
    raise error


def unexpected(log: Heard) -> list[dict[str, str]]:
    """The values of each such line."""
    return [record.values for record in log.records if record.getMessage() == "unexpected"]


def run(work: Callable[[], Awaitable[object]]) -> list[dict[str, str]]:
    """Run it in a loop of its own; what was logged of unexpected errors."""

    async def main() -> None:
        tasks.watch(asyncio.get_running_loop())
        await work()

    with heard() as log:
        asyncio.run(main())
    return unexpected(log)


def test_a_task_that_nobody_awaits_is_logged_and_counted_when_it_fails():
    async def work() -> None:
        task = tasks.start(fail(KeyError("x")), "thing")
        await until(task.done)

    (line,) = run(work)
    assert (line["reason"], line["error"]) == ("thing failed", "KeyError: x")
    assert " fail" in line["at"].split(" < ")[0]
    assert tasks.failures() == 1


def test_an_error_that_its_caller_knows_is_no_unexpected_one():
    async def work() -> None:
        group = ExceptionGroup("all", [errors.CannotStart("x"), errors.BrokerUnavailable()])
        for error in (errors.Unavailable("x"), group):
            with pytest.raises(type(error)):
                await tasks.start(fail(error), "thing")

    assert run(work) == []
    assert tasks.failures() == 0


def test_an_endless_loop_is_started_again_and_the_same_error_is_told_once_an_hour():
    runs: list[int] = []

    async def loop() -> None:
        runs.append(1)
        if len(runs) < 5:
            raise ValueError(len(runs))
        await asyncio.Event().wait()

    async def work() -> None:
        task = tasks.start_loop(loop, "loop")
        await until(lambda: len(runs) == 5)
        await tasks.end(task)

    assert len(run(work)) == 1
    assert tasks.failures() == 4


def test_pauses_before_a_loop_is_started_again_grow_up_to_their_limit(monkeypatch):
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 9:
            raise asyncio.CancelledError

    async def loop() -> None:
        raise ValueError

    async def work() -> None:
        with pytest.raises(asyncio.CancelledError):
            await tasks.start_loop(loop, "loop")

    monkeypatch.setattr(tasks, "RETRY", Retry(1.0, 60.0))
    monkeypatch.setattr(tasks.asyncio, "sleep", sleep)
    run(work)
    assert slept == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_an_error_that_passes_through_two_tasks_is_counted_once():
    async def outer() -> None:
        await tasks.start(fail(KeyError("x")), "inner")

    async def work() -> None:
        with pytest.raises(KeyError):
            await tasks.start(outer(), "outer")

    assert [line["reason"] for line in run(work)] == ["inner failed"]
    assert tasks.failures() == 1


def test_what_a_callback_of_the_loop_raises_is_logged_and_counted():
    async def work() -> None:
        asyncio.get_running_loop().call_soon(lambda: {}["x"])
        await until(tasks.failures)

    (line,) = run(work)
    assert line["error"] == "KeyError: x"


def test_ending_tasks_cancels_them_and_waits_for_their_end():
    ended: list[int] = []

    async def loop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    async def work() -> None:
        both = [tasks.start_loop(loop, "one"), tasks.start_loop(loop, "other")]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await tasks.end(*both)
        assert len(ended) == 2

    run(work)


def test_threads_of_the_loop_leave_signals_to_the_main_thread():
    async def work() -> None:
        blocked = await asyncio.to_thread(signal.pthread_sigmask, signal.SIG_BLOCK, ())
        assert {signal.SIGTERM, signal.SIGUSR2} <= set(blocked)
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())

    run(work)
