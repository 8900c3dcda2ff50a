"""One-way delays from clocks that agree on nothing: closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.windows import BEGIN, DAY_ns, HOUR_ns, SECOND_ns, jitter, window
from tixd.analysis.clock import one_way_delays, wrapped
from tixd.analysis.observations import short_packets

#: A quiet line: 5 ms there and back, one packet in ten held up for 1..40 ms in either direction.
TRUTH = np.full((2, 400), 5_000_000.0)
TRUTH[0, 3::20] += np.arange(1, 21) * 2e6
TRUTH[1, 13::20] += np.arange(1, 21) * 1e6


@pytest.mark.parametrize("laps", [-7, -1, 0, 1, 7])
def test_differences_of_times_of_day_are_above_minus_and_at_most_plus_twelve_hours(laps):
    within = [12 * HOUR_ns, 1 - 12 * HOUR_ns, 0, 5]
    for value in within:
        assert wrapped(np.array([value + laps * DAY_ns])).tolist() == [value]


@pytest.mark.parametrize("ahead_ns", [0, 1, -HOUR_ns, 12 * HOUR_ns - 1, -12 * HOUR_ns, DAY_ns])
@pytest.mark.parametrize("client_ns", [0, 10 * HOUR_ns, DAY_ns - 100 * SECOND_ns, DAY_ns - 1])
def test_delays_are_found_whatever_the_clocks_say(ahead_ns, client_ns):
    rows = window(TRUTH, ahead_ns=ahead_ns, client_ns=client_ns)
    assert one_way_delays(short_packets(rows), 0) == pytest.approx(TRUTH, abs=1)  # ns


def test_a_client_that_counts_on_past_midnight_changes_nothing():
    rows = window(TRUTH, client_ns=DAY_ns + 2 * HOUR_ns, wraps=False)
    assert one_way_delays(short_packets(rows), 0) == pytest.approx(TRUTH, abs=1)


@pytest.mark.parametrize("drift_ppm", [44, -44, 1000])
def test_a_drifting_clock_is_followed(drift_ppm):
    noise = np.random.default_rng(1).uniform(0, 20_000, TRUTH.shape)
    found = one_way_delays(short_packets(window(TRUTH + noise, drift_ppm=drift_ppm)), 0)
    # before the first and after the last of the fastest packets the offset stands still
    assert found[:, 60:-60] == pytest.approx(TRUTH[:, 60:-60], abs=50_000)


def test_the_two_delays_of_a_packet_sum_up_to_its_round_trip():
    rows = window(jitter(1, 300), ahead_ns=7 * HOUR_ns, drift_ppm=44)
    delays = one_way_delays(short_packets(rows), 100)
    held = (rows["t3"] - rows["t2"])[100:]
    assert delays.sum(axis=0) == pytest.approx((rows["t4"] - rows["t1"])[100:] - held, abs=1)


def test_a_packet_faster_than_the_fastest_round_trips_has_a_negative_delay():
    delays = np.full((2, 100), 5e6)
    delays[0, 50], delays[1, 50] = 1e6, 12e6
    ahead = window(delays + np.where(np.arange(100) == 50, 0, [[3e6], [-3e6]]), ahead_ns=0)
    assert one_way_delays(short_packets(ahead), 0)[0, 50] == pytest.approx(-2e6)


def test_of_points_at_equal_seconds_the_longest_round_trip_goes_on():
    delays = np.array([[5e6, 5e6, 5e6, 5e6], [5e6, 7e6, 9e6, 9e6]])
    seconds = BEGIN + np.array([0, 0, 10, 20])
    found = one_way_delays(short_packets(window(delays, seconds=seconds, ahead_ns=0)), 0)
    # bin 0 are the first two; from the second of them on, phi is (7 - 5) / 2 = 1 ms
    assert found.tolist() == [[6e6] * 4, [4e6, 6e6, 8e6, 8e6]]
