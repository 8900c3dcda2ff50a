"""Noise of the downlink: how it is measured, and the tau that follows from a day of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import reference_clocks as reference
from tests.support.windows import jitter, window
from tixd.analysis import noise
from tixd.analysis.delayed_probes import waiting_of
from tixd.analysis.observations import short_packets
from tixd.analysis.summary import summarise

MS = 1e6
SECOND = np.arange(1200)


def jittery(mean_ms: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).exponential(mean_ms * MS, len(SECOND))


@pytest.mark.parametrize("mean_ms", [0.1, 1.0, 4.0])
def test_spread_of_exponential_jitter_is_a_quarter_of_its_mean(mean_ms):
    spreads = [noise.spread(SECOND, jittery(mean_ms, seed)) / MS for seed in range(20)]
    assert np.mean(spreads) == pytest.approx(0.236 * mean_ms, rel=0.1)


@pytest.mark.parametrize(("queued_ms", "infinite"), [(19.9, False), (20.1, True)])
def test_a_saturated_window_says_nothing_of_the_noise(queued_ms, infinite):
    queued = np.where(SECOND % 10 == 0, 0.0, queued_ms * MS)
    assert math.isinf(noise.spread(SECOND, queued)) is infinite


def test_one_busy_third_of_a_window_does_not_count():
    quiet = jittery(0.5)
    for third in range(3):
        busy = quiet + np.where(third == SECOND // 400, 40 * MS * np.linspace(0, 1, 1200), 0)
        assert noise.spread(SECOND, busy) < 0.2 * MS


def test_a_third_without_packets_counts_as_infinite():
    quiet = jittery(0.5)
    assert noise.spread(np.where(SECOND < 600, 0, 1200), quiet) < MS, "one third is empty"
    assert math.isinf(noise.spread(np.zeros(1200, int), quiet))
    assert math.isinf(noise.spread(np.zeros(1, int), np.zeros(1)))


@pytest.mark.parametrize(
    ("spreads_ms", "tau_ms"),
    [
        ([], 3.0),
        ([0.5] * 5, 3.0),
        ([0.5] * 6, 5.0),
        ([0.5] * 5 + [math.inf], 3.0),
        ([0.5] * 6 + [math.inf], 5.0),
        ([0.9, 0.9, 0.6, 0.9, 0.9, 0.9], 6.0),
        ([0.1] * 6, 3.0),
        ([3.0] * 6, 20.0),
        ([0.4] + [0.5] * 144, 5.0),
        ([0.4] + [0.5] * 143, 4.0),
        ([0.5] * 6 + [math.inf] * 139, 3.0),
    ],
)
def test_tau_is_ten_times_the_least_spread_of_the_last_144_once_six_are_known(spreads_ms, tau_ms):
    spreads = [each * MS for each in spreads_ms]
    assert noise.downlink_tau(spreads) == pytest.approx(tau_ms * MS)
    assert noise.downlink_tau(spreads) == pytest.approx(reference.downlink_tau(spreads))


def test_a_line_that_jitters_reads_idle_once_five_more_windows_are_known():
    rows = window(jitter(1, 1113) + np.stack((jitter(2, 1113)[0], jitter(3, 1113)[0])))
    cold = summarise(rows, "delayed-probes")
    known = summarise(rows, "delayed-probes", spreads=[cold.spread_ns] * 5)
    assert cold.downstream.usage > 0.2
    assert known.downstream.usage < 0.05
    assert known.upstream == cold.upstream


def test_the_window_itself_is_one_of_those_that_are_known():
    columns = short_packets(window(jitter(1, 1113)))
    alone = waiting_of(columns)
    assert waiting_of(columns, [alone.spread_ns * 2] * 5).tau_ns[1] == pytest.approx(
        10 * alone.spread_ns
    )
    assert waiting_of(columns, [alone.spread_ns * 2] * 4).tau_ns[1] == 3 * MS


@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 300),
    queued=st.sampled_from([0.0, 0.3, 0.7, 0.95]),
    unit_ns=st.sampled_from([1, 10**5, 10**6]),
    gap=st.integers(0, 900),
)
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_the_spread_is_what_the_specification_says(seed, count, queued, unit_ns, gap):
    random = np.random.default_rng(seed)
    waits = random.exponential(random.choice([0.2, 2.0, 9.0]) * MS, count)
    waits += 30 * MS * (random.random(count) < queued)
    waits = np.floor(waits / unit_ns) * unit_ns
    second = np.sort(random.integers(0, 1000, count))
    second += gap * (second > 500)
    due = reference.spread(second.tolist(), waits.tolist())
    assert noise.spread(second, waits) == pytest.approx(due, abs=1000)
