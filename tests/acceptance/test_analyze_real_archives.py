"""`tixd analyze` on real recordings, against what the original computes (golden.jsonl).

Tolerance: all equal, Hurst within 1e-6 relative: the original rounds the clock offset.
"""

from __future__ import annotations

import json
from functools import cache

import pytest
from click.testing import CliRunner

from tests.support.shared import shared_data
from tixd.commands import Invocation
from tixd.commands.analyze import command

EXPERIMENTS = ("batch-test-report-1b", "batch-test-reports-3b", "batch-test-reports-5b")


@cache
def first_windows(experiment: str) -> dict[str, dict]:
    """The first window of each folder of the archive, by the folder's name."""
    archive = shared_data(f"tix/{experiment}.tar.gz")
    done = CliRunner().invoke(command, ["--format", "json", str(archive)], obj=Invocation({}, None))
    assert done.exit_code == 0, done.stderr
    first: dict[str, dict] = {}
    for line in map(json.loads, done.stdout.splitlines()):
        first.setdefault(line["path"].removeprefix(f"{archive}/"), line)
    return first


def golden(experiment: str) -> list[dict]:
    lines = shared_data("tix/golden.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["experiment"] == experiment]


def split(result: dict) -> tuple[dict, list[float]]:
    """The values that must be equal, and the Hurst values."""
    exact = {"timestamp": result["timestamp"]}
    hurst = []
    for way in ("upstream", "downstream"):
        exact[way] = (result[way]["usage"], result[way]["quality"])
        hurst += [result[way]["hurst"]["rs"], result[way]["hurst"]["wavelet"]]
    return exact, hurst


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_first_window_of_each_folder_is_what_the_original_computes(experiment):
    due, got = golden(experiment), first_windows(experiment)
    assert due
    for line in due:
        window = got[line["window"]]
        assert (window["ip"], window["observations"]) == (line["ip"], line["observations"])
        exact, hurst = split(window["result"])
        due_exact, due_hurst = split(line["result"])
        assert exact == due_exact, line["window"]
        assert hurst == pytest.approx(due_hurst, rel=1e-6), line["window"]


def test_all_61_golden_windows_are_compared():
    assert sum(len(golden(experiment)) for experiment in EXPERIMENTS) == 61
