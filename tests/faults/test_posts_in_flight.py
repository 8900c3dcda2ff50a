"""A tix-api that hangs, is slow, resets or cuts, while two workers have many posts in flight.

What must be seen each time: installations that it treats well go on, nothing is lost, what is
repeated was in flight, at most one post of an installation, and windows come in their order.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import made
from tests.support.ledger import Ledger, at_api, kept, set_back_pauses
from tests.support.program import once, until
from tests.support.relay import Relay
from tests.support.service import SHORT, service
from tests.support.stand_in_api import Behaviour, StandInApi

START = 1_700_000_000

#: Users, each with one installation of two windows; of ten, one meets the fault.
USERS = range(1, 41)
UNLUCKY = {user for user in USERS if user % 10 == 0}

WINDOWS = 2
ALL = len(USERS) * WINDOWS

TWO = {"TIX_WORKERS": "2"}

#: Deadlines that nothing reaches in a test.
PATIENT = {"TIX_API_READ_SECONDS": "600", "TIX_API_TOTAL_SECONDS": "600"}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installations, never touched."""
    base = tmp_path_factory.mktemp("posts") / "base"
    for user in USERS:
        made.installation(base, START, 28, user=user)
    return base


@pytest.fixture
def base(tmp_path: Path, original: Path) -> Path:
    """A copy of them."""
    shutil.copytree(original, tmp_path / "base", copy_function=os.link)
    return tmp_path / "base"


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A tix-api that takes everything until told otherwise."""
    with StandInApi() as server:
        yield server


def only_unlucky(behaviour: Behaviour, api: StandInApi) -> None:
    """Answer one installation in ten so."""
    api.answer(lambda user, *_: behaviour if user in UNLUCKY else Behaviour())


def posted(api: StandInApi, users: set[int]) -> int:
    """How many posts of these users were accepted."""
    return sum(post.user in users for post in api.accepted)


def posted_in_order(api: StandInApi) -> None:
    """Fail where a window of an installation was first seen before an earlier one."""
    first_seen = list(dict.fromkeys(at_api(api)))
    for user in USERS:
        times = [timestamp for of, _, timestamp in first_seen if of == user]
        assert times == sorted(times)


def repeated_at_most_once(api: StandInApi) -> None:
    """Fail where more than one post of an installation was repeated, or one more than once."""
    extra = Counter({key: times - 1 for key, times in Counter(at_api(api)).items()})
    assert all(n <= 1 for n in Counter(user for user, *_ in extra.elements()).values())


def test_the_others_go_on_while_one_installation_in_ten_hangs(tmp_path, base, api):
    ledger = Ledger(base, api)
    only_unlucky(Behaviour(fault="held"), api)
    with service(base, tmp_path / "state", api.port, **TWO, **PATIENT) as daemon:
        until(lambda: posted(api, {*USERS} - UNLUCKY) == ALL - len(UNLUCKY) * WINDOWS)
        until(lambda: len(api.held) == len(UNLUCKY))
        assert kept(base) == []
        assert daemon.log("result_unanswered") == [], "none has reached its deadline"
        api.let_go()
        until(lambda: len(api.accepted) == ALL)
        assert daemon.ends()[0] == 0
    ledger.settled()
    assert ledger.duplicates == 0
    posted_in_order(api)


@pytest.mark.alone
def test_installations_that_hang_do_not_make_the_tix_api_count_as_dead(base, api):
    ledger = Ledger(base, api)
    only_unlucky(Behaviour(fault="silent"), api)
    ended = once(base, api.port, TIX_WORKERS="1", TIX_API_READ_SECONDS="6")
    assert ended.events("api_unreachable") == []
    assert posted(api, {*USERS} - UNLUCKY) == ALL - len(UNLUCKY) * WINDOWS
    assert {user for user, *_ in kept(base)} == UNLUCKY
    api.answer(Behaviour())
    set_back_pauses(base)
    assert once(base, api.port).code == 0
    ledger.settled()
    assert ledger.duplicates == 0
    posted_in_order(api)


def test_a_slow_tix_api_gets_everything_once(tmp_path, base, api):
    ledger = Ledger(base, api)
    with Relay(api.port) as relay:
        relay.delay(0.1)
        with service(base, tmp_path / "state", relay.port, **TWO, **PATIENT) as daemon:
            until(lambda: len(api.accepted) == ALL)
            assert daemon.ends()[0] == 0
    ledger.settled()
    assert ledger.duplicates == 0
    posted_in_order(api)


def test_a_tix_api_that_cuts_one_installation_in_ten_stops_no_other(tmp_path, base, api):
    ledger = Ledger(base, api)
    only_unlucky(Behaviour(fault="store_then_cut"), api)
    with Relay(api.port) as relay:
        relay.delay(0.1)
        with service(base, tmp_path / "state", relay.port, **TWO, **PATIENT) as daemon:
            until(lambda: posted(api, {*USERS} - UNLUCKY) == ALL - len(UNLUCKY) * WINDOWS)
            until(lambda: len(kept(base)) == len(UNLUCKY) * WINDOWS)
            assert daemon.log("api_unreachable") == []
            assert daemon.ends()[0] == 0
    cut = len([post for post in api.posts if post.user in UNLUCKY])
    api.answer(Behaviour())
    set_back_pauses(base)
    assert once(base, api.port).code == 0
    ledger.settled()
    assert ledger.duplicates == cut
    posted_in_order(api)


def test_a_tix_api_that_resets_all_that_is_in_flight(tmp_path, base, api):
    ledger = Ledger(base, api)
    with Relay(api.port) as relay:
        relay.delay(0.1)
        options = {**TWO, **PATIENT, "TIX_PROCESSING_PERIOD": SHORT}
        with service(base, tmp_path / "state", relay.port, **options) as daemon:
            until(lambda: len(api.accepted) > ALL // 4)
            relay.reset()
            ledger.balance()
            until(lambda: set_back_pauses(base) or {*at_api(api)} == ledger.expected)
            until(lambda: kept(base) == [])
            assert daemon.ends()[0] == 0
    ledger.settled()
    repeated_at_most_once(api)
    assert ledger.duplicates <= 32, "16 in each worker"


def test_workers_killed_with_many_posts_in_flight_repeat_these_alone(tmp_path, base, api):
    ledger = Ledger(base, api)
    api.answer(lambda user, *_: Behaviour(fault="" if user <= 12 else "held"))
    with service(base, tmp_path / "state", api.port, **TWO, **PATIENT) as daemon:
        until(lambda: len(api.held) >= 18)  # 16 in one worker, and 2 or more in the other
        for pid in daemon.pids():
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(daemon.log("worker_ended")) == 2)
        in_flight = len(api.held)
        api.let_go()
        until(lambda: {*at_api(api)} == ledger.expected)
        assert daemon.log("installation_backed_off") == []
        assert daemon.ends()[0] == 0
    ledger.settled()
    repeated_at_most_once(api)
    assert 18 <= ledger.duplicates <= in_flight
    posted_in_order(api)
