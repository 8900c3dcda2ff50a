"""A client of the tix-api against the stand-in, on a clock that a test moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.results import settings_for
from tests.support.stand_in_api import StandInApi
from tixd.results.client import ApiClient


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def api() -> Iterator[StandInApi]:
    """A tix-api that takes everything."""
    with StandInApi(user="tix", password="secret") as api:
        yield api


@pytest.fixture
def clock() -> Clock:
    """The clock of the client."""
    return Clock()


@pytest.fixture
def client(api: StandInApi, clock: Clock) -> Iterator[ApiClient]:
    """A client of it, on a clock of the test's."""
    client = ApiClient(settings_for(api.port), steady=clock)
    yield client
    client.close()
