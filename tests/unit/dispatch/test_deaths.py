"""Whose fault a death was, and what becomes of the job (operations.md §4)."""

from __future__ import annotations

import signal

import pytest

from tixd.dispatch.deaths import Death, Deaths
from tixd.dispatch.job import Phase, PhaseName, ProcessInstallation

JOB = ProcessInstallation("/r/1/2", 1, 2)
MINUTE_NS = 60 * 10**9


def phase(name: PhaseName = "analyse", window: int | None = 1000) -> Phase:
    return Phase(name, window, ("a.json", "b.json"), 0)


@pytest.mark.parametrize(
    ("death", "counts"),
    [
        (Death("signal", signal.SIGSEGV, phase()), True),
        (Death("signal", signal.SIGABRT, phase()), True),
        (Death("signal", signal.SIGBUS, phase()), True),
        (Death("signal", signal.SIGFPE, phase()), True),
        (Death("signal", signal.SIGKILL, phase()), False),
        (Death("signal", signal.SIGTERM, phase()), False),
        (Death("exit", 1, phase()), True),
        (Death("exit", 0, phase()), False),
        (Death("exception", 0, phase()), True),
        (Death("time", 0, phase(), MINUTE_NS + 1), True),
        (Death("time", 0, phase(), MINUTE_NS), False),
        (Death("time", 0, phase("post"), MINUTE_NS + 1), False),
        (Death("time", 0, None, MINUTE_NS + 1), False),
    ],
)
def test_only_deaths_that_the_input_can_cause_count(death: Death, counts: bool) -> None:
    assert death.counts is counts


def test_the_third_death_that_counts_sets_the_reports_in_hand_aside() -> None:
    deaths, crash = Deaths(), Death("signal", signal.SIGSEGV, phase())
    for _ in range(2):
        job = deaths.judge(JOB, crash, 0.0).job
        assert job == ProcessInstallation("/r/1/2", 1, 2, one_by_one=True)
    job = deaths.judge(JOB, crash, 0.0).job
    assert job is not None
    assert job.set_aside == ("a.json", "b.json")


def test_deaths_over_different_windows_are_counted_apart() -> None:
    deaths = Deaths()
    for window in (1, 2, 1, 2):
        job = deaths.judge(JOB, Death("exit", 1, phase(window=window)), 0.0).job
        assert job is not None
        assert job.set_aside == ()


def test_a_finished_window_clears_what_was_held_against_the_installation() -> None:
    deaths, crash = Deaths(), Death("exit", 1, phase())
    deaths.judge(JOB, crash, 0.0)
    deaths.judge(JOB, crash, 0.0)
    deaths.finished_window(JOB)
    job = deaths.judge(JOB, crash, 0.0).job
    assert job is not None
    assert job.set_aside == ()


def test_crashes_with_nothing_in_hand_make_the_installation_wait() -> None:
    deaths, crash = Deaths(), Death("exit", 1, Phase("start", None, (), 0))
    assert deaths.judge(JOB, crash, 0.0).job is not None
    assert deaths.judge(JOB, crash, 0.0).job is not None
    assert deaths.judge(JOB, crash, 0.0).job is None
    assert deaths.waits(JOB, 1.0)


def test_three_kills_in_a_row_make_the_installation_wait_ever_longer() -> None:
    deaths, now, waits = Deaths(), 0.0, []
    for _ in range(7):
        verdicts = [deaths.judge(JOB, Death("signal", 9, phase()), now) for _ in range(3)]
        assert [v.job is None for v in verdicts] == [False, False, True]
        hours = next(h for h in range(1, 48) if not deaths.waits(JOB, now + h * 3600))
        waits.append(hours)
        now += hours * 3600
    assert waits == [1, 2, 4, 8, 16, 24, 24]


def test_another_installation_does_not_wait() -> None:
    deaths = Deaths()
    for _ in range(3):
        deaths.judge(JOB, Death("signal", 9, phase()), 0.0)
    assert not deaths.waits(ProcessInstallation("/r/1/3", 1, 3), 1.0)
