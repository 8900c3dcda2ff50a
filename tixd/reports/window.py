"""Choose the reports of the next window, and those that can never be part of one.

Rules, applied after each report: 1. another source than the first one's: discard those before it.
2. With MIN_OBSERVATIONS, cut at the largest gap (between neighbours, or inside the newest report)
above MAX_GAP_SECONDS; what lies before the cut is the window, or is discarded where it is too
small or too short. 3. Without a cut, a span of MEANINGFUL_SECONDS makes the window; a shorter one
waits for the next report. 4. No report left: no window yet. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from tixd.analysis.observations import MEANINGFUL_SECONDS
from tixd.reports.model import Report

#: Fewest observations of a window, of either kind, duplicates included: 1024 and a minute.
MIN_OBSERVATIONS = 1024 + 60

#: Longest pause within a window.
MAX_GAP_SECONDS = 300

#: More than this within less than MEANINGFUL_SECONDS is not a measurement at one packet a second;
#: the first half is discarded so that memory stays bounded (a bound of tixd, hundredfold slack).
CROWDED_OBSERVATIONS = 100_000


@dataclass(frozen=True, slots=True)
class Window:
    """Reports that are analysed together, n >= 1."""

    reports: tuple[Report, ...]

    @property
    def consumed(self) -> tuple[Report, ...]:
        """Return the reports to delete once the result is safe; the rest begins the next window."""
        return self.reports[: max(1, len(self.reports) // 2)]


@dataclass(frozen=True, slots=True)
class Discard:
    """Reports that can never become part of a window, and why."""

    reports: tuple[Report, ...]
    reason: Literal["source", "gap", "crowded"]


def next_step(reports: Iterable[Report]) -> Window | Discard | None:
    """Return the first step that the reports allow; takes no more of them than it needs."""
    taken = _Taken()
    for report in reports:
        if taken.reports and report.source != taken.reports[0].source:
            return Discard(tuple(taken.reports), "source")  # rule 1
        taken.add(report)
        step = taken.step()
        if step:
            return step
    return None  # rule 4


def windows(reports: Iterable[Report]) -> Iterator[tuple[Report, ...]]:
    """Yield all windows of the reports in order, as a service would post them."""
    source = iter(reports)
    ahead: list[Report] = []
    while step := next_step(_remembering(ahead, source)):
        if isinstance(step, Window):
            yield step.reports
        del ahead[: len(step.consumed if isinstance(step, Window) else step.reports)]


def _remembering(ahead: list[Report], source: Iterator[Report]) -> Iterator[Report]:
    """Return the reports in `ahead`, then those of `source`, which are remembered in `ahead`."""
    yield from ahead[:]
    for report in source:
        ahead.append(report)
        yield report


def _span(reports: list[Report]) -> int:
    """Return the seconds from the first to the last observation."""
    return max(r.last for r in reports) - min(r.first for r in reports)


class _Taken:
    """The reports taken so far, with the largest gap between neighbours kept up to date."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.observations = 0
        self.gap_seconds = -1
        self.gap_at = 0
        self.first = 2**63
        self.last = -1

    def add(self, report: Report) -> None:
        """Add a report; of equal gaps the latest counts."""
        first, last = report.first, report.last
        if self.reports:
            gap = abs(first - self.reports[-1].first)
            if gap >= self.gap_seconds:
                self.gap_seconds = gap
                self.gap_at = len(self.reports)
        self.reports.append(report)
        self.observations += len(report.observations)
        if first < self.first:
            self.first = first
        if last > self.last:
            self.last = last

    def step(self) -> Window | Discard | None:
        """Apply rules 2 and 3 to the reports taken so far."""
        if self.observations < MIN_OBSERVATIONS:
            return None
        cut = self._cut()
        if cut:
            before = self.reports[:cut]
            whole = sum(r.count for r in before) >= MIN_OBSERVATIONS
            if whole and _span(before) >= MEANINGFUL_SECONDS:
                return Window(tuple(before))
            return Discard(tuple(before), "gap")
        if self.last - self.first >= MEANINGFUL_SECONDS:
            return Window(tuple(self.reports))
        if self.observations > CROWDED_OBSERVATIONS:
            return Discard(tuple(self.reports[: max(1, len(self.reports) // 2)]), "crowded")
        return None

    def _cut(self) -> int:
        """Return how many reports lie before the largest gap; 0 where no cut is needed."""
        newest = self.reports[-1]
        inside = newest.last - newest.first
        largest, at = self.gap_seconds, self.gap_at
        if inside >= largest:
            largest, at = inside, len(self.reports) - 1
        return at if largest > MAX_GAP_SECONDS else 0
