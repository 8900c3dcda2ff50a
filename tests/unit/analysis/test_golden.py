"""Windows against what the original system computes for them: our own, and recorded ones.

Timestamp, usage and quality are equal; Hurst within 1e-6 relative, because the original rounds the
clock offset.
"""

from __future__ import annotations

from dataclasses import asdict

import pytest

from tests.support.recordings import CASES, WINDOWS, expected, first_window
from tixd.analysis.summary import Direction, summarise


@pytest.mark.parametrize(("experiment", "number"), CASES)
def test_a_window_reads_as_the_original_read_it(experiment, number):
    golden = expected(experiment)[number]
    rows = first_window(experiment, golden["window"])
    summary = summarise(rows)
    assert (len(rows), summary.timestamp) == (
        golden["observations"],
        golden["result"]["timestamp"],
    )
    for name in ("upstream", "downstream"):
        assert_equal(getattr(summary, name), golden["result"][name])


@pytest.mark.parametrize("experiment", WINDOWS)
def test_no_expected_result_is_left_uncompared(experiment):
    assert len(expected(experiment)) == WINDOWS[experiment]


def assert_equal(direction: Direction, golden: dict) -> None:
    found = asdict(direction)
    for name in ("usage_alt", "width", "unsteady"):
        assert found.pop(name) is None
    assert found.pop("hurst_rs") == pytest.approx(golden["hurst"]["rs"], rel=1e-6)
    assert found.pop("hurst_wavelet") == pytest.approx(golden["hurst"]["wavelet"], rel=1e-6)
    assert found == {name: golden[name] for name in ("usage", "quality")}
