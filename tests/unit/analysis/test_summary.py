"""The whole analysis: what a Summary is, and what may not change it."""

from __future__ import annotations

import math
from dataclasses import asdict, astuple

import numpy as np
import pytest

from tests.support.windows import (
    BEGIN,
    DAY_ns,
    SECOND_ns,
    assert_close,
    of_kind,
    queues,
    shuffled,
    window,
)
from tixd.analysis.observations import LONG, OBSERVATION
from tixd.analysis.summary import Direction, Summary, summarise

DELAYS = queues(5, 1113)
ROWS = window(DELAYS)


@pytest.mark.parametrize("rows", [np.empty(0, OBSERVATION), of_kind(ROWS, LONG)])
def test_a_window_without_short_packets_has_no_summary(rows):
    assert summarise(rows) is None


@pytest.mark.parametrize("count", [1, 3, 4, 63, 64, 1113])
def test_numbers_are_plain_and_finite_or_none(count):
    summary = summarise(window(DELAYS[:, :count]))
    assert type(summary.timestamp) is int
    for value in (*astuple(summary.upstream), *astuple(summary.downstream)):
        assert value is None or (type(value) is float and math.isfinite(value))


def test_a_single_observation_leaves_everything_undefined():
    nothing = Direction(None, None, None, None)
    assert summarise(ROWS[:1]) == Summary(BEGIN, upstream=nothing, downstream=nothing)


def test_the_last_second_of_a_short_packet_is_the_timestamp():
    later = of_kind(ROWS[-1:], LONG)
    later["second"] += 60
    assert summarise(np.concatenate([ROWS, later])).timestamp == BEGIN + 1112


def test_order_duplicates_and_long_packets_change_nothing():
    rows = np.concatenate([ROWS, ROWS[::3], of_kind(ROWS, LONG)])
    assert summarise(shuffled(rows)) == summarise(ROWS)


@pytest.mark.parametrize("client_ns", [DAY_ns - 900 * SECOND_ns, DAY_ns - 1])
def test_midnight_changes_nothing_in_the_result(client_ns):
    found = asdict(summarise(window(DELAYS, client_ns=client_ns)))
    assert_close(found, asdict(summarise(ROWS)), rel=1e-9)


def test_only_the_last_ten_minutes_are_judged():
    age = 1112 - np.arange(1113)
    slow, slower = (np.where(age >= 600, DELAYS + more, DELAYS) for more in (1e9, 2e9))
    assert summarise(window(slow)) == summarise(window(slower))
    prompt, late = (np.where(age == 599, [[up], [3e7]], DELAYS) for up in (6e6, 1e9))
    assert summarise(window(prompt)) != summarise(window(late))


def test_earlier_observations_serve_the_clock():
    age = 1112 - np.arange(1113)
    fast = np.where(age >= 600, 4e6, DELAYS)
    assert summarise(window(fast, drift_ppm=44)) != summarise(window(DELAYS, drift_ppm=44))


def test_the_whole_window_is_left_as_it_was():
    rows = shuffled(ROWS)
    rows.flags.writeable = False  # as np.frombuffer gives it
    assert summarise(rows) == summarise(ROWS)


def test_exact_duplicates_are_counted_and_change_nothing_else():
    twice = np.concatenate([ROWS, ROWS[5:12]])
    assert summarise(twice) == summarise(ROWS)
    assert (summarise(twice).duplicates, summarise(ROWS).duplicates) == (7, 0)
