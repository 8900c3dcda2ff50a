"""Programs in which an exception is raised that nobody catches, one for each way there is.

In: the path of the log. Each ends with exit code 0.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable

from tixd import logs


def _fail() -> None:
    raise RuntimeError("as was planned")


def _begin(log: str) -> None:
    logs.set_up("INFO", "json", log)
    logs.adopt()


def _in_a_loop(log: str, scene: Callable[[], Awaitable[None]]) -> None:
    async def live() -> None:
        asyncio.get_running_loop().set_exception_handler(logs.loop_error)
        await scene()

    _begin(log)
    asyncio.run(live())


def task(log: str) -> None:
    """End a task that nobody waits for."""

    async def fail() -> None:
        _fail()

    async def scene() -> None:
        task = asyncio.ensure_future(fail())
        await asyncio.sleep(0)
        del task
        gc.collect()

    _in_a_loop(log, scene)


def callback(log: str) -> None:
    """Fail in a callback of the loop."""

    async def scene() -> None:
        asyncio.get_running_loop().call_soon(_fail)
        await asyncio.sleep(0.01)

    _in_a_loop(log, scene)


def thread(log: str) -> None:
    """Fail in a thread."""
    _begin(log)
    failing = threading.Thread(target=_fail)
    failing.start()
    failing.join()


def destructor(log: str) -> None:
    """Fail where Python can only ignore it."""

    class Careless:
        def __del__(self) -> None:
            _fail()

    _begin(log)
    Careless()
    gc.collect()
