"""Measure waits without the time for which a busy machine let the processes wait for a core."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path


class Stopwatch:
    """How long something takes, not counting for how long these processes waited for a core.

    A process counts with the thread that waited longest: its threads wait side by side.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._begun = time.monotonic()
        self._before = [_delays(pid) for pid in pids]

    def seconds(self) -> float:
        """The time since the start, not below 0."""
        wall = time.monotonic() - self._begun
        now = [_delays(pid) for pid in self._pids]
        return max(0.0, wall - sum(map(_longest, self._before, now)))


def until_soon(condition: Callable[[], object], seconds: float, *pids: int) -> None:
    """Wait for the condition; fail where it takes so long, not counting as Stopwatch does not."""
    watch = Stopwatch(*pids)
    while not condition():
        assert watch.seconds() < seconds, f"not within {seconds} s"
        time.sleep(0.01)


def _delays(pid: int) -> dict[str, int]:
    """How long each thread has waited so far, in ns, as the scheduler counts it."""
    found = {}
    with contextlib.suppress(OSError):  # it has ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found[thread.name] = int((thread / "schedstat").read_text().split()[1])
    return found


def _longest(before: dict[str, int], now: dict[str, int]) -> float:
    """How long the thread has waited meanwhile that has waited longest, in seconds."""
    return max((now[name] - before.get(name, 0) for name in now), default=0) / 1e9
