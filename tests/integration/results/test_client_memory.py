"""What the client remembers between posts, against a stand-in."""

from __future__ import annotations

import pytest

from tests.support.log_events import heard
from tests.support.results import ONE, OTHER, THIRD, post, result, settings_for
from tests.support.stand_in_api import Behaviour, StandInApi, closed_port
from tixd.config.fields import Secret
from tixd.results.client import ApiClient


def test_a_dead_api_costs_a_cycle_one_try_and_two_log_lines_in_all(clock):
    client = ApiClient(settings_for(closed_port()), steady=clock)
    with heard() as log:
        outcomes = [post(client, who, result()).outcome for who in (ONE, OTHER, THIRD)]
    assert outcomes == ["later", "skipped", "skipped"]
    assert log.events == [("error", "api_unreachable")]
    clock.now += 600
    with heard() as log:
        assert post(client, OTHER, result()).outcome == "later"
    assert log.events == []


def test_an_api_that_comes_back_is_found_in_the_next_cycle(clock):
    port = closed_port()
    client = ApiClient(settings_for(port), steady=clock)
    post(client, ONE, result())
    clock.now += 600
    with StandInApi(port=port) as api, heard() as log:
        assert post(client, ONE, result()).outcome == "accepted"
        assert post(client, OTHER, result()).outcome == "accepted"
        assert len(api.accepted) == 2
        client.close()
    assert log.events == [("info", "api_recovered")]


def test_three_users_refused_pause_the_worker_until_a_trial_is_accepted(api, client, clock):
    api.answer(Behaviour(401))
    with heard() as log:
        outcomes = [post(client, who, result()).outcome for who in (ONE, OTHER, THIRD, ONE)]
        api.answer(Behaviour())
        clock.now += 300
        outcomes += [post(client, who, result()).outcome for who in (ONE, OTHER)]
    assert outcomes == ["unauthorised"] * 3 + ["skipped", "accepted", "accepted"]
    assert [event for _, event in log.events][2:] == [
        "api_credentials_refused",
        "api_credentials_accepted",
    ]


def test_the_client_knows_why_results_are_kept_until_one_is_accepted(api, client, clock):
    troubles = []
    for status in (200, 503, 401, 401, 401):
        api.answer(Behaviour(status))
        post(client, (ONE, ONE, ONE, OTHER, THIRD)[len(troubles)], result())
        troubles.append(client.outage)
    clock.now += 300
    api.answer(Behaviour())
    post(client, ONE, result())
    unavailable = "the tix-api: HTTP 503 Service Unavailable"
    credentials = (
        "the tix-api refuses the credentials (HTTP 401 Unauthorized):"
        " correct TIX_API_USER and TIX_API_PASSWORD"
    )
    assert troubles == [None, unavailable, credentials, credentials, credentials]
    assert client.outage is None


def test_a_refusal_of_one_user_where_another_is_accepted_is_no_trouble_of_all(api, client):
    post(client, OTHER, result())
    api.answer(Behaviour(401))
    assert post(client, ONE, result()).outcome == "unauthorised"
    assert client.outage is None


def test_what_is_held_is_kept_for_the_reason_that_began_it(clock):
    client = ApiClient(settings_for(closed_port()), steady=clock)
    for who in (ONE, OTHER):
        post(client, who, result())
        assert client.outage == (
            "the tix-api: no connection: Connection refused (TIX_API_HOST, TIX_API_PORT)"
        )
    assert ApiClient(settings_for(1, api_user="")).outage == "TIX_API_USER is not set"


def test_the_client_knows_when_somebody_else_was_last_accepted(api, clock):
    client = ApiClient(settings_for(api.port), clock=clock, steady=clock)
    for who, moment in ((ONE, 1.0), (OTHER, 2.0), (THIRD, 3.0), (THIRD, 4.0), (ONE, 5.0)):
        clock.now = moment
        post(client, who, result())
    assert [client.accepted_elsewhere(who) for who in (ONE, OTHER, THIRD)] == [4.0, 5.0, 5.0]
    client.close()


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_clock_that_is_set_makes_no_accepted_post_later_than_it_was(api, clock, jump):
    wall = type(clock)()
    client = ApiClient(settings_for(api.port), clock=wall, steady=clock)
    post(client, OTHER, result())
    accepted = wall.now
    wall.now += jump
    assert client.accepted_elsewhere(ONE) == min(accepted, wall.now)
    client.close()


def test_before_anybody_else_was_accepted_the_client_says_so(client):
    assert client.accepted_elsewhere(ONE) is None
    post(client, ONE, result())
    assert client.accepted_elsewhere(ONE) is None


def test_no_log_line_or_answer_shows_the_password(clock):
    secret = "hunter2-very-secret"
    client = ApiClient(settings_for(closed_port(), api_password=Secret(secret)), steady=clock)
    with heard() as log:
        answer = post(client, ONE, result())
    assert len(log.events) == 1
    assert secret not in log.text + repr(answer)
    assert answer.reason == "no connection: Connection refused"
