"""Pauses and refusals of kept results."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tixd.results.backoff import MAX_PAUSE_SECONDS, Backoff, Refusal

NOW = 1_700_000_000.0


class Longest(random.Random):
    """A source of jitter that always draws the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


def failures(times: int, jitter: random.Random) -> list[float]:
    """The pauses after that many failures, each right after the pause before."""
    backoff, now, pauses = Backoff(), NOW, []
    for _ in range(times):
        backoff = backoff.failed(now, None, jitter)
        pauses.append(backoff.not_before - now)
        now = backoff.not_before
    return pauses


def test_pauses_double_from_a_minute_to_an_hour():
    assert failures(8, Longest()) == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_jitter_draws_from_nothing_to_the_whole_pause():
    draws = [failures(1, random.Random(seed))[0] for seed in range(200)]
    assert 0 <= min(draws) < 5
    assert 55 < max(draws) <= 60
    assert 25 < sum(draws) / len(draws) < 35


def test_stored_results_wait_until_the_pause_has_passed():
    backoff = Backoff().failed(NOW, None, Longest())
    assert backoff.paused(NOW)
    assert backoff.paused(NOW + 59.9)
    assert not backoff.paused(NOW + 60)


def test_retry_after_is_waited_for_where_it_is_longer_than_the_draw():
    assert Backoff().failed(NOW, 600.0, Longest()).not_before == NOW + 600
    assert Backoff().failed(NOW, 10.0, Longest()).not_before == NOW + 60


def test_failures_within_one_pause_count_once():
    backoff = Backoff().failed(NOW, None, Longest())
    assert backoff.failed(NOW + 1, None, Longest()) == backoff
    assert backoff.failed(NOW + 1, 300.0, Longest()) == replace(backoff, not_before=NOW + 301)


def test_a_clock_set_back_does_not_make_results_wait_for_longer_than_an_hour():
    backoff = Backoff(failures=7, not_before=NOW + MAX_PAUSE_SECONDS)
    assert backoff.paused(NOW)
    assert not backoff.paused(NOW - 86400)


def test_an_accepted_result_ends_the_pause_and_its_refusals():
    refusals = (Refusal("a", 2, NOW), Refusal("b", 1, NOW))
    backoff = Backoff(4, NOW + 5, refusals).accepted("a")
    assert backoff == Backoff(0, 0.0, (Refusal("b", 1, NOW),))


def test_three_refusals_with_others_accepted_between_give_a_result_up():
    backoff = Backoff()
    for moment in (NOW, NOW + 600, NOW + 1200):
        assert not backoff.must_reject("a")
        backoff = backoff.refused("a", moment, accepted_elsewhere=moment - 1)
    assert backoff.must_reject("a")


@pytest.mark.parametrize("elsewhere", [None, NOW - 1, NOW])
def test_a_refusal_without_anybody_accepted_since_the_one_before_does_not_count(elsewhere):
    backoff = Backoff().refused("a", NOW, None).refused("a", NOW + 600, elsewhere)
    assert backoff.refusals == (Refusal("a", 1, NOW + 600),)


def test_refusals_of_different_results_are_counted_apart():
    backoff = Backoff()
    for name in "abcabc":
        backoff = backoff.refused(name, NOW, NOW + 1)
    assert [(r.name, r.count) for r in backoff.refusals] == [("a", 2), ("b", 2), ("c", 2)]


def test_refusals_of_results_that_are_gone_are_forgotten():
    backoff = Backoff().refused("a", NOW, None).refused("b", NOW, None)
    assert [r.name for r in backoff.only(["b", "c"]).refusals] == ["b"]
    assert backoff.without("a").without("b").refusals == ()


def test_no_answer_pauses_fresh_results_too_and_for_half_the_pause_at_least():
    draws = [Backoff().got_no_answer(NOW, random.Random(seed)).not_before for seed in range(200)]
    assert NOW + 30 <= min(draws) < NOW + 35
    assert NOW + 55 < max(draws) <= NOW + 60
    assert Backoff().got_no_answer(NOW, Longest()).holds_fresh(NOW + 59)
    assert not Backoff().got_no_answer(NOW, Longest()).holds_fresh(NOW + 60)
    assert not Backoff().failed(NOW, None, Longest()).holds_fresh(NOW + 1)


def test_pauses_for_want_of_an_answer_grow_and_any_answer_ends_them():
    backoff, now = Backoff(), NOW
    for pause in (60, 120, 240):
        backoff = backoff.got_no_answer(now, Longest())
        assert backoff.not_before == now + pause
        now = backoff.not_before
    assert backoff.answered() == Backoff()
    paused = Backoff().failed(NOW, None, Longest())
    assert paused.answered() == paused, "the pause after another failure stays"


def test_results_never_refused_come_before_those_that_were():
    backoff = Backoff().refused("a", NOW, None).refused("c", NOW, None)
    assert backoff.in_turn(["a", "b", "c", "d"]) == ["b", "d", "a", "c"]


def test_in_a_continued_job_results_that_met_an_error_have_had_their_try():
    backoff = Backoff().refused("a", NOW, None, 500).refused("b", NOW, None, 404)
    assert replace(backoff, unfinished=True).in_turn(["a", "b", "c"]) == ["c", "b"]


def test_of_many_refusals_those_that_came_furthest_are_remembered():
    backoff = Backoff(refusals=tuple(Refusal(f"{n}", 1 + n % 2, NOW) for n in range(32)))
    backoff = backoff.refused("more", NOW, None)
    assert len(backoff.refusals) == 32
    assert sum(refusal.count == 2 for refusal in backoff.refusals) == 16
    assert len(Backoff().because("x" * 1000).reason) == 200
