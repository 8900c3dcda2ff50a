"""The jobs: what users are told of each kind; what a result says of windows."""

from __future__ import annotations

from typing import get_args

import pytest

from tixd import jobs


def test_every_job_has_words_of_its_own_kind():
    words = {
        jobs.ProcessInstallation("/r/1/2", 1, 2): "installation 1/2",
        jobs.ListUsers("/r"): "looking for installations",
        jobs.ListInstallations("/r", ()): "looking for installations",
        jobs.CheckVolume("/r"): "checking the volume",
        jobs.ListFailed("/r", ()): "listing kept results",
        jobs.RetryFailed("/r", ()): "bringing back rejected results",
    }
    assert {asked: jobs.describe(asked) for asked in words} == words
    assert {type(asked) for asked in words} == set(get_args(jobs.Job))


@pytest.mark.parametrize(
    ("result", "has"),
    [
        (jobs.JobResult({"windows_posted": 1}), True),
        (jobs.JobResult({"windows_stored": 1, "jobs_failed": 1}), True),
        (jobs.JobResult({"windows_without_short": 1}), True),
        (jobs.JobResult({"reports_discarded_gap": 3, "results_reposted": 1}), False),
        (jobs.JobResult(), False),
        (jobs.JobResult(failure="x", phase=jobs.Phase("read", None, (), 0)), False),
        (
            jobs.JobResult(
                failure="x", phase=jobs.Phase("read", None, (), 0, has_finished_window=True)
            ),
            True,
        ),
    ],
)
def test_a_result_says_whether_a_window_was_finished(result: jobs.JobResult, has: bool) -> None:
    assert result.has_finished_window is has
