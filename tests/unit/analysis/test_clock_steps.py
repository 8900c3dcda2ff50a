"""Clocks that are set: what is found, mended, told and left alone; against plain Python too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import reference_clocks as reference
from tixd.analysis import clock_steps
from tixd.analysis.clock_steps import Repaired
from tixd.analysis.delayed_probes import skew

MS = 1e6
COUNT = 1200
SECONDS = np.arange(float(COUNT))


def trips(ahead_ms: np.ndarray, seed: int = 1) -> np.ndarray:
    """5 ms forth and 7 ms back, a third of the packets later; the client's clock so far ahead."""
    late = np.random.default_rng(seed).integers(0, 3, (2, len(ahead_ms)))
    return np.array([[5.0], [7.0]]) * MS + late * MS + np.stack((-ahead_ms, ahead_ms)) * MS


def set_at(*steps: tuple[int, float]) -> np.ndarray:
    """How far ahead a clock is that is set ahead by so many ms from each second on."""
    return np.sum([ms * (second <= SECONDS) for second, ms in steps], axis=0)


def repaired(given: np.ndarray) -> Repaired:
    return clock_steps.repaired(SECONDS[: given.shape[1]], given, skew)


STEPS = [
    [(480, 50.0)],
    [(480, 10.0)],
    [(480, -50.0)],
    [(480, 3.6e6)],
    [(500, -20.0)],
    [(600, 2.5)],
    [(300, 30.0), (800, -80.0)],
    [(150 * number, 40.0) for number in range(1, 8)],
]


@pytest.mark.parametrize("steps", STEPS)
def test_the_trips_are_those_of_a_clock_that_was_never_set(steps):
    found = repaired(trips(set_at(*steps)))
    assert found.verdict == "set"
    assert found.trips == pytest.approx(trips(np.zeros(COUNT)), abs=0.2 * MS)
    assert abs(found.gain) < 1e3, "less than a ppm"


def test_a_step_is_found_on_a_clock_that_runs_fast():
    running = 80e-3 * SECONDS
    found = repaired(trips(set_at((600, 10.0)) + running))
    assert found.verdict == "set"
    assert found.trips == pytest.approx(trips(running), abs=0.5 * MS)
    assert found.gain == pytest.approx(-80e3, rel=0.02)


@pytest.mark.parametrize("ahead", [0 * SECONDS, 80e-3 * SECONDS, -199e-3 * SECONDS])
def test_trips_of_true_clocks_come_back_as_they_came(ahead):
    given = trips(ahead)
    found = repaired(given)
    assert found.verdict == "fine"
    assert found.trips is given
    assert found.gain == skew(SECONDS, given)


def bare(ahead_ms: np.ndarray) -> np.ndarray:
    """The same without any jitter, so that lifts are exact."""
    return np.array([[5.0], [7.0]]) * MS + np.stack((-ahead_ms, ahead_ms)) * MS


@pytest.mark.parametrize(("step_ms", "verdict"), [(1.0, "fine"), (1.9, "fine"), (2.1, "set")])
def test_a_step_of_less_than_two_milliseconds_is_none(step_ms, verdict):
    given = bare(set_at((600, step_ms)))
    assert clock_steps.repaired(SECONDS, given, lambda *_: 0.0).verdict == verdict


@pytest.mark.parametrize(("before", "after", "verdict"), [(5, 5, "set"), (4, 9, "fine")])
def test_five_packets_near_the_shortest_trip_are_needed_on_both_sides(before, after, verdict):
    given = bare(set_at((600, 50.0)))
    near = np.zeros(COUNT, bool)
    near[600 - before : 600 + after] = True
    given[0, ~near] += 3 * MS
    assert repaired(given).verdict == verdict


def test_with_fewer_than_ten_packets_near_the_shortest_trip_nothing_is_told():
    given = bare(500e-3 * SECONDS)
    given[:, np.arange(COUNT) % 150 > 0] += 40 * MS
    assert repaired(given).verdict == "fine"
    given[:, np.arange(COUNT) % 75 == 0] = bare(500e-3 * SECONDS)[:, ::75]
    assert repaired(given).verdict == "not-credible"


#: How far ahead a clock is that is slewed by 500 ppm for 300 seconds.
SLEWED = 0.5 * (SECONDS.clip(300, 600) - 300)

#: One that is set again and again, too often to be mended.
SET_OFTEN = 50.0 * (SECONDS // 60 % 2)


@pytest.mark.parametrize("ahead", [SLEWED, 300e-3 * SECONDS, SET_OFTEN])
def test_what_is_not_mended_is_told_and_left_as_it_was(ahead):
    given = trips(ahead)
    found = repaired(given)
    assert found.verdict == "not-credible"
    assert found.trips is given


def test_a_third_without_near_packets_is_no_witness_against_the_clock():
    given = trips(SLEWED)
    given[0, 800:] += 20 * MS
    assert repaired(given).verdict == "fine"


@pytest.mark.parametrize("step_ms", [-10.0, -50.0, -3.6e6])
def test_a_packet_that_is_under_way_when_the_clock_is_set_back_hides_no_step(step_ms):
    given = trips(set_at((500, step_ms)))
    given[0, 500] = trips(np.zeros(COUNT))[0, 500]  # sent by the clock before the step
    found = repaired(given)
    assert found.verdict == "set"
    assert found.trips == pytest.approx(trips(np.zeros(COUNT)), abs=0.2 * MS)


def test_a_lone_quick_packet_of_a_true_clock_is_no_step():
    given = trips(np.zeros(COUNT))
    given[:, 500] -= 2 * MS
    found = repaired(given)
    assert (found.verdict, found.trips is given) == ("fine", True)


@pytest.mark.parametrize(("count", "verdict"), [(120, "set"), (119, "not-credible")])
def test_a_window_of_fewer_than_120_packets_is_not_cut(count, verdict):
    ahead = 50.0 * (np.arange(count) >= 60)
    assert repaired(trips(ahead)).verdict == verdict


@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 400),
    steps=st.lists(
        st.tuples(st.integers(0, 399), st.sampled_from([-50.0, -3.0, 1.5, 4.0, 80.0])), max_size=3
    ),
    ppm=st.sampled_from([0.0, 40.0, -150.0, 500.0]),
    under_way=st.integers(0, 399),
    step_ms=st.sampled_from([0.0, 0.0, -30.0]),
    queued=st.sampled_from([0.0, 0.5, 0.9, 0.99]),
)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_any_window_is_mended_as_the_specification_says(
    seed, count, steps, ppm, queued, under_way, step_ms
):
    ahead = (set_at((0, 0.0), *steps) + ppm * 1e-3 * SECONDS)[:count]
    waits = np.random.default_rng(seed).random((2, count)) < queued
    given = np.round(trips(ahead, seed) + 20 * MS * waits)
    given[0, under_way + 1 :] -= step_ms * MS
    given[1, under_way:] += step_ms * MS
    found = repaired(given)
    verdict, due = reference.repair(
        reference.Clocks(SECONDS[:count].tolist(), *given.tolist()),
        lambda *window: skew(np.array(window[0]), np.array(window[1:])),
    )
    assert found.verdict == verdict
    assert found.trips == pytest.approx(np.array([due.f, due.b]), abs=1)
