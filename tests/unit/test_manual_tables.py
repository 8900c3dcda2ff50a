"""The tables of the manual that are made from the code say what the code says."""

from __future__ import annotations

import pytest

from tests.support import manual_tables
from tixd.config.values import COLLECTOR, PROCESSING


@pytest.mark.parametrize("name", manual_tables.TABLES)
def test_a_table_in_the_manual_is_the_one_that_the_code_makes(name):
    _, table, _ = manual_tables.parts(name)
    made = manual_tables.TABLES[name][1]()
    assert table == made, "run: .venv/bin/python -m tests.support.manual_tables"


def test_the_table_of_settings_has_a_row_for_every_setting():
    table = manual_tables.settings_table()
    assert table.count("\n") == len(PROCESSING.fields) + 1
    assert "| `TIX_WORKERS` | `workers` | `0` | processes |" in table
    assert "| `TIX_RABBITMQ_PASS` | `rabbitmq.password` | `guest` |" in table


def test_the_table_of_the_collectors_settings_has_a_row_for_every_setting():
    table = manual_tables.collector_settings_table()
    assert table.count("\n") == len(COLLECTOR.fields) + 1
    assert "| `timeout` | `GRACC_TIMEOUT` | `60s` |" in table
