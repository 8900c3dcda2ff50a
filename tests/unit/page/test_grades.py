"""Grades: every value has one word, and the thresholds are those of the manual."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tixd.page import grades


@pytest.mark.parametrize(
    ("of", "words"), [(grades.of_usage, grades.USAGE), (grades.of_quality, grades.QUALITY)]
)
def test_each_threshold_has_its_word_and_what_is_below_the_next(of, words):
    assert [of(grade.least) for grade in words] == [grade.word for grade in words]
    assert [of(grade.least - 0.01) for grade in words[:-1]] == [g.word for g in words[1:]]
    assert [grade.least for grade in words] == sorted((g.least for g in words), reverse=True)


@given(st.floats(0, 1))
def test_numbers_that_are_shown_alike_have_one_word(value):
    assert grades.of_usage(value) == grades.of_usage(float(f"{value:.2f}"))
    assert grades.of_quality(value) == grades.of_quality(float(f"{value:.2f}"))


@given(st.floats(-1e9, 1e9))
def test_every_number_has_a_word(value):
    assert grades.of_usage(value) in {grade.word for grade in grades.USAGE}
    assert grades.of_quality(value) in {grade.word for grade in grades.QUALITY}


def test_a_quality_of_one_congested_minute_in_ten_is_good_and_of_two_is_not():
    tenths = [grades.of_quality(1 - n / 10) for n in range(11)]
    assert tenths == ["good"] * 2 + ["fair"] * 4 + ["poor"] * 5


def test_what_an_idle_line_reads_by_either_estimator_is_called_idle_or_light():
    assert {grades.of_usage(value) for value in (0.0, 0.1, 0.15)} == {"idle"}
    assert {grades.of_usage(value) for value in (0.2, 0.3, 0.4)} == {"light"}
