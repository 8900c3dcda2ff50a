"""Networks compared: quartiles of the last results of their installations."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Iterator

import numpy as np
import pytest

from tests.support.filled_history import Filling, fill
from tests.support.histories import PARTS, seen, told
from tixd.history import store
from tixd.history.networks import COMPARED, MIN_INSTALLATIONS, networks, quartiles

FILLING = Filling(installations=83, days=0.1)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("history") / "h.sqlite"
    fill(path, FILLING)
    with contextlib.closing(store.open_for_reading(str(path))) as found:
        yield found


def test_quartiles_are_those_of_numpy():
    chance = random.Random(3)
    for count in (2, 3, 5, 17):
        values = [chance.random() for _ in range(count)]
        expected = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        assert quartiles(values) == pytest.approx(expected)
    assert quartiles([0.5]) is None


def test_each_network_has_the_quartiles_of_the_last_results_of_its_installations(file):
    found = networks(file, FILLING.end)
    assert {network.asn for network in found} == {64500, 64501, 64502, 64503, 64504}
    for network in found:
        rows = file.execute("SELECT * FROM installations WHERE asn = ?", [network.asn]).fetchall()
        assert network.installations == len(rows)
        for name, value in zip(COMPARED, network.values, strict=True):
            known = [min(1, max(0, row[name])) for row in rows if row[name] is not None]
            assert value == pytest.approx(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))


def test_the_network_with_the_worst_quality_comes_first_and_of_equal_ones_the_busiest(file):
    found = [[each.median for each in n.values if each] for n in networks(file, FILLING.end)]
    order = [(min(quality), -max(usage)) for *usage, down, up in found for quality in [(down, up)]]
    assert order == sorted(order)


def test_few_installations_old_results_and_none_at_all_are_not_compared(tmp_path):
    path = str(tmp_path / "h.sqlite")
    with contextlib.closing(store.open_for_writing(path, PARTS)) as file:
        assert networks(file, 1_700_000_000) == []
        with store.transaction(file):
            users = range(1, MIN_INSTALLATIONS)
            PARTS[1].write(file, [told(user=user) for user in users] + [seen(user=99)])
        assert networks(file, 1_700_000_000) == []
        with store.transaction(file):
            PARTS[1].write(file, [told(user=MIN_INSTALLATIONS)])
        assert [n.installations for n in networks(file, 1_700_000_000)] == [MIN_INSTALLATIONS]
        assert networks(file, 1_700_000_000 + 2 * store.DAY_SECONDS) == []
