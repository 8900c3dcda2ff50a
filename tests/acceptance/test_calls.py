"""What a window costs in system calls, requests and connections: guards of speed without a clock.

A window of 19 reports is read once and its first 9 reports are deleted; each further window needs
9 more reports. A number here changes only together with the code that it counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.calls import calls_of_once
from tests.support.made import START, installation
from tests.support.stand_in_api import StandInApi
from tixd.config.settings import Settings

#: Reports of an installation with one window, and with three.
ONE, THREE = 19, 37

#: Calls for an installation with one window, from the listing to the deletions.
INSTALLATION = {
    "open": 31,
    "scandir": 1,
    "fstat": 24,
    "stat": 1,
    "utime": 1,
    "flock": 1,
    "read": ONE,
    "pread": 2,
    "pwrite": 4,
    "unlink": 9,
    "close": 26,
}

#: Calls for each further window of an installation.
FURTHER = {"open": 9, "fstat": 9, "read": 9, "pwrite": 2, "unlink": 9, "close": 9}

Cycle = Callable[[int, int], tuple[Counter[str], StandInApi]]


@pytest.fixture(scope="module")
def cycle(tmp_path_factory: pytest.TempPathFactory) -> Cycle:
    """Runs `tixd once` over so many installations of so many reports each."""

    def run(installations: int, reports: int) -> tuple[Counter[str], StandInApi]:
        base, state = tmp_path_factory.mktemp("reports"), tmp_path_factory.mktemp("state")
        for number in range(1, installations + 1):
            installation(base, START, reports, number=number)
        with StandInApi() as api:
            return calls_of_once(base, state, api.port), api

    return run


@pytest.fixture(scope="module")
def smallest(cycle: Cycle) -> Counter[str]:
    """The calls for one installation with one window."""
    return cycle(1, ONE)[0]


def share(calls: Counter[str], smaller: Counter[str], parts: int) -> dict[str, float]:
    """What each of the parts that a cycle has more than a smaller one costs."""
    more = {name: count - smaller[name] for name, count in calls.items()}
    return {name: count / parts for name, count in more.items() if count}


def test_an_installation_with_a_window_takes_no_more_calls_than_it_did(cycle, smallest):
    calls, api = cycle(3, ONE)
    assert share(calls, smallest, 2) == INSTALLATION
    assert len(api.posts) == len(api.accepted) == 3


def test_a_further_window_takes_no_more_calls_than_it_did(cycle, smallest):
    calls, api = cycle(1, THREE)
    assert share(calls, smallest, 2) == FURTHER
    assert (len(api.posts), api.questions, api.connections) == (3, 0, 1)


def test_posts_of_many_installations_share_the_connections_of_those_in_flight(cycle):
    in_flight = Settings().posts_in_flight
    _, api = cycle(in_flight + 8, ONE)
    assert len(api.posts) == in_flight + 8
    assert 1 <= api.connections <= in_flight
