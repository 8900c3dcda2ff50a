"""When a worker may post: operations.md 5.4, with the time given and never waited for."""

from __future__ import annotations

import pytest

from tixd.results.circuit_breaker import CircuitBreaker
from tixd.results.response import PostOutcome, of_status, skipped

UNREACHABLE = PostOutcome("later", "no connection", cause="connect")
BROKE_WHILE_KEPT = PostOutcome("later", "the connection broke before the answer", cause="idle")
SILENT = PostOutcome("later", "no answer in time", cause="silent")
OK, FAILED, UNAUTHORISED, NOT_FOUND = (of_status(s, None, 0.0) for s in (200, 500, 401, 404))
PERIOD_SECONDS = 600.0


def gate_after(*heard: tuple[int, PostOutcome], now: float = 0.0) -> CircuitBreaker:
    """A gate that heard these answers to posts of these users."""
    gate = CircuitBreaker(PERIOD_SECONDS)
    for user, answer in heard:
        gate.heard((user, 10), answer, now)
    return gate


def events(
    gate: CircuitBreaker, user: int, answer: PostOutcome, now: float = 0.0
) -> list[tuple[str, str]]:
    """The log lines that an answer causes."""
    return [(change.level, change.event) for change in gate.heard((user, 10), answer, now)]


def test_a_new_gate_lets_every_user_through():
    assert CircuitBreaker(PERIOD_SECONDS).reason_to_wait(1, 0.0) == ""


def test_an_unreachable_api_is_left_alone_for_most_of_a_period():
    gate = gate_after((1, UNREACHABLE))
    assert gate.reason_to_wait(2, 539.9)
    assert gate.reason_to_wait(2, 540.0) == ""


def test_an_unreachable_api_is_logged_once_until_it_is_back():
    gate = CircuitBreaker(PERIOD_SECONDS)
    assert events(gate, 1, UNREACHABLE) == [("error", "api_unreachable")]
    assert events(gate, 1, UNREACHABLE, 600.0) == []
    assert gate.reason_to_wait(1, 1139.0)
    assert events(gate, 1, FAILED, 1200.0) == [("info", "api_back")]
    assert events(gate, 1, UNREACHABLE, 1300.0) == [("error", "api_unreachable")]


def test_any_response_closes_the_breaker_at_once():
    for answer in (OK, FAILED, NOT_FOUND, UNAUTHORISED):
        gate = gate_after((1, UNREACHABLE), (1, answer))
        assert gate.reason_to_wait(2, 1.0) == ""


def test_a_kept_connection_that_broke_says_nothing_about_the_api():
    assert gate_after((1, BROKE_WHILE_KEPT)).reason_to_wait(1, 0.0) == ""
    assert events(gate_after((1, UNREACHABLE)), 1, BROKE_WHILE_KEPT) == []


def test_a_held_post_teaches_the_gate_nothing():
    gate = gate_after((1, UNREACHABLE))
    assert events(gate, 1, skipped("x"), 100.0) == []
    assert gate.reason_to_wait(1, 540.0) == ""


def test_a_refused_user_waits_twice_as_long_each_time_up_to_an_hour():
    gate, now = CircuitBreaker(PERIOD_SECONDS), 0.0
    for pause in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        gate.heard((1, 10), UNAUTHORISED, now)
        assert gate.reason_to_wait(1, now + pause - 0.1)
        assert gate.reason_to_wait(1, now + pause) == ""
        now += pause


def test_a_refused_user_stops_nobody_else():
    assert gate_after((1, UNAUTHORISED)).reason_to_wait(2, 0.0) == ""


def test_a_refused_user_is_logged_once_until_accepted():
    gate = CircuitBreaker(PERIOD_SECONDS)
    assert events(gate, 1, UNAUTHORISED) == [("warning", "api_user_refused")]
    assert events(gate, 1, UNAUTHORISED, 60.0) == []
    assert events(gate, 1, OK, 180.0) == [("info", "api_user_accepted")]
    assert events(gate, 1, UNAUTHORISED, 200.0) == [("warning", "api_user_refused")]


def test_an_accepted_post_ends_the_pause_of_its_user_only():
    gate = gate_after((1, UNAUTHORISED), (2, UNAUTHORISED), (2, OK))
    assert gate.reason_to_wait(1, 1.0)
    assert gate.reason_to_wait(2, 1.0) == ""


def test_three_refused_users_pause_all_posting_with_one_alarm():
    gate = gate_after((1, UNAUTHORISED), (2, UNAUTHORISED))
    assert gate.reason_to_wait(4, 0.0) == ""
    assert events(gate, 3, UNAUTHORISED) == [("error", "api_credentials_refused")]
    assert gate.reason_to_wait(4, 299.9)


def test_one_user_refused_three_times_pauses_only_itself():
    gate = gate_after(*[(1, UNAUTHORISED)] * 3)
    assert gate.reason_to_wait(2, 0.0) == ""


def test_an_accepted_post_between_refusals_clears_the_credentials():
    gate = gate_after((1, UNAUTHORISED), (2, UNAUTHORISED), (9, OK), (3, UNAUTHORISED))
    assert gate.reason_to_wait(4, 0.0) == ""


def test_while_all_posting_is_paused_one_trial_goes_per_five_minutes():
    gate = gate_after(*[(user, UNAUTHORISED) for user in (1, 2, 3)])
    for trial, answer in ((300.0, UNAUTHORISED), (600.0, FAILED), (900.0, NOT_FOUND)):
        user = int(trial / 300)
        assert gate.reason_to_wait(user, trial - 0.1)
        assert gate.reason_to_wait(user, trial) == ""
        assert events(gate, user, answer, trial) == []
        assert gate.reason_to_wait(4, trial + 299.0)


def test_a_user_whose_trial_was_refused_leaves_the_next_ones_to_others():
    gate = gate_after(*[(user, UNAUTHORISED) for user in (1, 2, 3)])
    assert events(gate, 1, UNAUTHORISED, 600.0) == []
    assert gate.reason_to_wait(1, 1200.0), "a cycle later it comes first again"
    assert gate.reason_to_wait(2, 1200.0) == ""
    assert gate.reason_to_wait(1, 1500.0) == "", "nobody else has come in a whole period"


def test_an_accepted_trial_lets_everybody_through_again():
    gate = gate_after(*[(user, UNAUTHORISED) for user in (1, 2, 3)])
    assert events(gate, 2, OK, 300.0) == [("info", "api_credentials_accepted")]
    assert [gate.reason_to_wait(user, 300.0) for user in (1, 2, 3, 4)] == [""] * 4


def refused(
    gate: CircuitBreaker, user: int, now: float = 0.0, *, may_post: bool
) -> list[tuple[str, str]]:
    """The events after a user was refused; may_post: what the tix-api says when it is asked."""
    asked = gate.must_ask((user, 10), UNAUTHORISED, known_silent=False)
    changes = gate.heard((user, 10), UNAUTHORISED, now, may_post=asked and may_post)
    return [(change.level, change.event) for change in changes]


def test_a_minority_of_refused_users_stops_nobody_while_the_tix_api_trusts_ours():
    gate, warning = CircuitBreaker(PERIOD_SECONDS), [("warning", "api_user_refused")]
    assert [refused(gate, user, may_post=True) for user in range(1, 8)] == [warning] * 7
    assert all(gate.reason_to_wait(user, 0.0) for user in range(1, 8)), "each has its own pause"
    assert gate.reason_to_wait(8, 0.0) == ""


def test_a_refused_trial_ends_the_pause_of_all_where_the_tix_api_trusts_our_user():
    gate = gate_after(*[(user, UNAUTHORISED) for user in (1, 2, 3)])
    assert refused(gate, 1, 300.0, may_post=False) == []
    assert refused(gate, 1, 900.0, may_post=True) == [
        ("info", "api_credentials_accepted"),
        ("warning", "api_user_refused"),
    ]
    assert [gate.reason_to_wait(user, 900.0) == "" for user in (1, 2, 4)] == [False, True, True]


def test_changes_name_the_user_that_they_are_about():
    assert [change.user for change in CircuitBreaker(1.0).heard((7, 10), UNAUTHORISED, 0.0)] == [7]


def silent(
    gate: CircuitBreaker, user: int, now: float = 0.0, *, known: bool = False, others: bool
) -> list:
    """The events after a post of the user was not answered; others: whether a question was."""
    key = (user, 10)
    asked = others if gate.must_ask(key, SILENT, known_silent=known) else None
    changes = gate.heard(key, SILENT, now, known_silent=known, answers_others=asked)
    return [change.event for change in changes]


def test_one_installation_without_an_answer_stops_nobody():
    gate = gate_after((9, OK))
    for _ in range(5):
        assert silent(gate, 1, others=False) == []
    assert gate.reason_to_wait(2, 0.0) == ""
    assert gate.trouble == ""


def test_the_first_silence_of_an_installation_is_no_trouble_of_all_and_the_second_may_be():
    gate = CircuitBreaker(PERIOD_SECONDS)
    silent(gate, 1, others=True)
    assert gate.trouble == ""
    silent(gate, 1, known=True, others=True)
    assert gate.trouble == "no answer in time", "nobody was accepted here"


def test_two_installations_without_an_answer_in_a_row_open_the_breaker():
    gate = CircuitBreaker(PERIOD_SECONDS)
    assert silent(gate, 1, others=False) == []
    assert silent(gate, 2, others=False) == ["api_unreachable"]
    assert gate.reason_to_wait(3, 539.9)
    assert gate.reason_to_wait(3, 540.0) == ""


@pytest.mark.parametrize("answer", [OK, FAILED, NOT_FOUND, UNAUTHORISED])
def test_an_answer_to_anybody_between_two_without_one_keeps_the_breaker_closed(answer):
    gate = CircuitBreaker(PERIOD_SECONDS)
    silent(gate, 1, others=False)
    gate.heard((3, 10), answer, 0.0)
    assert silent(gate, 2, others=False) == []
    assert gate.reason_to_wait(4, 0.0) == ""


def test_a_tix_api_that_answers_a_question_is_not_left_alone_for_two_silent_installations():
    gate = CircuitBreaker(PERIOD_SECONDS)
    assert [silent(gate, user, others=True) for user in (1, 2, 3)] == [[], [], []]
    assert silent(gate, 4, others=True) == ["api_unreachable"], "it takes no posts"


def test_installations_known_to_be_silent_do_not_put_the_tix_api_in_doubt():
    gate = CircuitBreaker(PERIOD_SECONDS)
    assert [silent(gate, user, known=True, others=False) for user in range(9)] == [[]] * 9
    assert gate.reason_to_wait(1, 0.0) == ""


def test_a_breaker_that_was_open_is_closed_or_opened_again_by_one_question():
    for others, events_heard in ((True, ["api_back"]), (False, [])):
        gate = gate_after((1, UNREACHABLE))
        assert silent(gate, 1, 600.0, known=True, others=others) == events_heard
        assert (gate.reason_to_wait(2, 600.0) == "") == others


def test_errors_are_the_tix_apis_own_after_two_with_nothing_accepted_lately():
    gate = gate_after((1, FAILED))
    assert not gate.seems_broken(0.0)
    gate.heard((1, 10), FAILED, 0.0)
    assert gate.seems_broken(0.0)
    gate.heard((2, 10), OK, 0.0)
    for _ in range(5):
        gate.heard((1, 10), FAILED, 1.0)
    assert not gate.seems_broken(539.0), "somebody was accepted within the period"
    assert gate.seems_broken(541.0)


def test_what_is_remembered_of_users_is_bounded(monkeypatch):
    monkeypatch.setattr("tixd.results.circuit_breaker.MOST_USERS", 100)
    gate = CircuitBreaker(PERIOD_SECONDS)
    for user in range(1, 1000):
        gate.heard((user, 10), OK, 0.0)
        gate.heard((user, 10), UNAUTHORISED, 0.0)
    assert [gate.reason_to_wait(user, 1.0) == "" for user in (1, 899, 900, 999)] == [
        True,
        True,
        False,
        False,
    ]
