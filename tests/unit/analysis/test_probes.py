"""The delayed-probes estimator: against plain Python, and on delays whose usage can be counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import reference_analysis as reference
from tests.support.windows import BEGIN, WINDOWS, DAY_ns, HOUR_ns, SECOND_ns, jitter, queues, window
from tixd.analysis import delayed_probes
from tixd.analysis.observations import OBSERVATION, Columns, Observations, short_packets
from tixd.analysis.quality import quality
from tixd.analysis.summary import summarise

COUNT = 1113
MS = 1e6


def held_up(share: float, ms: float = 60.0) -> np.ndarray:
    """Delays of 5 ms, or `ms` more for a share of the packets, both ways; (2, COUNT) in ns."""
    late = np.random.default_rng(1).random((2, COUNT)) < share
    return 5 * MS + late * ms * MS


def usages(rows: Observations) -> tuple[float, float]:
    summary = summarise(rows, "delayed-probes")
    return summary.upstream.usage, summary.downstream.usage


def rows_of(columns: Columns) -> list[tuple[int, ...]]:
    return [
        (s, 0, 0, *t)
        for s, t in zip(columns.second.tolist(), columns.times.T.tolist(), strict=True)
    ]


@pytest.mark.parametrize("name", WINDOWS)
def test_waiting_and_usage_are_what_the_specification_says(name):
    columns = short_packets(WINDOWS[name])
    found, due = delayed_probes.waiting_of(columns), reference.waiting(rows_of(columns))
    assert found.clock == due.verdict
    assert found.tau_ns.tolist() == pytest.approx(due.taus, rel=1e-9)
    assert found.spread_ns == pytest.approx(due.spread, abs=1000)
    span = 1 + max(map(max, due.waits))
    assert found.q_ns == pytest.approx(np.array(due.waits), abs=1e-9 * span)
    assert usages(WINDOWS[name]) == pytest.approx(
        reference.probes_usage(rows_of(columns)), abs=1e-12
    )


@given(
    points=st.lists(st.tuples(st.integers(0, 60), st.integers(-9, 9)), min_size=1, max_size=80),
    bend=st.sampled_from([-1, 0, 0, 1]),
)
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_the_line_below_is_the_hulls_edge_over_the_mean(points, bend):
    points = [(x, y + bend * x * x) for x, y in points]
    x, y = np.array(points, float).T
    assert delayed_probes.lower_line_slope(x, y) == pytest.approx(
        reference.slope_below(points), abs=1e-9
    )


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.8, 0.97])
@pytest.mark.parametrize("drift_ppm", [-150.0, 0.0, 44.0])
def test_usage_follows_the_share_of_packets_that_wait_whatever_the_skew(share, drift_ppm):
    delays = held_up(share)
    late = (delays[:, -600:] > 6 * MS).mean(axis=1)
    due = np.maximum((late - 0.15) / 0.85, 0) ** 0.6
    assert usages(window(delays, drift_ppm=drift_ppm)) == pytest.approx(due, abs=1e-9)


def test_an_idle_line_reads_zero_and_a_full_one_nearly_one():
    assert usages(window(held_up(0.0) + jitter(1, COUNT) / 8)) == (0.0, 0.0)
    assert min(usages(window(held_up(0.99, 100)))) > 0.97


def test_a_skew_of_more_than_any_clocks_is_taken_for_waiting():
    assert min(usages(window(held_up(0.0), drift_ppm=199.0))) == 0.0
    assert max(usages(window(held_up(0.0), drift_ppm=260.0))) > 0.9


def test_the_direction_that_waits_less_tells_the_skew():
    climbing = np.stack((5 * MS + np.linspace(0, 100 * MS, COUNT), np.full(COUNT, 5 * MS)))
    waits = delayed_probes.waiting_of(short_packets(window(climbing, drift_ppm=30))).q_ns
    assert waits[1].max() < 1000
    assert waits[0].max() == pytest.approx(100 * MS, rel=0.01)


@pytest.mark.parametrize(("jitter_ms", "tau_ms"), [(0.5, 3.0), (4.0, 8.0), (20.0, 15.0)])
def test_upstream_tau_is_twice_the_range_of_an_even_jitter_within_bounds(jitter_ms, tau_ms):
    delays = held_up(0.0)
    delays[0] += jitter_ms * MS * np.random.default_rng(1).permutation(np.linspace(0, 1, COUNT))
    found = delayed_probes.waiting_of(short_packets(window(delays))).tau_ns / MS
    assert found[0] == pytest.approx(tau_ms, rel=0.05)
    assert found[1] == 3.0


def test_upstream_tau_stays_where_it_is_until_nine_in_ten_packets_wait():
    late = np.random.default_rng(2).random(COUNT) < 0.85
    idle, busy = jitter(1, COUNT), jitter(1, COUNT) + late * 60 * MS
    taus = [
        delayed_probes.waiting_of(short_packets(window(delays))).tau_ns[0] / MS
        for delays in (idle, busy)
    ]
    assert 4 < taus[0] < taus[1] <= 15
    assert usages(window(busy))[0] > 0.8


@pytest.mark.parametrize("client_ns", [DAY_ns - 900 * SECOND_ns, DAY_ns - 1])
@pytest.mark.parametrize("ahead_ns", [0, -7 * HOUR_ns])
def test_midnight_and_time_zones_change_no_usage(client_ns, ahead_ns):
    delays = queues(5, COUNT)
    odd = window(delays, client_ns=client_ns, ahead_ns=ahead_ns)
    assert usages(odd) == pytest.approx(usages(window(delays)), abs=1e-9)


def test_only_the_last_ten_minutes_are_counted():
    delays = held_up(0.0)
    delays[:, 100 : COUNT - 600] += 50 * MS
    assert usages(window(delays)) == (0.0, 0.0)
    assert BEGIN % 60 == 0, "minutes of the window are minutes of UTC"


def test_a_minute_is_congested_above_half_usage_if_delays_persist():
    second = BEGIN + np.arange(180)
    delayed = np.stack([np.arange(180) % 60 < share for share in (24, 25, 60)])
    busy = np.concatenate([delayed[2, :60], delayed[0, :60], np.arange(60) < 26])[None]
    assert quality(busy, second, [0.71], delayed_probes.congested) == [1 / 3]
    assert quality(busy, second, [0.69], delayed_probes.congested) == [1.0]
    assert quality(delayed, second, [0.9, 0.9, 0.9], delayed_probes.congested) == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(("delayed", "quality_due"), [(24, 1.0), (25, 1.0), (26, 0.0)])
def test_usage_of_a_half_lies_between_25_and_26_of_60_packets(delayed, quality_due):
    row = (np.arange(60) < delayed)[None]
    assert quality(row, BEGIN + np.arange(60), [0.9], delayed_probes.congested) == [quality_due]


def test_both_estimators_stand_beside_each_other_either_way_round():
    rows = window(queues(1, COUNT))
    mode, other = summarise(rows, both=True), summarise(rows, "delayed-probes", both=True)
    for name in ("upstream", "downstream"):
        one, two = getattr(mode, name), getattr(other, name)
        assert (one.usage, one.usage_alt) == (two.usage_alt, two.usage)
        assert one.usage != one.usage_alt
        assert (one.hurst_rs, one.hurst_wavelet) == (two.hurst_rs, two.hurst_wavelet)
    assert summarise(rows).upstream.usage_alt is None
    assert summarise(rows, "delayed-probes").upstream.usage_alt is None


@pytest.mark.parametrize("seed", range(20))
def test_times_that_make_no_sense_give_finite_numbers(seed):
    random = np.random.default_rng(seed)
    rows = np.zeros(int(random.integers(1, 300)), OBSERVATION)
    rows["kind"] = ord("S")
    rows["second"] = random.integers(0, 5000, len(rows))
    for name in ("t1", "t2", "t3", "t4"):
        rows[name] = random.integers(0, random.choice([1, 3, 10**9, 7 * DAY_ns + 1]), len(rows))
    assert all(0 <= each <= 1 for each in usages(rows))
