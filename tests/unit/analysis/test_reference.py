"""Made-up windows, each as tixd reads it and as the plain reference implementation does.

Usage and quality are equal, Hurst within 1e-9: the two add up the same numbers in another order.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import reference_analysis as reference
from tests.support.closeness import assert_close
from tests.support.windows import (
    BEGIN,
    DAY_ns,
    HOUR_ns,
    SECOND_ns,
    jitter,
    of_kind,
    queues,
    shuffled,
    window,
)
from tixd.analysis.observations import LONG, OBSERVATION, SHORT, Observations
from tixd.analysis.summary import summarise

COUNT = 1113
EVERY_SECOND = BEGIN + np.arange(COUNT)

BUSY = queues(1, COUNT)
IDLE = jitter(2, COUNT)
STEP = np.where(np.arange(COUNT) < 800, 0, 3 * HOUR_ns)

WINDOWS = {
    "idle": window(IDLE),
    "busy": window(BUSY),
    "drifting clock": window(BUSY, drift_ppm=44),
    "duplicates": np.concatenate([window(BUSY), window(BUSY)[300:500]]),
    "long packets among the short": np.concatenate([window(BUSY), of_kind(window(IDLE), LONG)]),
    "an unknown kind": np.concatenate([window(BUSY), of_kind(window(IDLE), ord("X"))]),
    "out of order": shuffled(window(BUSY)),
    "same second, other content": np.concatenate([window(BUSY), window(IDLE, client_ns=HOUR_ns)]),
    "three in a second": window(BUSY, seconds=BEGIN + np.arange(COUNT) // 3),
    "constant delays": window(np.full((2, COUNT), 7e6)),
    "constant one way": window(np.stack((BUSY[0], np.full(COUNT, 7e6)))),
    "milliseconds only": window((BUSY // 1e6) * 1e6),
    "constant for minutes": window(np.where(np.arange(COUNT) % 300 < 200, 7e6, BUSY)),
    "client passes midnight": window(BUSY, client_ns=DAY_ns - 900 * SECOND_ns),
    "server passes midnight": window(BUSY, ahead_ns=14 * HOUR_ns - 900 * SECOND_ns),
    "both pass midnight": window(BUSY, client_ns=DAY_ns - 900 * SECOND_ns, ahead_ns=0),
    "midnight under way": window(BUSY, client_ns=DAY_ns - 800 * SECOND_ns - 5_000_000, ahead_ns=9),
    "client counts on": window(BUSY, client_ns=DAY_ns - 900 * SECOND_ns, wraps=False),
    "clocks 12 h apart": window(BUSY, ahead_ns=12 * HOUR_ns - 10_000_000),
    "clocks -12 h apart": window(BUSY, ahead_ns=-12 * HOUR_ns + 10_000_000),
    "server's clock is set": window(BUSY + np.stack((STEP, -STEP))),
    "server ahead of midnight": window(BUSY, ahead_ns=14 * HOUR_ns),
    "a gap": window(BUSY, seconds=EVERY_SECOND + np.where(np.arange(COUNT) < 900, 0, 290)),
    "one a minute": window(BUSY, seconds=BEGIN + 60 * np.arange(COUNT)),
    "one in three seconds": window(BUSY, seconds=BEGIN + 3 * np.arange(COUNT)),
    "29 a minute": window(BUSY, seconds=BEGIN + 60 * (np.arange(COUNT) // 29)),
    "one long report": window(queues(3, 6000), seconds=BEGIN + np.arange(6000) // 8),
    "year 1970": window(BUSY, seconds=np.arange(COUNT)),
    "year 2099": window(BUSY, seconds=EVERY_SECOND + 2_577_000_000),
    **{f"only {n}": window(BUSY[:, :n]) for n in (1, 2, 3, 4, 5, 8, 15, 16, 29, 30, 63, 64, 65)},
}


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
