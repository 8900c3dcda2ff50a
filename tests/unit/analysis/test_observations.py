"""Which observations of a window count, and in which order."""

from __future__ import annotations

import numpy as np

from tests.support.windows import jitter, of_kind, shuffled, window
from tixd.analysis.observations import LONG, OBSERVATION, SHORT, short_packets

ROWS = window(jitter(1, 50))


def listed(rows: np.ndarray) -> list[list[int]]:
    columns = short_packets(rows)
    return np.vstack((columns.second, columns.times)).T.tolist()


def test_a_row_on_the_wire_is_45_bytes_of_big_endian_numbers():
    wire = bytes.fromhex("000000000000000753000000400000000000000001") + bytes(24)
    row = np.frombuffer(wire, OBSERVATION)[0]
    assert (OBSERVATION.itemsize, row["second"], row["kind"]) == (45, 7, SHORT)
    assert (row["size"], row["t1"], row["t4"]) == (64, 1, 0)


def test_rows_in_order_are_kept_as_they_are():
    assert listed(ROWS) == [[row[0], *row[3:]] for row in ROWS.tolist()]


def test_order_of_arrival_does_not_matter():
    assert listed(shuffled(ROWS)) == listed(ROWS)


def test_an_observation_that_comes_twice_counts_once():
    assert listed(np.concatenate([ROWS, ROWS[10:20]])) == listed(ROWS)
    assert listed(np.repeat(ROWS, 2)) == listed(ROWS)


def test_only_short_packets_count():
    others = [of_kind(ROWS, kind) for kind in (LONG, ord("s"), 0)]
    assert listed(np.concatenate([*others, ROWS])) == listed(ROWS)
    assert listed(of_kind(ROWS, LONG)) == []


def test_rows_that_differ_in_size_alone_are_two():
    twins = np.repeat(ROWS[:1], 2)
    twins["size"] = 64, 63
    assert len(listed(twins)) == 2


def test_each_column_in_its_turn_decides_the_order():
    rows = np.repeat(ROWS[:1], 6)
    for i, name in enumerate(("t4", "t3", "t2", "t1", "second")):
        rows[name][i + 1] = rows[name][0] - 1  # comes before all that is equal so far
    assert listed(rows)[::-1] == [[row[0], *row[3:]] for row in rows.tolist()]
