"""Real windows against what the original system computes for them (golden.jsonl).

Timestamp, usage and quality are equal; Hurst within 1e-6 relative, because the original rounds the
clock offset.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from tests.support.real_windows import first_window
from tests.support.shared import shared_data
from tixd.analysis.summary import Direction, summarise

WINDOWS = 61


@pytest.mark.parametrize("line", range(WINDOWS))
def test_a_real_window_reads_as_the_original_read_it(line):
    golden = json.loads(shared_data("tix/golden.jsonl").read_text().splitlines()[line])
    rows = first_window(golden["experiment"], golden["window"])
    summary = summarise(rows)
    assert (len(rows), summary.timestamp) == (
        golden["observations"],
        golden["result"]["timestamp"],
    )
    for name in ("upstream", "downstream"):
        assert_equal(getattr(summary, name), golden["result"][name])


def test_the_golden_file_holds_no_window_that_is_not_compared():
    assert len(shared_data("tix/golden.jsonl").read_text().splitlines()) == WINDOWS


def assert_equal(direction: Direction, golden: dict) -> None:
    hurst = golden.pop("hurst")
    found = asdict(direction)
    assert found.pop("usage_alt") is None
    assert found.pop("hurst_rs") == pytest.approx(hurst["rs"], rel=1e-6)
    assert found.pop("hurst_wavelet") == pytest.approx(hurst["wavelet"], rel=1e-6)
    assert found == golden
