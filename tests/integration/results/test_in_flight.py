"""Requests in flight: many at a time, each with its own deadline."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.program import until
from tests.support.results import ONE, result, settings_for
from tests.support.stand_in_api import Behaviour, StandInApi
from tixd.reports.model import Installation
from tixd.results.client import ApiClient
from tixd.results.in_flight import HELD_UP_SECONDS, MAX_ABANDONED, InFlight
from tixd.results.response import PostOutcome, Request

MANY = [Installation(n, n, f"/reports/{n}/{n}") for n in range(1, 17)]
QUESTION = Request("/api/user/current", None, {"Authorization": "Basic dGl4OnNlY3JldA=="})


@pytest.fixture
def in_flight(api: StandInApi) -> Iterator[InFlight]:
    """Requests to the stand-in that have a minute."""
    in_flight = InFlight(settings_for(api.port), 16)
    yield in_flight
    in_flight.close()


def wait(in_flight: InFlight) -> dict[int, PostOutcome]:
    """The outcomes that come next."""
    poll = select.poll()
    poll.register(in_flight.fd, select.POLLIN)
    while not (ended := dict(in_flight.outcomes())):
        poll.poll(1000 * (in_flight.seconds_left() or 0.0) + 1)
    return ended


def started(client: ApiClient, installation: Installation, in_flight: InFlight) -> None:
    """Start the post of a result; its key is the user."""
    request = next(client.post(installation, result(), Counter()))
    in_flight.start(installation.user_id, request)


def test_sixteen_posts_wait_together_over_sixteen_kept_connections(api, client, in_flight):
    for _ in range(2):
        api.answer(Behaviour(fault="held"))
        for installation in MANY:
            started(client, installation, in_flight)
        until(lambda: len(api.held) == 16)
        api.let_go()
        ended = {}
        while len(ended) < 16:
            ended |= wait(in_flight)
        assert {key: answer.outcome for key, answer in ended.items()} == dict.fromkeys(
            range(1, 17), "accepted"
        )
    assert api.connections == 16


def test_a_request_that_hangs_delays_no_other_and_ends_at_its_deadline(api, in_flight):
    api.answer(lambda user, *_: Behaviour(fault="silent" if user == 1 else ""))
    client = ApiClient(settings_for(api.port))
    request = next(client.post(MANY[0], result(), Counter()))
    in_flight.start(1, Request(request.path, request.body, request.headers, seconds=3.0))
    started(client, MANY[1], in_flight)
    assert wait(in_flight)[2].outcome == "accepted"
    assert wait(in_flight)[1].cause == "late"
    assert in_flight.seconds_left() is None
    client.close()


def test_after_a_process_was_stopped_answers_that_have_come_meanwhile_count(api, client, in_flight):
    api.answer(Behaviour(fault="held"))
    request = next(client.post(ONE, result(), Counter()))
    in_flight.start(1, Request(request.path, request.body, request.headers, seconds=0.01))
    until(lambda: api.held)
    stopped_until = time.monotonic() + HELD_UP_SECONDS + 0.1
    until(lambda: time.monotonic() > stopped_until)
    assert list(in_flight.outcomes()) == []
    api.let_go()
    assert wait(in_flight)[1].outcome == "accepted"


def test_requests_that_end_while_others_are_taken_wait_for_their_turn(in_flight):
    """Or a caller whose requests end at once would do nothing else."""
    poll = select.poll()
    poll.register(in_flight.fd, select.POLLIN)
    in_flight.start(1, QUESTION)
    for number in range(2, 5):
        poll.poll()
        for key, outcome in in_flight.outcomes():
            assert (key, outcome.status) == (number - 1, 200)
            in_flight.start(number, QUESTION)
            poll.poll()
    assert list(wait(in_flight)) == [4]


def test_a_thread_that_cannot_be_had_fails_one_request_and_no_later_one(in_flight, monkeypatch):
    def exhausted(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as lacking:
        lacking.setattr(threading.Thread, "start", exhausted)
        with pytest.raises(RuntimeError):
            in_flight.start(1, QUESTION)
    in_flight.start(2, QUESTION)
    assert wait(in_flight)[2].status == 200


def test_an_exception_in_a_thread_is_raised_where_the_caller_waits(api, client, monkeypatch):
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(socket, "getaddrinfo", exhausted)
    with pytest.raises(MemoryError):
        client.ask("/api/user/current")


def test_threads_that_a_name_look_up_holds_are_few(api, monkeypatch):
    hanging = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: hanging.wait(60) and [])
    in_flight = InFlight(settings_for(api.port, api_total_seconds=0.001), 16)
    before = set(threading.enumerate())
    for key in range(MAX_ABANDONED + 10):
        in_flight.start(key, QUESTION)
        assert wait(in_flight)[key].cause == "connect_time"
    assert len(set(threading.enumerate()) - before) == MAX_ABANDONED
    hanging.set()
    until(lambda: set(threading.enumerate()) <= before)
    in_flight.close()


def test_what_is_in_flight_when_all_is_closed_leaves_nothing_behind(api, client):
    in_flight = InFlight(settings_for(api.port), 16)
    before = set(threading.enumerate())
    api.answer(Behaviour(fault="silent"))
    started(client, ONE, in_flight)
    until(lambda: api.heads)
    in_flight.close()
    until(lambda: set(threading.enumerate()) <= before)
