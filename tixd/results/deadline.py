"""A deadline over a whole call, however many waits it is made of.

In: seconds and a function. Out: what it returns, or DeadlinePassed.
Rules: only in the main thread (a worker process has no other); a time-out per read cannot do this,
because a server that sends a byte a second never reaches it. A name look-up in the C library ends
first.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

_Returned = TypeVar("_Returned")


class DeadlinePassed(BaseException):
    """Raised in the middle of whatever runs; no Exception, so that no library handles it."""


def within(seconds: float, function: Callable[[], _Returned]) -> _Returned:
    """What `function` returns; raises DeadlinePassed once `seconds` have passed.

    A timer and a handler that were set before are as before afterwards.
    """
    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, _passed)
    try:
        left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            return function()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, handler)
        if left:
            spent = time.monotonic() - began
            signal.setitimer(signal.ITIMER_REAL, max(left - spent, 1e-6), interval)


def _passed(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise DeadlinePassed
