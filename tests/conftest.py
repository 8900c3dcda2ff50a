"""What tests of several folders ask for by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.broker import Broker

#: Programs, which read their environment when they start.
collect_ignore = ["support/original"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A RabbitMQ of the module's own, which takes connections."""
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker
