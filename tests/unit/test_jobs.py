"""The jobs: what users are told of each kind."""

from __future__ import annotations

from typing import get_args

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
