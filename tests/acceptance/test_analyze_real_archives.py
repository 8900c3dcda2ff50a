"""`tixd analyze` on archives of windows that the original has read too.

Tolerance: all equal, Hurst within 1e-6 relative: the original rounds the clock offset.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.recordings import WINDOWS, archive, expected
from tixd.commands import Invocation
from tixd.commands.analyze import command


def first_windows(path: Path) -> dict[str, dict]:
    """The first window of each folder of the archive, by the folder's name."""
    done = CliRunner().invoke(command, ["--format", "json", str(path)], obj=Invocation({}, None))
    assert done.exit_code == 0, done.stderr
    first: dict[str, dict] = {}
    for line in map(json.loads, done.stdout.splitlines()):
        first.setdefault(line["path"].removeprefix(f"{path}/"), line)
    return first


def split(result: dict) -> tuple[dict, list[float]]:
    """The values that must be equal, and the Hurst values."""
    exact = {"timestamp": result["timestamp"]}
    hurst = []
    for way in ("upstream", "downstream"):
        exact[way] = (result[way]["usage"], result[way]["quality"])
        hurst += [result[way]["hurst"]["rs"], result[way]["hurst"]["wavelet"]]
    return exact, hurst


@pytest.mark.parametrize("experiment", WINDOWS)
def test_the_first_window_of_each_folder_is_what_the_original_computes(tmp_path, experiment):
    found, lines = first_windows(archive(experiment, tmp_path)), expected(experiment)
    assert len(lines) == WINDOWS[experiment]
    for line in lines:
        window = found[line["window"]]
        assert (window["ip"], window["observations"]) == (line["ip"], line["observations"])
        exact, hurst = split(window["result"])
        expected_exact, expected_hurst = split(line["result"])
        assert exact == expected_exact, line["window"]
        assert hurst == pytest.approx(expected_hurst, rel=1e-6), line["window"]
