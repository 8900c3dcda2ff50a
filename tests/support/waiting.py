"""Wait for a condition with a deadline, instead of for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.support.program import PATIENCE_SECONDS

T = TypeVar("T")

#: How often a condition is looked at.
_PAUSE_SECONDS = 0.002


async def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Go on once the condition holds; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        await asyncio.sleep(_PAUSE_SECONDS)


async def until_answer(
    ask: Callable[[], Awaitable[T]], fits: Callable[[T], bool], seconds: float = PATIENCE_SECONDS
) -> None:
    """Ask until the answer fits; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not fits(answer := await ask()):
        assert time.monotonic() < end, f"not within {seconds} s, last {answer}"
        await asyncio.sleep(_PAUSE_SECONDS)
