"""Charts: real values at their places, gaps as gaps, words for those who do not see them."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tixd.page.charts import Point, Series, TimeChart, axis, quartile_bar, sparkline, time_ticks

DAY = 86_400

HOSTILE = "<script>alert(1)</script>\"'&"


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - of our own


def chart(*series: Series, **changes) -> ET.Element:
    """The chart of a day, as a parser of XML reads it."""
    made = {"name": "c", "title": "Usage", "series": series, "begin": 0.0, "end": float(DAY)}
    return parsed(TimeChart(**{**made, "step_seconds": 600.0, **changes}).svg())


def classed(found: ET.Element, *words: str) -> list[ET.Element]:
    """The elements that have all these classes."""
    return [e for e in found.iter() if {*words} <= {*e.get("class", "").split()}]


def corners(path: ET.Element) -> list[tuple[float, float]]:
    found = re.findall(r"[ML]([-0-9.]+) ([-0-9.]+)", path.get("d"))
    return [(float(x), float(y)) for x, y in found]


def test_a_line_goes_through_its_values():
    points = [Point(0, 0.0), Point(600, 0.25), Point(1200, 1.0)]
    found = chart(Series("down", points, "down"), high=1.0)
    [line] = classed(found, "line", "down")
    assert corners(line) == [(0.0, 100.0), (6.9, 75.0), (13.9, 0.0)]


@pytest.mark.parametrize("missing", [[], [Point(1200, None)]], ids=["no point", "undefined"])
def test_a_gap_stays_a_gap_and_a_lonely_value_is_a_dot(missing):
    before = [Point(0, 0.5), Point(600, 0.5)]
    after = [Point(2400, 0.5), Point(9000, 0.5)]
    found = chart(Series("down", [*before, *missing, *after], "down"), high=1.0)
    assert [len(corners(line)) for line in classed(found, "line", "down")] == [2]
    [dots] = classed(found, "dot", "down")
    assert len(corners(dots)) == dots.get("d").count("h0") == 2


def test_means_have_the_range_of_their_values_around_them():
    means = [Point(0, 0.5, 0.25, 1.0), Point(600, 0.5, 0.5, 0.5)]
    found = chart(Series("down", means, "down"), high=1.0)
    [shown] = classed(found, "range")
    assert corners(shown) == [(0.0, 0.0), (6.9, 50.0), (6.9, 50.0), (0.0, 75.0)]
    without = chart(Series("down", [means[0], Point(600, 0.5)], "down"), high=1.0)
    assert classed(without, "range") == [], "a mean whose range is not known has none"


def test_values_are_there_for_the_pointer_in_words_at_their_time():
    down = Series("down", [Point(600, 0.371, 0.1, 0.9)], "down")
    up = Series("up", [Point(600, 1.25), Point(1200, None)], "up")
    [field] = classed(chart(down, up), "field")
    words = "1 Jan 00:10 UTC: down 0.37 (0.10 to 0.90), up 1.25"
    assert field.get("data-value") == words
    assert [child.text for child in field] == [words]
    assert field.get("x") == "0.35%"


def test_a_mean_says_of_which_time_it_is():
    means = Series("down", [Point(1800, 0.5, 0.25, 1.0)], "down")
    [field] = classed(chart(means, step_seconds=3600.0, are_means=True), "field")
    assert field.get("data-value") == "1 Jan 00:00 to 01:00 UTC: 0.50 (0.25 to 1.00)"


def test_what_is_seen_is_also_said():
    found = chart(Series("down", [Point(0, 0.1), Point(600, 0.7)], "down"), Series("up", [], "up"))
    assert found.get("role") == "img"
    texts = {e.get("id"): e.text for e in found.iter() if e.get("id")}
    assert found.get("aria-labelledby").split() == [*texts]
    assert texts["c-title"] == "Usage"
    assert texts["c-desc"] == (
        "From 1 Jan 00:00 UTC to 2 Jan 00:00 UTC. down: lowest 0.10, highest 0.70, last 0.70. "
        "up: no value."
    )


def test_several_series_have_a_legend_and_one_has_none():
    both = [Series("down", [Point(0, 1.0)], "down"), Series("up", [Point(0, 1.0)], "up")]
    assert [key.text for key in classed(chart(*both), "key")] == ["down", "up"]
    assert classed(chart(both[0]), "key") == []


def test_bars_stand_on_zero_and_missing_ones_are_missing():
    points = [Point(0, 500.0), Point(600, None), Point(1200, 0.0)]
    found = chart(Series("windows", points), is_bars=True, unit="windows", digits=0)
    bars = [(bar.get("y"), bar.get("height")) for bar in classed(found, "bar")]
    assert bars == [("0.00", "100.00"), ("100.00", "0.00")]
    assert classed(found, "field")[0].get("data-value").endswith("500 windows")


def test_bars_of_several_series_stand_on_each_other():
    jobs = Series("jobs", [Point(0, 3.0), Point(600, 1.0)], "down")
    storage = Series("storage", [Point(0, 1.0), Point(600, None)], "up")
    found = chart(jobs, storage, is_bars=True, unit="/s", digits=1)
    bars = {
        name: [(bar.get("y"), bar.get("height")) for bar in classed(found, "bar", name)]
        for name in ("down", "up")
    }
    assert bars == {"down": [("25.00", "75.00"), ("75.00", "25.00")], "up": [("0.00", "25.00")]}
    assert [field.get("data-value") for field in classed(found, "field")] == [
        "31 Dec 23:55 to 00:05 UTC: jobs 3.0 /s, storage 1.0 /s",
        "1 Jan 00:05 to 00:15 UTC: jobs 1.0 /s",
    ]


def test_bars_have_a_legend_that_folds():
    made = [Series(HOSTILE, [], "one"), Series("b", [], "two")]
    found = parsed(TimeChart("c", "t", made, 0, DAY, 600, is_bars=True).legend())
    assert ["".join(item.itertext()) for item in found.iter("li")] == [HOSTILE, "b"]


def test_nothing_of_a_name_becomes_markup():
    made = Series(HOSTILE, [Point(0, 1.0)], "down")
    found = chart(made, made, title=HOSTILE, unit=HOSTILE)
    for text in (sparkline(HOSTILE, [], 0, 1, "up", 1), quartile_bar(HOSTILE, 0, 0, 0, 1, 1)):
        found.append(parsed(text))
    assert not [e for e in found.iter() if e.tag.endswith("script")]
    assert [e.text for e in classed(found, "key")] == [HOSTILE] * 2


def test_nothing_is_inline_that_a_strict_policy_forbids():
    svg = TimeChart("c", "t", [Series("a", [Point(0, 1.0)])], 0, DAY, 600).svg()
    text = (
        svg + sparkline("s", [Point(0, 1.0)], 0, DAY, "up", 600) + quartile_bar("q", 0, 0, 0, 1, 1)
    )
    assert not re.search(r"\son[a-z]+=|style=|<style|<script|href", text)


NUMBERS = st.floats(-1e9, 1e9, allow_nan=False)


@given(NUMBERS, NUMBERS)
def test_an_axis_holds_its_values_and_has_few_round_ticks(one, other):
    low, high = min(one, other), max(one, other)
    if 0 < high - low < 1e-6 * max(1.0, abs(low), abs(high)):
        return
    found = axis(low, high)
    tolerance = 1e-6 * (found.high - found.low)
    assert found.low <= low + tolerance
    assert found.high >= high - tolerance
    assert 2 <= len(found.ticks) <= 6
    assert found.low < found.high
    labels = [f"{tick:.{found.digits}f}" for tick in found.ticks]
    assert len({*labels}) == len(labels)


@pytest.mark.parametrize("days", [1 / 24, 0.5, 1, 7, 30, 90, 400])
def test_ticks_of_time_are_few_and_within_it(days):
    begin = 1_700_000_123
    found = time_ticks(begin, begin + days * DAY)
    assert 2 <= len(found) <= 9
    assert all(begin <= second <= begin + days * DAY for second, _ in found)
    assert len({label for _, label in found}) == len(found)


def test_a_sparkline_says_its_values_and_parts_at_gaps():
    points = [Point(0, 0.0), Point(600, None), Point(1200, 1.0), Point(DAY, 2.0)]
    found = parsed(sparkline("usage", points, 0, DAY, "down", 1500))
    assert next(found.iter("title")).text == "usage: lowest 0.00, highest 2.00, last 2.00"
    [line] = classed(found, "line", "down")
    assert line.get("d") == "M1.0 22.0h0L2.3 2.0M95.0 2.0h0"
    empty = parsed(sparkline("usage", [Point(0, None)], 0, DAY, "down", 1500))
    assert next(empty.iter("title")).text == "usage: no value"


def test_a_bar_of_quartiles_is_drawn_to_scale():
    found = parsed(quartile_bar("usage", 0.0, 0.25, 0.5, 0.75, 1.0))
    [box] = classed(found, "half")
    assert math.isclose(float(box.get("x")), 1 + 158 / 4, abs_tol=0.1)
    assert math.isclose(float(box.get("width")), 158 / 2, abs_tol=0.1)
    assert "median 0.50, half of them from 0.25 to 0.75" in next(found.iter("title")).text
