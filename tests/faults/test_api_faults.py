"""Cases 20-22: the tix-api is down, refuses, stalls or cuts; then it is well again.

`tixd once` ends with 0 and a summary that tells the truth, nothing is lost, a dead tix-api costs
each worker one connection, or two posts that it does not answer, and everything kept goes out
oldest first once the pause has passed.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import made
from tests.support.chosen import few
from tests.support.ledger import Ledger, at_api, journal, kept, set_back_pauses
from tests.support.program import Ended, once, until
from tests.support.relay import Relay
from tests.support.service import SHORT, service
from tests.support.stand_in_api import Behaviour, StandInApi, closed_port
from tixd.results.backoff import Backoff

START = 1_700_000_000

#: Users of the scene, each with one installation, and windows of each.
USERS, WINDOWS = 4, 2

ALL = USERS * WINDOWS

#: Worker processes of a cycle that meets a fault.
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer, how many tries it may cost a cycle, and how many posts it may double.

    late: it does not come in time, so that deadlines decide.
    """

    behaviour: Behaviour
    fewest: int
    most: int
    duplicates: int = 0
    late: bool = False


FAULTS = {
    "500": Fault(Behaviour(500), ALL, ALL),
    "404": Fault(Behaviour(404), ALL, ALL),
    "a redirect": Fault(Behaviour(302, {"Location": "/elsewhere"}), ALL, ALL),
    "401": Fault(Behaviour(401), WORKERS, USERS),
    "silent": Fault(Behaviour(fault="silent"), 2, 2 * WORKERS, late=True),
    "stores, then cuts": Fault(Behaviour(fault="store_then_cut"), 2, 2 * WORKERS, 2 * WORKERS),
    "slow": Fault(
        Behaviour(fault="trickle", trickle_seconds=0.9), 2, 2 * WORKERS, 2 * WORKERS, late=True
    ),
}

#: Deadlines for what is late: far below the minute that a slow answer takes in all.
SOON = {
    "TIX_API_CONNECT_SECONDS": "1",
    "TIX_API_READ_SECONDS": "1",
    "TIX_API_TOTAL_SECONDS": "1.5",
}

#: A service whose cycles come quickly.
PERIODIC = {"TIX_PROCESSING_PERIOD": SHORT, "TIX_WORKERS": str(WORKERS)}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The scene."""
    for user in range(1, USERS + 1):
        made.installation(tmp_path, START, 10 + 9 * WINDOWS, user=user)
    return tmp_path


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A tix-api that takes everything until told otherwise."""
    with StandInApi(user="tix", password="secret") as server:
        yield server


def pauses(base: Path) -> dict[Path, Backoff]:
    """What the journals of all installations say of their pauses."""
    return {path: journal(path).backoff for path in base.glob("*/*")}


def failures(base: Path) -> dict[Path, int]:
    """How often each installation has failed in a row."""
    return {path: pause.failures for path, pause in pauses(base).items()}


def everything_was_kept(ended: Ended, ledger: Ledger, base: Path) -> None:
    """The summary tells it, and the files are there: valid and distinct."""
    assert ended.code == 0
    assert ended.counts == {"windows_stored": ALL, "reports_deleted": ALL * 9}
    assert len(kept(base)) == len(set(kept(base))) == ALL
    ledger.balance()


def drained(base: Path, api: StandInApi, ledger: Ledger) -> Ended:
    """The tix-api is well, the pauses have passed: all goes out, oldest first."""
    api.answer(Behaviour())
    set_back_pauses(base)
    before = len(api.posts)
    ended = once(base, api.port)
    assert ended.counts == {"results_reposted": ALL}
    for user in range(1, USERS + 1):
        times = [p.body["timestamp"] for p in api.posts[before:] if p.user == user]
        assert times == sorted(times), "oldest first"
    ledger.settled()
    return ended


@pytest.mark.parametrize(
    "name",
    [
        *few([n for n in FAULTS if n != "silent"], "500", "401", "stores, then cuts"),
        pytest.param("silent", marks=pytest.mark.alone),
    ],
)
def test_what_the_tix_api_does_not_take_is_kept_and_posted_later(base, api, name):
    fault, ledger = FAULTS[name], Ledger(base, api)
    api.answer(fault.behaviour)
    ended = once(base, api.port, TIX_WORKERS=str(WORKERS), **SOON if fault.late else {})
    assert time.monotonic() - api.posts[0].at < 10, "deadlines hold"
    everything_was_kept(ended, ledger, base)
    assert fault.fewest <= len(api.posts) <= fault.most
    drained(base, api, ledger)
    assert ledger.duplicates <= fault.duplicates


def test_a_tix_api_that_is_down_is_named_once_by_each_worker(base, api):
    ledger = Ledger(base, api)
    ended = once(base, closed_port(), TIX_WORKERS=str(WORKERS))
    everything_was_kept(ended, ledger, base)
    assert 1 <= len(ended.events("api_unreachable")) <= WORKERS
    drained(base, api, ledger)
    assert ledger.duplicates == 0


def test_a_tix_api_that_never_answers_costs_each_worker_two_posts_and_a_question(base):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as dead:
        ended = once(base, dead.getsockname()[1], TIX_WORKERS=str(WORKERS), **SOON)
        dead.setblocking(False)
        tries = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                dead.accept()[0].close()
                tries += 1
    assert ended.counts["windows_stored"] == ALL
    assert 3 <= tries <= 3 * WORKERS
    assert 1 <= len(ended.events("api_unreachable")) <= WORKERS


@pytest.mark.parametrize("name", few(["silent", "500", "refused"], "silent"))
def test_a_service_tries_a_dead_tix_api_a_little_and_drains_when_it_is_well(
    tmp_path, base, api, name
):
    ledger = Ledger(base, api)
    api.answer(FAULTS.get(name, FAULTS["silent"]).behaviour)
    with Relay(api.port) as relay:
        (relay.refuse if name == "refused" else relay.pass_on)()
        with service(base, tmp_path, relay.port, **SOON, **PERIODIC) as running:
            until(lambda: len(kept(base)) == ALL and len(running.log("cycle_scanned")) >= 4)
            cycles, fresh = len(running.log("cycle_scanned")), ALL if name == "500" else 0
            assert len(api.posts) <= fresh + WORKERS * (2 + cycles)
            assert len(running.log("api_unreachable")) <= WORKERS
            api.answer(Behaviour())
            relay.pass_on()
            until(lambda: set_back_pauses(base) or not kept(base))
    ledger.settled()


def test_results_wait_as_long_as_the_tix_api_asks_for(base, api):
    ledger = Ledger(base, api)
    api.answer(Behaviour(429, {"Retry-After": "1800"}))
    everything_was_kept(once(base, api.port), ledger, base)
    assert all(pause.not_before > time.time() + 1700 for pause in pauses(base).values())
    tried = len(api.posts)
    assert once(base, api.port).counts == {"results_waiting": len(kept(base))}
    assert len(api.posts) == tried, "nothing is tried before the pause has passed"
    drained(base, api, ledger)


def test_three_refused_users_pause_everything_with_one_alarm(tmp_path, api):
    for user in range(1, 9):
        made.installation(tmp_path, START, 19, user=user)
    api.answer(Behaviour(403))
    ended = once(tmp_path, api.port)
    assert ended.counts["windows_stored"] == 8
    assert 3 <= len(api.posts) <= 4, "one may be in flight when the third is refused"
    assert len(ended.events("api_credentials_refused")) == 1


def test_without_credentials_everything_is_kept_and_nothing_is_tried(base, api):
    ledger = Ledger(base, api)
    everything_was_kept(once(base, api.port, TIX_API_PASSWORD=""), ledger, base)
    assert (api.connections, api.posts) == (0, [])
    drained(base, api, ledger)


def test_pauses_grow_while_the_tix_api_fails_and_reset_when_it_is_well(base, api):
    api.answer(Behaviour(503))
    ledger = Ledger(base, api)
    assert once(base, api.port).code == 0
    first = failures(base)
    # The pause is drawn: it may be over before the second window of the installation is posted.
    assert {*first.values()} <= {*range(1, WINDOWS + 1)}
    set_back_pauses(base)
    before = len(api.posts)
    assert once(base, api.port).code == 0
    assert failures(base) == {path: count + 1 for path, count in first.items()}
    # And one more, which tells a result that the tix-api fails over from one that fails.
    assert len(api.posts) - before == USERS + 1, "one try each, no flood"
    drained(base, api, ledger)
    assert {*failures(base).values()} == {0}


def test_a_result_refused_three_times_is_parked_and_not_deleted(tmp_path, api):
    api.answer(lambda user, *_: Behaviour(422 if user == 9 else 200))
    made.installation(tmp_path, START, 19, user=9)
    expected = Ledger(tmp_path, api).expected
    counts = []
    for cycle in range(5):
        made.installation(tmp_path, START + 100_000 * cycle, 19, user=1)
        # One at a time: a refusal counts only after another installation's result was accepted.
        counts.append(once(tmp_path, api.port, TIX_POSTS_IN_FLIGHT="1").counts)
    assert [c.get("results_refused", 0) for c in counts] == [0, 1, 1, 1, 0]
    assert [c.get("results_rejected", 0) for c in counts] == [0, 0, 0, 1, 0]
    assert set(kept(tmp_path)) == expected, "the parked result is still there"
    assert expected.isdisjoint(at_api(api))
