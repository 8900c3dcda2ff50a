"""Long work in steps, so that an event loop can do other things in between.

In: a generator that yields wherever it may pause, at least every 20 ms, and returns its result.
Out: the result. What it yields is how many bytes the work holds beside its input at that moment.
In a loop: cooperative.py; in a worker process: `finished(work)`. Pure.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[int, None, T]


def finished(work: Steps[T]) -> T:
    """The result, without a pause; raises what the work raises."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
