"""Measure how much memory Python allocates at most while a block runs."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Peak:
    """The largest number of bytes that were held at once, beyond those held before."""

    bytes: int = 0


@contextlib.contextmanager
def peak_allocation() -> Iterator[Peak]:
    """Measure the block; the figure is known when it has ended."""
    peak = Peak()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield peak
        peak.bytes = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
