"""The README: short, in the order that readers need, and its commands are those of the code."""

from __future__ import annotations

import re

import pytest

from tests.support.manual_pages import ROOT, page, section
from tixd import cli

#: More is a manual.
MOST_LINES = 170


def test_the_readme_is_no_manual_of_its_own():
    assert len(page("README").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_stands_in_the_list_of_commands(command):
    assert re.search(rf"^tixd {command}\b", section("README", "Commands"), re.MULTILINE)


def test_no_command_is_told_of_that_does_not_exist():
    named = set(re.findall(r"^tixd ([a-z][a-z-]*)", section("README", "Commands"), re.MULTILINE))
    assert named == set(cli.COMMANDS)


def test_the_two_commands_are_there_and_can_be_run():
    names = re.findall(r"^\./(scripts/\w+)", section("README", "Two commands"), re.MULTILINE)
    assert len(names) == 2
    assert all((ROOT / name).stat().st_mode & 0o111 for name in names)


def test_sections_stand_in_the_order_that_readers_need():
    titles = re.findall(r"^## (.*)$", page("README"), re.MULTILINE)
    order = ["One result", "Two commands", "Install", "What you see then"]
    order += ["Coming from tix-time-processor", "Coming from gracc-collector"]
    order += ["Commands", "Two paths", "Manual", "Known limits", "Developing"]
    assert titles == order


def test_the_picture_of_the_tree_has_at_most_12_lines_of_what_is_there():
    lines = section("README", "Developing").partition("```\n")[2].partition("```")[0].splitlines()
    assert len(lines) <= 12
    for line in lines:
        first, *more = (word for word in line[:24].split() if "/" in word)
        assert (ROOT / first).exists(), first
        assert all((ROOT / first).parent.joinpath(name).exists() for name in more), line
