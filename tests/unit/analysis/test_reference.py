"""Made-up windows, each as tixd reads it and as the plain reference implementation does.

Usage and quality are equal, Hurst within 1e-9: the two add up the same numbers in another order.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import reference_analysis as reference
from tests.support.windows import BEGIN, WINDOWS, DAY_ns, assert_close, jitter, shuffled, window
from tixd.analysis.observations import LONG, OBSERVATION, SHORT, Observations
from tixd.analysis.summary import summarise


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_reads_as_the_specification_says(name):
    assert_reads_alike(WINDOWS[name])


@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 200),
    rate=st.sampled_from([1, 2, 7]),
    unit_ns=st.sampled_from([1, 1000, 10**6, 10**7]),
    client_ns=st.integers(0, DAY_ns - 1),
    ahead_ns=st.integers(-DAY_ns, DAY_ns),
    drift_ppm=st.sampled_from([0, 44, -3000]),
    repeated=st.integers(0, 50),
)
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_any_window_reads_as_the_specification_says(
    seed, count, rate, unit_ns, client_ns, ahead_ns, drift_ppm, repeated
):
    delays = np.floor(jitter(seed, count) / unit_ns) * unit_ns
    seconds = BEGIN + np.arange(count) // rate
    rows = window(
        delays, seconds=seconds, client_ns=client_ns, ahead_ns=ahead_ns, drift_ppm=drift_ppm
    )
    assert_reads_alike(shuffled(np.concatenate([rows, rows[:repeated]]), seed))


@pytest.mark.parametrize("seed", range(60))
def test_times_that_make_no_sense_read_as_the_specification_says(seed):
    random = np.random.default_rng(seed)
    rows = np.zeros(int(random.integers(1, 300)), OBSERVATION)
    rows["kind"] = random.choice([SHORT, SHORT, LONG], len(rows))
    rows["kind"][0] = SHORT
    rows["second"] = random.integers(2**32 - 5000) + random.integers(0, 5000, len(rows))
    for name in ("t1", "t2", "t3", "t4"):
        rows[name] = random.integers(0, random.choice([1, 3, 10**9, 7 * DAY_ns + 1]), len(rows))
    assert_reads_alike(rows)


def assert_reads_alike(rows: Observations) -> None:
    expected = reference.analyse(rows.tolist())
    summary = summarise(rows)
    assert summary.timestamp == expected.pop("timestamp")
    for name, direction in expected.items():
        found = getattr(summary, name)
        assert (found.usage, found.quality) == (direction["usage"], direction["quality"])
        hurst = {"rs": found.hurst_rs, "wavelet": found.hurst_wavelet}
        assert_close(hurst, direction["hurst"], rel=1e-9)
