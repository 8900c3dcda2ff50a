"""Series of results: each result as it was posted, means where it is gone, gaps as they were."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from tests.support.histories import PARTS, seen, told
from tixd.history import store
from tixd.history.results import MAX_SET_ASIDE
from tixd.history.series import SERIES, in_steps, series_of, set_aside, withheld

RESULTS = PARTS[1]

HOUR = 3600

#: The first hour of the fillings here.
FIRST = 400_000

BEGIN, END = FIRST * HOUR, (FIRST + 24) * HOUR

KEY = (1, 2)


@pytest.fixture
def file(tmp_path) -> Iterator[sqlite3.Connection]:
    found = store.open_for_writing(str(tmp_path / "h.sqlite"), PARTS)
    yield found
    found.close()


def write(file: sqlite3.Connection, *entries: str) -> None:
    with store.transaction(file):
        RESULTS.write(file, entries)


def fill(file: sqlite3.Connection, hours: range) -> None:
    """Six results an hour of one installation, and as many of another."""
    for hour in hours:
        seconds = [(FIRST + hour) * HOUR + 300 + 600 * n for n in range(6)]
        write(file, *(told(s, at=s + 60, user=user) for s in seconds for user in (1, 2)))


def number(sample, name: str) -> float | None:
    return sample.means[SERIES.index(name)]


def test_each_result_stands_in_the_middle_of_its_ten_minutes_as_it_was_posted(file):
    fill(file, range(2))
    found = series_of(file, [KEY], BEGIN, END)[KEY]
    assert [sample.at for sample in found] == [BEGIN + 600 * n for n in range(12)]
    first = found[0]
    assert (number(first, "up_usage"), number(first, "down_usage")) == (0.25, 1.0)
    assert number(first, "down_hurst_wavelet") == -0.125
    assert first.means == first.lows == first.highs
    assert series_of(file, [KEY], BEGIN + 1, BEGIN + 1199)[KEY] == found[1:2]


def test_several_installations_are_read_at_once_and_those_without_results_are_empty(file):
    fill(file, range(1))
    found = series_of(file, [(2, 2), (9, 9)], BEGIN, END, ["down_usage"])
    assert [sample.means for sample in found[2, 2]] == [(1.0,)] * 6
    assert found[9, 9] == []
    assert series_of(file, [], BEGIN, END) == {}


def test_where_results_became_a_mean_the_mean_is_shown_once_without_a_range(file):
    fill(file, range(3))
    assert RESULTS.make_room(file)
    late = BEGIN + 300
    write(file, told(late, "posted", "kept", at=late + 9 * HOUR))
    found = series_of(file, [KEY], BEGIN, END)[KEY]
    assert [sample.results for sample in found] == [6] + [1] * 12
    assert (found[0].at, found[0].lows, found[0].highs) == (BEGIN + HOUR / 2, (), ())
    assert number(found[0], "up_usage") == 0.25


def test_steps_have_means_of_their_results_with_the_lowest_and_the_highest(file):
    fill(file, range(2))
    write(file, told(BEGIN + 310, at=BEGIN + 400))
    samples = series_of(file, [KEY], BEGIN, END)[KEY]
    odd = samples[1]._replace(means=(1.0,) * 8, lows=(1.0,) * 8, highs=(1.0,) * 8)
    none = samples[2]._replace(means=(None,) * 8, lows=(None,) * 8, highs=(None,) * 8)
    first, second = in_steps([samples[0], odd, none, *samples[7:]], HOUR)
    assert (first.at, first.results) == (BEGIN + HOUR / 2, 3)
    assert number(first, "up_usage") == (0.25 + 1.0) / 2
    at = SERIES.index("up_usage")
    assert (first.lows[at], first.highs[at]) == (0.25, 1.0)
    assert (second.at, second.lows[at], second.highs[at]) == (BEGIN + 1.5 * HOUR, 0.25, 0.25)


def test_a_step_is_weighed_by_results_and_has_no_range_where_one_of_its_means_has_none(file):
    fill(file, range(2))
    RESULTS.make_room(file)
    mean, *single = series_of(file, [KEY], BEGIN, END)[KEY]
    single = [sample._replace(means=(1.0,) * 8) for sample in single]
    [step] = in_steps([mean, *single], 2 * HOUR)
    assert (step.results, step.lows, step.highs) == (12, (), ())
    assert number(step, "up_usage") == pytest.approx((6 * 0.25 + 6 * 1.0) / 12)


def test_a_step_without_results_is_no_sample_and_undefined_numbers_stay_so(file):
    fill(file, range(1))
    fill(file, range(5, 6))
    samples = series_of(file, [KEY], BEGIN, END)[KEY]
    undefined = [
        s._replace(means=(None,) * 8, lows=(None,) * 8, highs=(None,) * 8) for s in samples
    ]
    found = in_steps(undefined, HOUR)
    assert [step.at for step in found] == [BEGIN + HOUR / 2, BEGIN + 5.5 * HOUR]
    assert {value for step in found for value in (*step.means, *step.lows)} == {None}


def test_a_result_ahead_of_the_clock_is_shown_when_it_came(file):
    write(file, told(BEGIN + 10**6, at=BEGIN + 900))
    [found] = series_of(file, [KEY], BEGIN, END)[KEY]
    assert found.at == BEGIN + 600


def test_results_that_are_not_posted_are_listed_newest_first_with_the_reason(file):
    write(file, told(BEGIN, at=BEGIN + 60), told(BEGIN + 600, "kept", at=BEGIN + 660))
    write(file, told(BEGIN + 1200, "rejected", at=BEGIN + 1260), told(BEGIN + 1201, "kept", user=2))
    found = withheld(file, *KEY, BEGIN, END)
    assert [(each.timestamp - BEGIN, each.outcome, each.words) for each in found] == [
        (1200, "rejected", "HTTP 400 Bad Request"),
        (600, "kept", "HTTP 500 Internal Server Error: out of order"),
    ]
    write(file, told(BEGIN + 600, "posted", "kept", at=BEGIN + 1800))
    assert [each.outcome for each in withheld(file, *KEY, BEGIN, END)] == ["rejected"]


def test_the_last_reports_that_were_set_aside_are_remembered_with_their_reasons(file):
    for n in range(MAX_SET_ASIDE + 3):
        write(file, seen({"setAside": n + 1, "setAsideReason": f"reason {n}"}, at=BEGIN + n))
        write(file, seen(at=BEGIN + n), seen({"setAside": 7}, user=2, at=BEGIN + n))
    found = set_aside(file, *KEY)
    assert [each.at - BEGIN for each in found] == [*range(MAX_SET_ASIDE + 2, 2, -1)]
    assert (found[0].reports, found[0].reason) == (MAX_SET_ASIDE + 3, f"reason {MAX_SET_ASIDE + 2}")
    store.keep_within(file, PARTS, store.Limits(1.0, 2**30), BEGIN + 3 * store.DAY_SECONDS)
    assert set_aside(file, *KEY) == set_aside(file, 2, 2) == []


def test_a_series_seeks_hour_by_hour_and_scans_no_results(file):
    statements: list[str] = []
    file.set_trace_callback(statements.append)
    series_of(file, [KEY, (2, 2)], BEGIN, END)
    withheld(file, *KEY, BEGIN, END)
    file.set_trace_callback(None)
    rows = [row for text in statements for row in file.execute(f"EXPLAIN QUERY PLAN {text}")]
    read = [row[3] for row in rows if " r " in row[3]]
    assert len(read) == 3
    assert all("(hour=? AND user=? AND installation=?)" in line for line in read), read
