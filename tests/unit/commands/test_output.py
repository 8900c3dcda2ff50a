"""What commands print: tables that cut no number, counts and columns."""

from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from tixd.commands import output


@pytest.mark.parametrize("columns", [10, 80, 200])
def test_no_cell_of_a_table_is_cut_on_a_terminal_of_any_width(columns):
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=columns, soft_wrap=True)
    table = output.number_table(["name"], [f"heading {n}" for n in range(8)])
    table.add_row("a/long/name", *(f"0.{n}2345678" for n in range(8)))
    output.print_table(console, table)
    assert "…" not in shown.getvalue()
    assert all(f"0.{n}2345678" in shown.getvalue() for n in range(8))


def test_columns_are_as_wide_as_their_widest_word(capsys):
    output.print_columns([("setting", "value"), ("a", "x y"), ("longer name", "")])
    assert capsys.readouterr().out == "setting      value\na            x y\nlonger name\n"


def test_only_counts_that_are_not_zero_are_told_in_the_order_of_the_words():
    words = {"b": "second thing", "a": "first thing", "c": "nothing"}
    found = list(output.count_lines({"a": 1, "b": 2000, "c": 0}, words))
    assert found == ["    2,000  second thing", "        1  first thing"]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_in_csv_is_a_formula_to_a_spreadsheet(capsys, first):
    output.print_csv(["name", "value"], [[f'{first}cmd|"x"', -1.5], [None, "a,b"]])
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out, newline="")))
    assert rows == [["name", "value"], [f'\'{first}cmd|"x"', "-1.5"], ["", "a,b"]]
