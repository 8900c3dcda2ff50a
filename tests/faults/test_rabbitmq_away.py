"""A broker that freezes, a network that swallows all or breaks off."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.broker import Broker
from tests.support.pools import alive
from tests.support.program import until
from tests.support.relay import Relay
from tests.support.site import PATIENCE, Answer, Site, held, open_messages, seconds_until, site

#: How soon a broker that has fallen silent must have been noticed.
NOTICED_SECONDS = 35.0


@pytest.fixture(scope="module")
def relay(broker: Broker) -> Iterator[Relay]:
    with Relay(broker.port) as relay:
        yield relay


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, broker: Broker, relay: Relay) -> Iterator[Site]:
    """A fleet that reaches its broker through the relay alone."""
    with site(tmp_path_factory.mktemp("site"), broker, relay.port) as both:
        both.works()
        yield both


def is_frozen(broker: Broker) -> bool:
    """Whether the kernel has stopped the broker's process."""
    return Path(f"/proc/{broker.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def silent(both: Site, user: int, answer: threading.Event) -> None:
    """Both roles notice the silence in time; the job in hand ends and its window is posted."""
    begun = time.monotonic()
    for role in both.roles:
        both.not_ready(role, "amqp://127.0.0.1")
    noticed_seconds = time.monotonic() - begun
    sys.stdout.write(f"silence noticed by both: {noticed_seconds:.1f} s\n")
    assert noticed_seconds < NOTICED_SECONDS
    answer.set()
    until(lambda: both.posts(user), PATIENCE)


def heard_again(both: Site, user: int) -> None:
    """Both roles work again; the job that ended meanwhile was not done twice."""
    seconds_until(lambda: both.ready() is None, "ready again")
    both.works()
    assert both.posts(user) == 1
    until(lambda: open_messages(both.worker) == 0, PATIENCE)


def in_hand(both: Site, answer: Answer) -> int:
    """A user whose window the worker is posting, to a tix-api that is held."""
    user = both.add()
    until(lambda: user in answer.users, PATIENCE)
    return user


def pass_seconds(seconds: float) -> None:
    """Let time pass: that is what these faults are made of."""
    threading.Event().wait(seconds)


def test_a_frozen_broker_is_noticed_and_holds_up_no_job_in_hand(both: Site) -> None:
    with held(both.api) as answer:
        user = in_hand(both, answer)
        both.broker.freeze()
        try:
            until(lambda: is_frozen(both.broker))
            silent(both, user, answer)
            assert alive(both.broker.pid)
        finally:
            both.broker.thaw()
    heard_again(both, user)


def test_a_connection_that_is_reset_again_and_again_comes_back(both, relay) -> None:
    before = relay.accepted
    for _ in range(2):
        relay.until_open(3)
        relay.reset()
    both.works()
    until(lambda: relay.accepted >= before + 2 * 3, PATIENCE)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", ["frozen broker", "black hole"])
def test_ninety_seconds_of_silence_lose_nothing(both, relay, fault) -> None:
    begin = {"frozen broker": both.broker.freeze, "black hole": relay.black_hole}
    end = {"frozen broker": both.broker.thaw, "black hole": relay.pass_on}
    with held(both.api) as answer:
        user = in_hand(both, answer)
        begin[fault]()
        try:
            silent(both, user, answer)
            users = [both.add() for _ in range(5)]
            pass_seconds(90)
        finally:
            end[fault]()
    heard_again(both, user)
    until(lambda: all(both.posts(user) for user in users), PATIENCE)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_five_minutes_of_resets_every_three_seconds_lose_nothing(broker, relay, tmp_path) -> None:
    # Connections that break so soon come back after up to 8 s: messages must live longer.
    with site(tmp_path / "site", broker, relay.port, TIX_PROCESSING_PERIOD="0.5") as both:
        reset_for_five_minutes(both, relay)


def reset_for_five_minutes(both: Site, relay: Relay) -> None:
    """A window comes and all connections break, 100 times; each window is posted once."""
    descriptors = [role.num_fds() for role in (psutil.Process(role.pid) for role in both.roles)]
    users = []
    for _ in range(100):
        users.append(both.add())
        pass_seconds(3)
        relay.reset()
    seconds_until(lambda: all(both.posts(user) for user in users), "all windows posted")
    both.ready()
    now = [role.num_fds() for role in (psutil.Process(role.pid) for role in both.roles)]
    more = [after - before for before, after in zip(descriptors, now, strict=True)]
    repeated = sum(both.posts(user) - 1 for user in users)
    sys.stdout.write(f"descriptors more: {more}, windows posted again: {repeated}\n")
    assert max(more) <= 2
    assert repeated == 0
