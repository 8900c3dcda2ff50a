"""The real client against a stand-in for the tix-api."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPResponse

import pytest

from tests.support.log_events import heard
from tests.support.program import until
from tests.support.results import ONE, OTHER, THIRD, post, result, settings_for
from tests.support.stand_in_api import Behaviour
from tixd import __version__
from tixd.config.fields import Secret
from tixd.reports.model import Installation
from tixd.results.client import ApiClient
from tixd.results.payload import payload


def test_a_result_is_posted_as_the_api_takes_it(api, client):
    answer = post(client, ONE, result())
    assert (answer.outcome, answer.status) == ("accepted", 200)
    (got,) = api.posts
    assert (got.user, got.installation) == (1, 11)
    assert got.body == json.loads(payload(result()))
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
    answer = post(client, ONE, result())
    assert (answer.outcome, answer.status) == (outcome, status)
    assert len(api.posts) == 1


def test_retry_after_is_handed_on_in_seconds(api, client):
    api.answer(Behaviour(429, {"Retry-After": "90"}))
    assert post(client, ONE, result()).retry_after_seconds == 90.0


def test_wrong_credentials_are_unauthorised(api):
    client = ApiClient(settings_for(api.port, api_password=Secret("wrong")))
    assert post(client, ONE, result()).outcome == "unauthorised"
    client.close()
    assert api.posts == []


@pytest.mark.parametrize("changes", [{"api_user": ""}, {"api_password": Secret()}])
def test_without_credentials_nothing_is_tried_and_one_line_says_so(api, changes):
    with heard() as log:
        client = ApiClient(settings_for(api.port, **changes))
        answers = {post(client, ONE, result(n)).outcome for n in range(3)}
    assert answers == {"skipped"}
    assert client.outage in ("TIX_API_USER is not set", "TIX_API_PASSWORD is not set")
    assert api.connections == 0
    assert log.events == [("warning", "posting_disabled")]


def test_posts_share_one_connection(api, client):
    for timestamp in range(50):
        assert post(client, ONE, result(timestamp)).outcome == "accepted"
    assert (api.connections, len(api.posts)) == (1, 50)


def test_a_connection_is_kept_after_refusals_and_failures_too(api, client):
    for status in (404, 500, 401, 204):
        api.answer(Behaviour(status))
        post(client, ONE, result())
    assert api.connections == 1


def test_a_connection_idle_for_five_seconds_is_kept_and_for_longer_not(api, client, clock):
    for idle, connections in ((0.0, 1), (5.0, 1), (5.1, 2), (5.0, 2), (3600.0, 3)):
        clock.now += idle
        assert post(client, ONE, result()).outcome == "accepted"
        assert api.connections == connections


def test_a_kept_connection_that_the_api_closed_costs_no_post(api, client):
    post(client, ONE, result(1))
    api.drop_connections()
    assert post(client, ONE, result(2)).outcome == "accepted"
    assert [post.body["timestamp"] for post in api.posts] == [1, 2]


@pytest.mark.parametrize("fault", ["cut", "store_then_cut"])
def test_a_kept_connection_cut_before_the_answer_is_not_tried_again(api, client, fault):
    post(client, ONE, result(1))
    api.answer(Behaviour(fault=fault))
    answer = post(client, ONE, result(2))
    assert (answer.outcome, answer.status, answer.unreachable) == ("later", None, False)
    assert [post.body["timestamp"] for post in api.posts] == [1, 2]
    api.answer(Behaviour())
    assert post(client, ONE, result(3)).outcome == "accepted"


@pytest.mark.parametrize("fault", ["cut", "store_then_cut"])
def test_a_fresh_connection_cut_before_the_answer_counts_against_its_installation(
    api, client, fault
):
    api.answer(Behaviour(fault=fault))
    assert post(client, ONE, result()).unanswered
    assert post(client, ONE, result()).unanswered
    assert post(client, OTHER, result()).unanswered
    assert post(client, THIRD, result()).outcome == "skipped", "two different ones open the breaker"
    assert (len(api.posts), api.questions) == (3, 1)


def test_a_status_counts_even_if_the_body_never_ends(api, client):
    api.answer(Behaviour(201, fault="cut_body"))
    assert post(client, ONE, result()).outcome == "accepted"
    api.answer(Behaviour(400, body=b"x" * 2**20))
    assert post(client, ONE, result()).status == 400
    api.answer(Behaviour(200))
    assert post(client, ONE, result()).outcome == "accepted"
    assert api.connections == 3


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(headers={"Transfer-Encoding": "chunked"}, body=b"-5\r\nabc\r\n0\r\n\r\n"),
        Behaviour(headers={f"X-{n}": "x" for n in range(200)}),
        Behaviour(headers={"X": "x" * 70_000}),
    ],
    ids=["negative chunk", "many headers", "long header"],
)
def test_a_status_counts_however_odd_what_follows_is(api, client, behaviour):
    for status, outcome in ((200, "accepted"), (404, "refused")):
        api.answer(replace(behaviour, status=status))
        assert post(client, ONE, result()).outcome == outcome


def raising(error: Exception) -> Callable[[HTTPResponse], None]:
    """Read the status line of an answer, and raise the error over it."""
    read_status = HTTPResponse._read_status

    def read(response: HTTPResponse) -> None:
        read_status(response)
        raise error

    return read


@pytest.mark.parametrize("error", [ValueError, LookupError, TypeError, AssertionError])
def test_whatever_a_library_raises_over_an_answer_is_no_answer(api, client, monkeypatch, error):
    monkeypatch.setattr(HTTPResponse, "_read_status", raising(error("odd")))
    answer = post(client, ONE, result())
    assert (answer.outcome, answer.cause, answer.reason) == (
        "later",
        "cut",
        "the connection broke before the answer",
    )


def test_no_memory_for_a_post_is_not_the_tix_apis_fault(api, client, monkeypatch):
    monkeypatch.setattr(HTTPResponse, "_read_status", raising(MemoryError()))
    with pytest.raises(MemoryError):
        post(client, ONE, result())


def timed(client: ApiClient, *, unanswered: bool = True) -> tuple[str, float]:
    """The reason that one failing post gives, and the seconds that it takes."""
    began = time.monotonic()
    answer = post(client, ONE, result())
    client.close()
    assert (answer.outcome, answer.status, answer.unanswered) == ("later", None, unanswered)
    assert answer.unreachable is not unanswered
    return answer.reason, time.monotonic() - began


def test_a_silent_api_is_given_up_after_the_read_time(api):
    api.answer(Behaviour(fault="silent"))
    reason, seconds = timed(ApiClient(settings_for(api.port, api_read_seconds=0.3)))
    assert reason == "no answer in time"
    assert 0.25 < seconds < 10.0
    until(lambda: api.posts)
    assert len(api.posts) == 1


def test_a_byte_now_and_then_does_not_stretch_the_deadline(api):
    api.answer(Behaviour(fault="trickle", trickle_seconds=0.1))
    reason, seconds = timed(ApiClient(settings_for(api.port, api_total_seconds=1.0)))
    assert reason == "no answer before the deadline"
    assert 0.9 < seconds < 10.0
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
        client = ApiClient(settings_for(port, api_connect_seconds=0.3))
        reason, seconds = timed(client, unanswered=False)
    assert reason == "no connection in time"
    assert 0.25 < seconds < 10.0


def test_after_a_deadline_the_next_post_has_a_connection_of_its_own(api, clock):
    client = ApiClient(settings_for(api.port, api_total_seconds=3.0), steady=clock)
    api.answer(Behaviour(fault="trickle", trickle_seconds=0.2))
    post(client, ONE, result(1))
    api.answer(Behaviour())
    clock.now += 540
    assert post(client, ONE, result(2)).outcome == "accepted"
    client.close()
    assert api.connections == 2


class _Stop(Exception):
    """What a signal asks for."""


def test_a_signal_ends_a_post_that_waits_and_is_no_answer_of_the_api(api, client):
    def stop(*_: object) -> None:
        raise _Stop

    api.answer(Behaviour(fault="silent"))
    handler = signal.signal(signal.SIGALRM, stop)
    before = signal.setitimer(signal.ITIMER_REAL, 0.2)
    began = time.monotonic()
    with heard() as log, pytest.raises(_Stop):
        post(client, ONE, result())
    signal.setitimer(signal.ITIMER_REAL, *before)
    assert signal.signal(signal.SIGALRM, handler) is stop
    assert time.monotonic() - began < 10
    assert (log.events, client.outage) == ([], None)


def byte_by_byte(peer: socket.socket, content: bytes, seconds: float) -> None:
    """Send it so, until the other side has had enough."""
    with peer, contextlib.suppress(OSError):
        peer.settimeout(seconds)
        for position in range(len(content)):
            peer.sendall(content[position : position + 1])
            with contextlib.suppress(TimeoutError):
                if not peer.recv(65536):
                    return


def test_a_deadline_holds_in_a_handshake_of_a_byte_now_and_then():
    handshake = b"\x16\x03\x03\x40\x00" + bytes(16_000)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = settings_for(listener.getsockname()[1], api_ssl=True, api_total_seconds=0.5)
        accepted = threading.Thread(
            target=lambda: byte_by_byte(listener.accept()[0], handshake, 0.05)
        )
        accepted.start()
        reason, seconds = timed(ApiClient(settings), unanswered=False)
        accepted.join(20)
    assert not accepted.is_alive(), "the connection was closed"
    assert (reason, 0.4 < seconds < 10.0) == ("no connection in time", True)


def test_a_deadline_holds_while_a_name_is_looked_up(monkeypatch):
    let_go = threading.Event()

    def hang(*_: object, **__: object) -> list:
        let_go.wait(20)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    client = ApiClient(settings_for(80, api_host="slow.invalid", api_total_seconds=0.3))
    reason, seconds = timed(client, unanswered=False)
    let_go.set()
    assert (reason, 0.25 < seconds < 10.0) == ("no connection in time", True)


def test_no_thread_or_descriptor_is_left_behind_by_deadlines(api, clock):
    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    settings = settings_for(api.port, api_total_seconds=1.0, processing_period_minutes=1)
    before = held()
    client = ApiClient(settings, steady=clock)
    api.answer(Behaviour(fault="trickle", trickle_seconds=0.2))  # a status line takes 4 s
    for _ in range(3):
        assert post(client, ONE, result()).cause == "late"
    client.close()
    until(lambda: held() <= before)


@pytest.mark.parametrize("interim", [(100,), (102,), (103, 103), (100, 102, 103)])
def test_answers_before_the_answer_are_passed_over(api, client, interim):
    api.answer(Behaviour(interim=interim))
    assert [post(client, ONE, result(n)).outcome for n in range(3)] == ["accepted"] * 3
    api.answer(Behaviour(404, interim=interim))
    assert [post(client, ONE, result(n)).status for n in range(3)] == [404] * 3
    assert (api.connections, len(api.posts)) == (1, 6)


def test_nobody_asked_for_another_protocol(api, client):
    api.answer(Behaviour(101))
    answer = post(client, ONE, result())
    assert (answer.outcome, answer.status, answer.cause) == ("later", None, "cut")


def test_a_status_counts_whatever_the_headers_after_it_say(api, client):
    for header in ({"Content-Length": "5, 6"}, {"Transfer-Encoding": "chunked"}):
        api.answer(Behaviour(200, header, fault="cut_body"))
        assert post(client, ONE, result()).outcome == "accepted", header


def test_the_tix_api_is_asked_before_two_silent_installations_are_taken_for_all(api, client):
    api.unknown = {(1, 11), (2, 12)}
    quick, tally = ApiClient(replace(settings_for(api.port), api_read_seconds=2.0)), Counter()
    with heard() as log:
        outcomes = [post(quick, who, result(), tally).outcome for who in (ONE, OTHER, THIRD, ONE)]
    quick.close()
    assert outcomes == ["later", "later", "accepted", "later"]
    assert log.events == [("warning", "result_unanswered")] * 2, "once an hour each"
    assert api.questions == 1
    assert tally == {"posts_unanswered": 3, "posts_accepted": 1}


def test_three_users_that_the_tix_api_refuses_stop_no_other_unless_it_refuses_us(api):
    refused = (Installation(n, 10 + n, f"/reports/{n}/{10 + n}") for n in (4, 5, 6))
    api.answer(lambda user, *_: Behaviour(403 if user > 3 else 200))
    client = ApiClient(settings_for(api.port))
    assert {post(client, who, result()).outcome for who in refused} == {"unauthorised"}
    assert (post(client, ONE, result()).outcome, api.questions) == ("accepted", 1)
    api.role = "viewer"
    assert {post(client, who, result()).status for who in (ONE, OTHER, THIRD)} == {403}
    assert post(client, ONE, result()).outcome == "skipped"
    assert client.outage == (
        "the tix-api does not let our user post (HTTP 403 Forbidden): TIX_API_USER must be an admin"
    )
    assert api.questions == 2
    client.close()


def test_what_one_installation_meets_is_told_once_an_hour(api, client, clock):
    client, tally = ApiClient(settings_for(api.port), clock=clock, steady=clock), Counter()
    with heard() as log:
        for status in (500, 500, 404, 404, 502, 408):
            api.answer(Behaviour(status))
            post(client, ONE, result(), tally)
        clock.now += 3600
        post(client, OTHER, result(), tally)
    client.close()
    assert [event for _, event in log.events] == ["result_failed", "result_refused"]
    assert tally == {"posts_failed": 3, "posts_refused": 2, "posts_delayed": 2}


def test_the_log_says_that_a_redirect_is_not_followed(api, client, clock):
    api.answer(Behaviour(301, body=b"no"))
    with heard() as log:
        post(client, ONE, result(), Counter())
    hint = "redirects are not followed: correct TIX_API_HOST, TIX_API_PORT, TIX_API_SSL"
    assert f"HTTP 301 Moved Permanently ({hint}): no" in log.text


def test_the_log_has_the_words_of_the_tix_api_on_one_line(api, client, caplog):
    api.answer(Behaviour(500, body=b'{"error":\n"no AS"}'))
    post(client, ONE, result())
    (line,) = [record for record in caplog.records if record.getMessage() == "result_failed"]
    reason = line.values["reason"]
    assert reason == 'HTTP 500 Internal Server Error: {"error": "no AS"}'
