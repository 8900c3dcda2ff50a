"""When a worker may post, with the time given and never waited for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tixd.results.circuit_breaker import CircuitBreaker, Probe
from tixd.results.response import PostOutcome, of_status, skipped

UNREACHABLE = PostOutcome("later", "no connection", cause="connect")
BROKE_WHILE_KEPT = PostOutcome("later", "the connection broke before the answer", cause="idle")
SILENT = PostOutcome("later", "no answer in time", cause="silent")
OK, FAILED, UNAUTHORISED, NOT_FOUND = (of_status(s, None, 0.0) for s in (200, 500, 401, 404))
PERIOD_SECONDS = 600.0


def breaker_after(*heard: tuple[int, PostOutcome], now: float = 0.0) -> CircuitBreaker:
    """A breaker that heard these answers to posts of these users."""
    breaker = CircuitBreaker(PERIOD_SECONDS)
    for user, answer in heard:
        breaker.record((user, 10), answer, now)
    return breaker


def events(
    breaker: CircuitBreaker, user: int, answer: PostOutcome, now: float = 0.0
) -> list[tuple[str, str]]:
    """The log lines that an answer causes."""
    return [(change.level, change.event) for change in breaker.record((user, 10), answer, now)]


def test_a_new_gate_lets_every_user_through():
    assert CircuitBreaker(PERIOD_SECONDS).hold_reason(1, 0.0) is None


def test_an_unreachable_api_is_left_alone_for_most_of_a_period():
    breaker = breaker_after((1, UNREACHABLE))
    assert breaker.hold_reason(2, 539.9)
    assert breaker.hold_reason(2, 540.0) is None


def test_an_unreachable_api_is_logged_once_until_it_is_back():
    breaker = CircuitBreaker(PERIOD_SECONDS)
    assert events(breaker, 1, UNREACHABLE) == [("error", "api_unreachable")]
    assert events(breaker, 1, UNREACHABLE, 600.0) == []
    assert breaker.hold_reason(1, 1139.0)
    assert events(breaker, 1, FAILED, 1200.0) == [("info", "api_recovered")]
    assert events(breaker, 1, UNREACHABLE, 1300.0) == [("error", "api_unreachable")]


def test_any_response_closes_the_breaker_at_once():
    for answer in (OK, FAILED, NOT_FOUND, UNAUTHORISED):
        breaker = breaker_after((1, UNREACHABLE), (1, answer))
        assert breaker.hold_reason(2, 1.0) is None


def test_a_kept_connection_that_broke_says_nothing_about_the_api():
    assert breaker_after((1, BROKE_WHILE_KEPT)).hold_reason(1, 0.0) is None
    assert events(breaker_after((1, UNREACHABLE)), 1, BROKE_WHILE_KEPT) == []


def test_a_held_post_teaches_the_gate_nothing():
    breaker = breaker_after((1, UNREACHABLE))
    assert events(breaker, 1, skipped("x"), 100.0) == []
    assert breaker.hold_reason(1, 540.0) is None


def test_a_refused_user_waits_twice_as_long_each_time_but_is_tried_again_in_each_cycle():
    breaker, now = CircuitBreaker(PERIOD_SECONDS), 0.0
    for pause in (60, 120, 240, 480, 540, 540):
        breaker.record((1, 10), UNAUTHORISED, now)
        assert breaker.hold_reason(1, now + pause - 0.1)
        assert breaker.hold_reason(1, now + pause) is None
        now += pause


def test_a_refused_user_stops_nobody_else():
    assert breaker_after((1, UNAUTHORISED)).hold_reason(2, 0.0) is None


def test_a_refused_user_is_logged_once_until_accepted():
    breaker = CircuitBreaker(PERIOD_SECONDS)
    assert events(breaker, 1, UNAUTHORISED) == [("warning", "api_user_refused")]
    assert events(breaker, 1, UNAUTHORISED, 60.0) == []
    assert events(breaker, 1, OK, 180.0) == [("info", "api_user_accepted")]
    assert events(breaker, 1, UNAUTHORISED, 200.0) == [("warning", "api_user_refused")]


def test_an_accepted_post_ends_the_pause_of_its_user_only():
    breaker = breaker_after((1, UNAUTHORISED), (2, UNAUTHORISED), (2, OK))
    assert breaker.hold_reason(1, 1.0)
    assert breaker.hold_reason(2, 1.0) is None


def test_three_refused_users_pause_all_posting_with_one_alarm():
    breaker = breaker_after((1, UNAUTHORISED), (2, UNAUTHORISED))
    assert breaker.hold_reason(4, 0.0) is None
    assert events(breaker, 3, UNAUTHORISED) == [("error", "api_credentials_refused")]
    assert breaker.hold_reason(4, 299.9)


def test_one_user_refused_three_times_pauses_only_itself():
    breaker = breaker_after(*[(1, UNAUTHORISED)] * 3)
    assert breaker.hold_reason(2, 0.0) is None


def test_an_accepted_post_between_refusals_clears_the_credentials():
    breaker = breaker_after((1, UNAUTHORISED), (2, UNAUTHORISED), (9, OK), (3, UNAUTHORISED))
    assert breaker.hold_reason(4, 0.0) is None


def test_while_all_posting_is_paused_one_trial_goes_per_five_minutes():
    breaker = breaker_after(*[(user, UNAUTHORISED) for user in (1, 2, 3)])
    for trial, answer in ((300.0, UNAUTHORISED), (600.0, FAILED), (900.0, NOT_FOUND)):
        user = int(trial / 300)
        assert breaker.hold_reason(user, trial - 0.1)
        assert breaker.hold_reason(user, trial) is None
        assert events(breaker, user, answer, trial) == []
        assert breaker.hold_reason(4, trial + 299.0)


def test_a_user_whose_trial_was_refused_leaves_the_next_ones_to_others():
    breaker = breaker_after(*[(user, UNAUTHORISED) for user in (1, 2, 3)])
    assert events(breaker, 1, UNAUTHORISED, 600.0) == []
    assert breaker.hold_reason(1, 1200.0), "a cycle later it comes first again"
    assert breaker.hold_reason(2, 1200.0) is None
    assert breaker.hold_reason(1, 1500.0) is None, "nobody else has come in a whole period"


def test_an_accepted_trial_lets_everybody_through_again():
    breaker = breaker_after(*[(user, UNAUTHORISED) for user in (1, 2, 3)])
    assert events(breaker, 2, OK, 300.0) == [("info", "api_credentials_accepted")]
    assert [breaker.hold_reason(user, 300.0) for user in (1, 2, 3, 4)] == [None] * 4


def refused(
    breaker: CircuitBreaker, user: int, now: float = 0.0, *, may_post: bool
) -> list[tuple[str, str]]:
    """The events after a user was refused; may_post: what the tix-api says when it is asked."""
    asked = breaker.needs_probe((user, 10), UNAUTHORISED)
    changes = breaker.record(
        (user, 10), UNAUTHORISED, now, Probe(True, may_post) if asked else None
    )
    return [(change.level, change.event) for change in changes]


def test_a_minority_of_refused_users_stops_nobody_while_the_tix_api_trusts_ours():
    breaker, warning = CircuitBreaker(PERIOD_SECONDS), [("warning", "api_user_refused")]
    assert [refused(breaker, user, may_post=True) for user in range(1, 8)] == [warning] * 7
    assert all(breaker.hold_reason(user, 0.0) for user in range(1, 8)), "each has its own pause"
    assert breaker.hold_reason(8, 0.0) is None


def test_a_refused_trial_ends_the_pause_of_all_where_the_tix_api_trusts_our_user():
    breaker = breaker_after(*[(user, UNAUTHORISED) for user in (1, 2, 3)])
    assert refused(breaker, 1, 300.0, may_post=False) == []
    assert refused(breaker, 1, 900.0, may_post=True) == [
        ("info", "api_credentials_accepted"),
        ("warning", "api_user_refused"),
    ]
    assert [breaker.hold_reason(user, 900.0) is None for user in (1, 2, 4)] == [False, True, True]


def test_changes_name_the_user_that_they_are_about():
    assert [change.user for change in CircuitBreaker(1.0).record((7, 10), UNAUTHORISED, 0.0)] == [7]


def silent(
    breaker: CircuitBreaker, user: int, now: float = 0.0, *, known: bool = False, others: bool
) -> list:
    """The events after a post of the user was not answered; others: whether a question was."""
    key, answer = (user, 10), replace(SILENT, after_silence=known)
    probe = Probe(answers=others) if breaker.needs_probe(key, answer) else None
    changes = breaker.record(key, answer, now, probe)
    return [change.event for change in changes]


def test_one_installation_without_an_answer_stops_nobody():
    breaker = breaker_after((9, OK))
    for _ in range(5):
        assert silent(breaker, 1, others=False) == []
    assert breaker.hold_reason(2, 0.0) is None
    assert breaker.outage is None


def test_the_first_silence_of_an_installation_is_no_trouble_of_all_and_the_second_may_be():
    breaker = CircuitBreaker(PERIOD_SECONDS)
    silent(breaker, 1, others=True)
    assert breaker.outage is None
    silent(breaker, 1, known=True, others=True)
    assert breaker.outage == "the tix-api: no answer in time", "nobody was accepted here"


def test_two_installations_without_an_answer_in_a_row_open_the_breaker():
    breaker = CircuitBreaker(PERIOD_SECONDS)
    assert silent(breaker, 1, others=False) == []
    assert silent(breaker, 2, others=False) == ["api_unreachable"]
    assert breaker.hold_reason(3, 539.9)
    assert breaker.hold_reason(3, 540.0) is None


@pytest.mark.parametrize("answer", [OK, FAILED, NOT_FOUND, UNAUTHORISED])
def test_an_answer_to_anybody_between_two_without_one_keeps_the_breaker_closed(answer):
    breaker = CircuitBreaker(PERIOD_SECONDS)
    silent(breaker, 1, others=False)
    breaker.record((3, 10), answer, 0.0)
    assert silent(breaker, 2, others=False) == []
    assert breaker.hold_reason(4, 0.0) is None


def test_a_tix_api_that_answers_a_question_is_not_left_alone_for_two_silent_installations():
    breaker = CircuitBreaker(PERIOD_SECONDS)
    assert [silent(breaker, user, others=True) for user in (1, 2, 3)] == [[], [], []]
    assert silent(breaker, 4, others=True) == ["api_unreachable"], "it takes no posts"


def test_installations_known_to_be_silent_do_not_put_the_tix_api_in_doubt():
    breaker = CircuitBreaker(PERIOD_SECONDS)
    assert [silent(breaker, user, known=True, others=False) for user in range(9)] == [[]] * 9
    assert breaker.hold_reason(1, 0.0) is None


def test_a_breaker_that_was_open_is_closed_or_opened_again_by_one_question():
    for others, events_heard in ((True, ["api_recovered"]), (False, [])):
        breaker = breaker_after((1, UNREACHABLE))
        assert silent(breaker, 1, 600.0, known=True, others=others) == events_heard
        assert (breaker.hold_reason(2, 600.0) is None) == others


def test_errors_are_the_tix_apis_own_after_two_with_nothing_accepted_lately():
    breaker = breaker_after((1, FAILED))
    assert not breaker.seems_broken(0.0)
    breaker.record((1, 10), FAILED, 0.0)
    assert breaker.seems_broken(0.0)
    breaker.record((2, 10), OK, 0.0)
    for _ in range(5):
        breaker.record((1, 10), FAILED, 1.0)
    assert not breaker.seems_broken(539.0), "somebody was accepted within the period"
    assert breaker.seems_broken(541.0)


def test_what_is_remembered_of_users_is_bounded(monkeypatch):
    monkeypatch.setattr("tixd.results.circuit_breaker.MAX_USERS", 100)
    breaker = CircuitBreaker(PERIOD_SECONDS)
    for user in range(1, 1000):
        breaker.record((user, 10), OK, 0.0)
        breaker.record((user, 10), UNAUTHORISED, 0.0)
    assert [breaker.hold_reason(user, 1.0) is None for user in (1, 899, 900, 999)] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(("began", "is_left_alone"), [(0.0, False), (2.0, True)])
def test_posts_that_hang_count_against_the_tix_api_if_it_answered_none_since_they_began(
    began, is_left_alone
):
    breaker = CircuitBreaker(PERIOD_SECONDS)
    breaker.record((9, 10), OK, 1.0, began=0.5)
    for user in range(1, 7):
        breaker.record((user, 10), SILENT, 30.0, Probe(answers=True), began=began)
    assert bool(breaker.hold_reason(9, 30.0)) == is_left_alone


def test_of_posts_in_flight_a_second_without_an_answer_asks_whether_the_tix_api_lives():
    breaker = CircuitBreaker(PERIOD_SECONDS)
    breaker.record((9, 10), OK, 1.0, began=0.5)
    breaker.record((1, 10), SILENT, 30.0, began=0.0)
    assert breaker.needs_probe((2, 10), SILENT)
    breaker.record((2, 10), SILENT, 30.0, Probe(answers=False), began=0.0)
    assert breaker.hold_reason(9, 30.0)


def test_an_error_of_the_installation_that_was_accepted_last_is_not_told_of_all():
    breaker = breaker_after((1, OK), (2, OK))
    breaker.record((2, 10), FAILED, 1.0)
    assert breaker.outage is None
    assert breaker_after((2, OK), (2, FAILED)).outage
