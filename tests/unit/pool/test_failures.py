"""Whose fault a death was, and what becomes of the job."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from tixd.jobs import Phase, PhaseName, ProcessInstallation
from tixd.pool.failures import FailurePolicy, WorkerExit

JOB = ProcessInstallation("/r/1/2", 1, 2)
#: The same after a first death that counts.
ISOLATED = replace(JOB, isolated=True)
MINUTE_NS = 60 * 10**9


def phase(name: PhaseName = "analyse", window: int | None = 1000) -> Phase:
    return Phase(name, window, ("a.json", "b.json"), 0)


@pytest.mark.parametrize(
    ("death", "counts"),
    [
        (WorkerExit("signal", signal.SIGSEGV, phase()), True),
        (WorkerExit("signal", signal.SIGABRT, phase()), True),
        (WorkerExit("signal", signal.SIGBUS, phase()), True),
        (WorkerExit("signal", signal.SIGFPE, phase()), True),
        (WorkerExit("signal", signal.SIGKILL, phase()), False),
        (WorkerExit("signal", signal.SIGTERM, phase()), False),
        (WorkerExit("exit", 1, phase()), True),
        (WorkerExit("exit", 0, phase()), False),
        (WorkerExit("exception", 0, phase()), True),
        (WorkerExit("memory", 0, phase()), False),
        (WorkerExit("time", 0, phase(), MINUTE_NS + 1), True),
        (WorkerExit("time", 0, phase(), MINUTE_NS), False),
        (WorkerExit("time", 0, phase("post"), MINUTE_NS + 1), False),
        (WorkerExit("time", 0, None, MINUTE_NS + 1), False),
        (WorkerExit("exception", 0, phase("post")), False),
        (WorkerExit("exception", 0, phase("repost")), False),
        (WorkerExit("signal", signal.SIGSEGV, phase("post")), False),
    ],
)
def test_only_deaths_that_the_input_can_cause_count(death: WorkerExit, counts: bool) -> None:
    assert death.blames_reports is counts


def test_the_third_death_that_counts_sets_the_reports_in_hand_aside() -> None:
    policy, crash = FailurePolicy(), WorkerExit("signal", signal.SIGSEGV, phase())
    job = policy.next_try(JOB, crash, 0.0)
    for _ in range(2):
        assert job == ISOLATED
        job = policy.next_try(ISOLATED, crash, 0.0)
    assert job is not None
    assert job.crashers == ("a.json", "b.json")


def test_deaths_over_different_reports_are_counted_apart() -> None:
    policy = FailurePolicy()
    for name in ("a.json", "b.json", "a.json", "b.json"):
        crash = WorkerExit("exit", 1, Phase("read", None, (name,), 0))
        assert policy.next_try(ISOLATED, crash, 0.0) == ISOLATED


def test_only_an_isolated_job_decides_which_reports_are_set_aside() -> None:
    policy, stale = (
        FailurePolicy(),
        WorkerExit("exit", 1, Phase("read", None, ("innocent.json",), 0)),
    )
    for _ in range(3):
        assert policy.next_try(JOB, stale, 0.0) == ISOLATED
    job = policy.next_try(ISOLATED, WorkerExit("exit", 1, phase()), 0.0)
    assert job is not None
    assert job.crashers == ("a.json", "b.json")


def test_an_installation_whose_crashers_cannot_be_set_aside_waits() -> None:
    policy, crash = FailurePolicy(), WorkerExit("exit", 1, phase())
    told = replace(ISOLATED, crashers=("a.json", "b.json"))
    jobs = [policy.next_try(told, crash, 0.0) for _ in range(3)]
    assert jobs == [told, told, None]
    assert policy.is_waiting(JOB, 1.0)


def test_a_worker_that_ends_before_it_began_says_nothing_against_the_job() -> None:
    policy, tidy = FailurePolicy(), WorkerExit("exit", 0, None)
    assert [policy.next_try(JOB, tidy, 0.0) for _ in range(4)] == [JOB] * 4


def test_a_job_in_which_workers_end_as_if_done_is_not_given_out_for_ever() -> None:
    policy, odd = FailurePolicy(), WorkerExit("exit", 0, phase())
    assert [policy.next_try(JOB, odd, 0.0) for _ in range(3)] == [JOB, JOB, None]


def test_a_finished_window_clears_what_was_held_against_the_installation() -> None:
    policy, crash = FailurePolicy(), WorkerExit("exit", 1, phase())
    policy.next_try(JOB, crash, 0.0)
    policy.next_try(ISOLATED, crash, 0.0)
    policy.forget(JOB)
    assert policy.next_try(ISOLATED, crash, 0.0) == ISOLATED


def test_crashes_with_nothing_in_hand_make_the_installation_wait() -> None:
    policy, crash = FailurePolicy(), WorkerExit("exit", 1, Phase("start", None, (), 0))
    jobs = [policy.next_try(job, crash, 0.0) for job in (JOB, ISOLATED, ISOLATED)]
    assert jobs == [ISOLATED, ISOLATED, None]
    assert policy.is_waiting(JOB, 1.0)


@pytest.mark.parametrize(
    ("end", "unit_seconds", "expected"),
    [
        (WorkerExit("signal", 9, phase()), 3600, [1, 2, 4, 8, 16, 24, 24]),
        (WorkerExit("memory", 0, phase()), 60, [1, 2, 4, 8, 16, 32, 60]),
    ],
    ids=["kills: hours", "lack of memory, three times in one moment: minutes"],
)
def test_three_ends_in_a_row_make_the_installation_wait_ever_longer(end, unit_seconds, expected):
    policy, now, waits = FailurePolicy(), 0.0, []
    for _ in expected:
        tries = [policy.next_try(JOB, end, now) for _ in range(3)]
        assert [again is None for again in tries] == [False, False, True]
        ends = (n for n in range(1, 99) if not policy.is_waiting(JOB, now + n * unit_seconds))
        waits.append(next(ends))
        now += waits[-1] * unit_seconds
    assert waits == expected


def test_another_installation_does_not_wait() -> None:
    policy = FailurePolicy()
    for _ in range(3):
        policy.next_try(JOB, WorkerExit("signal", 9, phase()), 0.0)
    assert not policy.is_waiting(ProcessInstallation("/r/1/3", 1, 3), 1.0)
