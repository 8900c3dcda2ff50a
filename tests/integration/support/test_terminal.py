"""The terminal of tests is one, has the width that was asked for, and finds broken words."""

from __future__ import annotations

import pytest

from tests.support.terminal import WIDTHS, Screen, screen


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_command_finds_a_terminal_of_the_width_that_was_asked_for(columns):
    seen = screen("manual", "releasing", columns=columns)
    assert (seen.code, seen.faults) == (0, [])
    assert "\x1b[" in seen.text, "rendered for a terminal"
    assert 30 < max(map(len, seen.lines)) <= columns


def test_what_goes_to_standard_error_and_the_exit_code_are_seen():
    seen = screen("nonsense")
    assert seen.code == 2
    assert "nonsense" in seen.lines[-1]


def test_a_word_that_the_edge_breaks_is_found_and_one_that_is_too_long_is_none():
    assert Screen("one two three\n", 0, 9).faults == ["one two three"]
    assert Screen("one two  three\n", 0, 9).faults == []
    assert Screen("a-word-that-is-long\n", 0, 9).faults == []
    assert Screen("cut her…\n", 0, 9).faults == ["cut her…"]
    assert Screen("one \x1b[1mtwo\x1b[0m\n", 0, 7).faults == []
