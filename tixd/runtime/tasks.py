"""Background tasks: the only module that creates any, so that none fails unseen.

Rules: an unexpected error (anything but a TixdError) is logged and counted when its task fails,
even if another task awaits it; an endless loop is started again after one, with a growing pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from tixd import errors, logs
from tixd.runtime import signal_masks
from tixd.runtime.retry import Retry

#: Pauses before an endless loop is started again.
RETRY = Retry(1.0, 60.0)

#: After a loop has run this long, the pauses start over.
STEADY_SECONDS = 120.0

#: Note on an exception that has been reported.
_REPORTED = "reported by tixd"

_T = TypeVar("_T")

#: All running tasks: the loop keeps weak references only.
_running: set[asyncio.Task[Any]] = set()


class _Failures:
    count = 0


def start(work: Coroutine[Any, Any, _T], what: str) -> asyncio.Task[_T]:
    """Run a coroutine beside the caller; `what` names it in the log."""
    task = asyncio.get_running_loop().create_task(work, name=what)
    _running.add(task)
    task.add_done_callback(_on_end)
    return task


def start_loop(loop: Callable[[], Awaitable[None]], what: str) -> asyncio.Task[None]:
    """Run an endless loop until it is cancelled; start it again after an unexpected error."""
    return start(_keep(loop, what), what)


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel the tasks and wait until all have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def check(*tasks: asyncio.Future[Any]) -> None:
    """Raise the first exception of these tasks, all of which have ended."""
    for task in tasks:
        if not task.cancelled():
            task.result()


def report(error: BaseException, what: str) -> None:
    """Log and count an unexpected error, once even if the task that awaits it reports it too."""
    if _REPORTED not in getattr(error, "__notes__", ()):
        error.add_note(_REPORTED)
        _Failures.count += 1
        logs.uncaught("tasks", f"{what} failed", error)


def failures() -> int:
    """Return how many unexpected errors there were in this process."""
    return _Failures.count


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Report what callbacks raise, and what else only asyncio sees, such as EMFILE.

    Threads of the loop leave signals to the main thread.
    """
    loop.set_exception_handler(_on_loop_error)
    loop.set_default_executor(ThreadPoolExecutor(initializer=signal_masks.leave_to_main_thread))


def in_thread(work: Callable[[], _T], name: str) -> asyncio.Future[_T]:
    """Run the work in a thread that keeps no process from its end, as the loop's executor does."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def run() -> None:
        signal_masks.leave_to_main_thread()
        try:
            report = partial(done.set_result, work())
        except Exception as error:  # noqa: BLE001 - the caller gets it
            report = partial(done.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(report)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done


async def _keep(loop: Callable[[], Awaitable[None]], what: str) -> None:
    failures = 0
    while True:
        begun = time.monotonic()
        try:
            return await loop()
        except Exception as error:  # noqa: BLE001 - the loop must not end
            report(error, what)
        failures = 1 if time.monotonic() - begun > STEADY_SECONDS else failures + 1
        await asyncio.sleep(RETRY.pause_seconds(failures))


def _on_end(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    error = None if task.cancelled() else task.exception()
    if error is not None and not _is_expected(error):
        report(error, task.get_name())


def _is_expected(error: BaseException) -> bool:
    """Return whether the code that awaits the task handles such an error."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_expected(inner) for inner in error.exceptions)
    return isinstance(error, errors.TixdError)


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    _Failures.count += 1
    logs.loop_error(loop, context)
