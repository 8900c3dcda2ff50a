"""When a worker may post: operations.md 5.4, with the time given and never waited for."""

from __future__ import annotations

from tixd.results.answer import Answer, held, of_status
from tixd.results.gate import Gate

UNREACHABLE = Answer("later", "no connection", unreachable=True)
BROKE_WHILE_KEPT = Answer("later", "the connection broke before the answer")
OK, FAILED, UNAUTHORISED, NOT_FOUND = (of_status(s, None, 0.0) for s in (200, 500, 401, 404))
PERIOD_SECONDS = 600.0


def gate_after(*heard: tuple[int, Answer], now: float = 0.0) -> Gate:
    """A gate that heard these answers to posts of these users."""
    gate = Gate(PERIOD_SECONDS)
    for user, answer in heard:
        gate.heard(user, answer, now)
    return gate


def events(gate: Gate, user: int, answer: Answer, now: float = 0.0) -> list[tuple[str, str]]:
    """The log lines that an answer causes."""
    return [(change.level, change.event) for change in gate.heard(user, answer, now)]


def test_a_new_gate_lets_every_user_through():
    assert Gate(PERIOD_SECONDS).reason_to_wait(1, 0.0) == ""


def test_an_unreachable_api_is_left_alone_for_most_of_a_period():
    gate = gate_after((1, UNREACHABLE))
    assert gate.reason_to_wait(2, 539.9)
    assert gate.reason_to_wait(2, 540.0) == ""


def test_an_unreachable_api_is_logged_once_until_it_is_back():
    gate = Gate(PERIOD_SECONDS)
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
    assert events(gate, 1, held("x"), 100.0) == []
    assert gate.reason_to_wait(1, 540.0) == ""


def test_a_refused_user_waits_twice_as_long_each_time_up_to_an_hour():
    gate, now = Gate(PERIOD_SECONDS), 0.0
    for pause in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        gate.heard(1, UNAUTHORISED, now)
        assert gate.reason_to_wait(1, now + pause - 0.1)
        assert gate.reason_to_wait(1, now + pause) == ""
        now += pause


def test_a_refused_user_stops_nobody_else():
    assert gate_after((1, UNAUTHORISED)).reason_to_wait(2, 0.0) == ""


def test_a_refused_user_is_logged_once_until_accepted():
    gate = Gate(PERIOD_SECONDS)
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
        assert gate.reason_to_wait(1, trial - 0.1)
        assert gate.reason_to_wait(1, trial) == ""
        assert events(gate, 1, answer, trial) == []
        assert gate.reason_to_wait(2, trial + 299.0)


def test_an_accepted_trial_lets_everybody_through_again():
    gate = gate_after(*[(user, UNAUTHORISED) for user in (1, 2, 3)])
    assert events(gate, 2, OK, 300.0) == [("info", "api_credentials_accepted")]
    assert [gate.reason_to_wait(user, 300.0) for user in (1, 2, 3, 4)] == [""] * 4


def test_changes_name_the_user_that_they_are_about():
    assert [change.user for change in Gate(1.0).heard(7, UNAUTHORISED, 0.0)] == [7]
