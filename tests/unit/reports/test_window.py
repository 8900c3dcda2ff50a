"""Choosing windows: each rule, against a second, plain reading of the rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tixd.analysis.observations import OBSERVATION
from tixd.reports.model import Report
from tixd.reports.window import Discard, Window, next_step, windows


def made(first: int, count: int = 60, last: int | None = None, source: str = "a") -> Report:
    last = first + count - 1 if last is None else last
    rows = np.zeros(count, OBSERVATION)
    return Report(f"tix-report-{first}.json", 1, 2, source, first, last, rows)


def minutes(first: int, reports: int, source: str = "a") -> list[Report]:
    return [made(first + 60 * i, source=source) for i in range(reports)]


def told(step: Window | Discard | None) -> tuple[str, list[int]] | None:
    if step is None:
        return None
    kind = "window" if isinstance(step, Window) else step.reason
    return kind, [r.first for r in step.reports]


def test_a_window_needs_1084_observations() -> None:
    reports = minutes(0, 18)
    assert next_step(reports) is None
    assert told(next_step([*reports, made(1080, 4)])) == (
        "window",
        [r.first for r in reports] + [1080],
    )


def test_no_more_reports_are_taken_than_the_window_needs() -> None:
    left = iter(minutes(0, 30))
    next_step(left)
    assert next(left).first == 19 * 60


def test_the_first_half_of_a_window_is_spent_and_at_least_one_report() -> None:
    assert len(Window(tuple(minutes(0, 19))).consumed) == 9
    assert len(Window(tuple(minutes(0, 1))).consumed) == 1


def test_windows_overlap_by_half() -> None:
    found = [w[0].first // 60 for w in windows(minutes(0, 40))]
    assert found == [0, 9, 18]


def test_a_new_source_discards_what_came_before_it() -> None:
    reports = minutes(0, 3) + minutes(180, 20, source="b")
    assert told(next_step(reports)) == ("source", [0, 60, 120])


def test_a_gap_discards_what_is_too_little_before_it() -> None:
    reports = minutes(0, 3) + minutes(600, 30)
    assert told(next_step(reports)) == ("gap", [0, 60, 120])


def test_300_seconds_are_no_gap_and_301_are() -> None:
    assert told(next_step(minutes(0, 3) + minutes(120 + 300, 16))) is not None
    assert told(next_step(minutes(0, 3) + minutes(120 + 300, 17)))[0] == "window"  # type: ignore[index]
    assert told(next_step(minutes(0, 3) + minutes(120 + 301, 17)))[0] == "gap"  # type: ignore[index]


def test_a_gap_inside_the_newest_report_cuts_before_it() -> None:
    reports = [*minutes(0, 18), made(1080, 60, last=1080 + 301)]
    assert told(next_step(reports)) == ("gap", [60 * i for i in range(18)])


def test_one_long_report_is_a_window_of_its_own() -> None:
    assert told(next_step([made(0, 1084)])) == ("window", [0])


def test_one_long_report_of_too_few_minutes_waits_for_the_next() -> None:
    dense = made(0, 1084, last=290)
    assert next_step([dense]) is None
    assert told(next_step([dense, made(300, 2, last=599)])) is None
    assert told(next_step([dense, made(300, 2, last=600)])) == ("window", [0, 300])


def test_what_lies_before_the_cut_is_the_window_if_it_is_whole() -> None:
    dense = [made(60 * i, 500, last=60 * i + 59) for i in range(10)]
    reports = [*dense, made(2000, 60)]
    assert told(next_step(reports)) == ("gap", [60 * i for i in range(10)])
    reports = [*dense, made(800, 60, last=850), made(2000)]
    assert told(next_step(reports)) == ("window", [*(60 * i for i in range(10)), 800])


def test_of_equal_gaps_the_latest_is_cut() -> None:
    reports = minutes(0, 2) + minutes(60 + 400, 2) + minutes(60 + 400 + 60 + 400, 20)
    assert told(next_step(reports)) == ("gap", [0, 60, 460, 520])


def test_reports_out_of_order_count_their_distance_not_its_sign() -> None:
    reports = minutes(10_000, 2) + minutes(0, 20)
    assert told(next_step(reports)) == ("gap", [10_000, 10_060])


def test_endless_reports_of_one_moment_are_discarded_before_memory_ends() -> None:
    reports = (made(5, 1000, last=5) for _ in range(10_000))
    step = next_step(reports)
    assert isinstance(step, Discard)
    assert step.reason == "crowded"
    assert 10 < len(step.reports) < 200


@dataclass
class Page:
    """The rules read again, as plainly as can be: everything is counted anew each time."""

    reports: list[Report]

    def steps(self) -> list[tuple[str, list[int]]]:
        found = []
        while step := self.step():
            found.append(step)
            kind, names = step
            count = max(1, len(names) // 2) if kind == "window" else len(names)
            self.reports = self.reports[count:]
        return found

    def step(self) -> tuple[str, list[int]] | None:
        taken: list[Report] = []
        for report in self.reports:
            if taken and taken[0].source != report.source:
                return "source", [r.first for r in taken]
            taken = [*taken, report]
            if sum(r.count for r in taken) < 1084:
                continue
            cut = self.cut(taken)
            part = taken[:cut] if cut else taken
            span = max(r.last for r in part) - min(r.first for r in part)
            if span >= 600 and sum(r.count for r in part) >= 1084:
                return "window", [r.first for r in part]
            if cut:
                return "gap", [r.first for r in part]
        return None

    def cut(self, taken: list[Report]) -> int:
        gaps = [(abs(b.first - a.first), i + 1) for i, (a, b) in enumerate(zip(taken, taken[1:]))]  # noqa: B905, RUF007
        largest, at = max([*gaps, (taken[-1].last - taken[-1].first, len(taken) - 1)])
        return at if largest > 300 else 0


REPORTS = st.lists(
    st.tuples(
        st.sampled_from([60, 60, 60, 60, 120, 299, 300, 301, 700, 0, -60]),
        st.sampled_from([60, 60, 100, 400, 1084, 2000]),
        st.sampled_from([0, 59, 59, 300, 301, 700]),
        st.sampled_from("aaaaaaaaab"),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(REPORTS)
def test_any_reports_give_the_steps_of_the_page(
    shapes: list[tuple[int, int, int, str]],
) -> None:
    reports, first = [], 1_000_000
    for distance, count, length, source in shapes:
        first += distance
        reports.append(made(first, count, first + length, source))
    left, found = list(reports), []
    while step := next_step(left):
        found.append(told(step))
        left = left[len(step.consumed if isinstance(step, Window) else step.reports) :]
    assert found == Page(list(reports)).steps()
    chosen = [[r.first for r in w] for w in windows(reports)]
    assert chosen == [step[1] for step in found if step and step[0] == "window"]
