"""The yardstick Y, and what a figure is: machines differ and drift, ratios within a run do less.

Y = CPU time of a function that adds i * i for i in range(1,000,000), in a fresh CPython.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = """
import time
def add():
    total = 0
    for i in range(1_000_000):
        total += i * i
begun = time.process_time_ns()
add()
print(time.process_time_ns() - begun)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what, how much (text), in Y (text), what it must reach, whether."""

    what: str
    figure: str
    ratio: str = ""
    target: str = ""
    reached: bool | None = None


#: Words for whether a target was reached.
VERDICTS = {None: "", True: "  yes", False: "  NO"}


def yardstick_ns() -> int:
    """Y, taken once."""
    return int(subprocess.check_output([sys.executable, "-I", "-c", _PROGRAM]))


def interleaved(measure: Callable[[], float], rounds: int) -> tuple[list[float], list[float]]:
    """What `measure` returns (ns) in each round, and the same in Y (mean of before and after)."""
    figures, ratios = [], []
    before = yardstick_ns()
    for _ in range(rounds):
        figures.append(measure())
        after = yardstick_ns()
        ratios.append(figures[-1] / ((before + after) / 2))
        before = after
    return figures, ratios


def share_of_y(ratio: float) -> str:
    """A ratio as the specification writes it: Y/60, or 2.5 Y."""
    return f"Y/{1 / ratio:.0f}" if ratio < 0.5 else f"{ratio:.2f} Y"


def row(what: str, figures: list[float], ratios: list[float], most: float | None = None) -> Row:
    """A row of the medians of figures in ns; `most`: the ratio that is allowed."""
    figure, ratio = statistics.median(figures), statistics.median(ratios)
    text = f"{figure / 1e6:.2f} ms" if figure >= 2e5 else f"{figure / 1e3:.1f} us"
    if most is None:
        return Row(what, text, share_of_y(ratio))
    return Row(what, text, share_of_y(ratio), f"{share_of_y(most)} or less", ratio <= most)


def cpu_ns(pids: Iterable[int]) -> int:
    """CPU time that all threads of these processes have used so far, as the scheduler counts it."""
    tasks = (task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def own_cpu_ns() -> int:
    """The same of this process."""
    return cpu_ns([os.getpid()])
