"""The real client against a stand-in for the tix-api: operations.md 5.4, faults.md 20 to 22."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time

import pytest

from tests.support.log_events import heard
from tests.support.results import ONE, OTHER, result, settings_for
from tests.support.stand_in_api import Behaviour
from tixd import __version__
from tixd.declared import Secret
from tixd.results.client import ApiClient
from tixd.results.payload import payload


def test_a_result_is_posted_as_the_api_takes_it(api, client):
    answer = client.post(ONE, result())
    assert (answer.outcome, answer.status) == ("accepted", 200)
    (post,) = api.posts
    assert (post.user, post.installation) == (1, 11)
    assert post.body == json.loads(payload(result()))
    assert api.heads[0]["user-agent"] == f"tixd/{__version__}"
    assert api.heads[0]["host"] == f"127.0.0.1:{api.port}"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, "accepted") for status in (200, 201, 204)),
        *((status, "later") for status in (408, 429, 500, 502, 503)),
        *((status, "refused") for status in (301, 302, 307, 308, 400, 404, 413, 422)),
        *((status, "unauthorised") for status in (401, 403)),
    ],
)
def test_each_status_has_its_outcome_after_one_post(api, client, status, outcome):
    api.answer(Behaviour(status, {"Location": f"{api.url}/elsewhere"}))
    answer = client.post(ONE, result())
    assert (answer.outcome, answer.status) == (outcome, status)
    assert len(api.posts) == 1


def test_retry_after_is_handed_on_in_seconds(api, client):
    api.answer(Behaviour(429, {"Retry-After": "90"}))
    assert client.post(ONE, result()).retry_after_seconds == 90.0


def test_wrong_credentials_are_unauthorised(api):
    client = ApiClient(settings_for(api.port, api_password=Secret("wrong")))
    assert client.post(ONE, result()).outcome == "unauthorised"
    client.close()
    assert api.posts == []


@pytest.mark.parametrize("changes", [{"api_user": ""}, {"api_password": Secret()}])
def test_without_credentials_nothing_is_tried_and_one_line_says_so(api, changes):
    with heard() as log:
        client = ApiClient(settings_for(api.port, **changes))
        answers = {client.post(ONE, result(n)).outcome for n in range(3)}
    assert answers == {"held"}
    assert client.trouble in ("TIX_API_USER is not set", "TIX_API_PASSWORD is not set")
    assert api.connections == 0
    assert log.events == [("warning", "posting_off")]


def test_posts_share_one_connection(api, client):
    for timestamp in range(50):
        assert client.post(ONE, result(timestamp)).outcome == "accepted"
    assert (api.connections, len(api.posts)) == (1, 50)


def test_a_connection_is_kept_after_refusals_and_failures_too(api, client):
    for status in (404, 500, 401, 204):
        api.answer(Behaviour(status))
        client.post(ONE, result())
    assert api.connections == 1


def test_a_connection_idle_for_five_seconds_is_kept_and_for_longer_not(api, client, clock):
    for idle, connections in ((0.0, 1), (5.0, 1), (5.1, 2), (5.0, 2), (3600.0, 3)):
        clock.now += idle
        assert client.post(ONE, result()).outcome == "accepted"
        assert api.connections == connections


def test_a_kept_connection_that_the_api_closed_costs_no_post(api, client):
    client.post(ONE, result(1))
    api.drop_connections()
    assert client.post(ONE, result(2)).outcome == "accepted"
    assert [post.body["timestamp"] for post in api.posts] == [1, 2]


@pytest.mark.parametrize("fault", ["cut", "store_then_cut"])
def test_a_kept_connection_cut_before_the_answer_is_not_tried_again(api, client, fault):
    client.post(ONE, result(1))
    api.answer(Behaviour(fault=fault))
    answer = client.post(ONE, result(2))
    assert (answer.outcome, answer.status, answer.unreachable) == ("later", None, False)
    assert [post.body["timestamp"] for post in api.posts] == [1, 2]
    api.answer(Behaviour())
    assert client.post(ONE, result(3)).outcome == "accepted"


@pytest.mark.parametrize("fault", ["cut", "store_then_cut"])
def test_a_fresh_connection_cut_before_the_answer_opens_the_breaker(api, client, fault):
    api.answer(Behaviour(fault=fault))
    assert client.post(ONE, result()).unreachable
    assert client.post(OTHER, result()).outcome == "held"
    assert len(api.posts) == 1


def test_a_status_counts_even_if_the_body_never_ends(api, client):
    api.answer(Behaviour(201, fault="cut_body"))
    assert client.post(ONE, result()).outcome == "accepted"
    api.answer(Behaviour(400, body=b"x" * 2**20))
    assert client.post(ONE, result()).status == 400
    api.answer(Behaviour(200))
    assert client.post(ONE, result()).outcome == "accepted"
    assert api.connections == 3


def timed(client: ApiClient) -> tuple[str, float]:
    """The reason that one failing post gives, and the seconds that it takes."""
    began = time.monotonic()
    answer = client.post(ONE, result())
    client.close()
    assert (answer.outcome, answer.status, answer.unreachable) == ("later", None, True)
    return answer.reason, time.monotonic() - began


def test_a_silent_api_is_given_up_after_the_read_time(api):
    api.answer(Behaviour(fault="silent"))
    reason, seconds = timed(ApiClient(settings_for(api.port, api_read_seconds=0.3)))
    assert reason == "no answer in time"
    assert 0.25 < seconds < 10.0
    assert len(api.posts) == 1


def test_a_byte_now_and_then_does_not_stretch_the_deadline(api):
    api.answer(Behaviour(fault="trickle", trickle_seconds=0.05))
    reason, seconds = timed(ApiClient(settings_for(api.port, api_total_seconds=0.4)))
    assert reason == "no answer before the deadline"
    assert 0.35 < seconds < 10.0
    assert len(api.posts) == 1


def test_a_port_that_takes_no_connection_is_given_up_after_the_connect_time():
    with socket.socket() as listener, contextlib.ExitStack() as full:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = full.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        reason, seconds = timed(ApiClient(settings_for(port, api_connect_seconds=0.3)))
    assert reason == "no connection in time"
    assert 0.25 < seconds < 10.0


def test_after_a_deadline_the_next_post_has_a_connection_of_its_own(api, clock):
    client = ApiClient(settings_for(api.port, api_total_seconds=3.0), steady=clock)
    api.answer(Behaviour(fault="trickle", trickle_seconds=0.2))
    client.post(ONE, result(1))
    api.answer(Behaviour())
    clock.now += 540
    assert client.post(ONE, result(2)).outcome == "accepted"
    client.close()
    assert api.connections == 2


def test_a_timer_of_somebody_else_goes_on_after_a_post(client):
    def other(*_: object) -> None:
        raise AssertionError("too early")

    handler = signal.signal(signal.SIGALRM, other)
    before = signal.setitimer(signal.ITIMER_REAL, 30)
    client.post(ONE, result())
    left, _ = signal.setitimer(signal.ITIMER_REAL, *before)
    assert signal.signal(signal.SIGALRM, handler) is other
    assert 20 < left <= 30
