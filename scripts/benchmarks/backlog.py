"""Growth with the backlog: whether a window costs more where more of them wait."""

from __future__ import annotations

from pathlib import Path

from benchmarks.runs import Run, run
from benchmarks.yardstick import Row, share_of_y, yardstick_ns

#: Installations, and windows that wait in each; each pair is compared with the one before it.
BY_INSTALLATIONS = ((20, 1), (200, 1), (1000, 1))
BY_WINDOWS = ((20, 1), (20, 10), (20, 50))

#: CPU of a window may be so many times that of the smaller backlog: runs differ by this much.
MOST_GROWTH = 1.1


def measure(base: Path) -> list[Row]:
    """A row for each backlog."""
    runs = {size: run(base, *size) for size in dict.fromkeys(BY_INSTALLATIONS + BY_WINDOWS)}
    yardstick = yardstick_ns()
    return [
        _row(size, runs[size], runs[sizes[at - 1]] if at else None, yardstick)
        for sizes in (BY_INSTALLATIONS, BY_WINDOWS)
        for at, size in enumerate(sizes)
    ]


def _row(size: tuple[int, int], seen: Run, smaller: Run | None, yardstick: int) -> Row:
    installations, windows = size
    what = f"installations: {installations}, windows in each: {windows}; rate, CPU of a window"
    figure = f"{seen.rate:.0f}/s, {seen.cpu.tixd / 1e6:.2f} ms"
    ratio = share_of_y(seen.cpu.tixd / yardstick)
    if smaller is None:
        return Row(what, figure, ratio)
    growth = seen.cpu.tixd / smaller.cpu.tixd
    target = f"at most {MOST_GROWTH} x, is {growth:.2f} x"
    return Row(what, figure, ratio, target, growth <= MOST_GROWTH)
