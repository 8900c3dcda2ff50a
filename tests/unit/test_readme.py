"""The README: its order, its commands, and what it says of the code."""

from __future__ import annotations

import re

import pytest

from tests.support.manual_pages import ROOT, page, section
from tixd import cli


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_stands_in_the_list_of_use(command):
    assert re.search(rf"^tixd {command}\b", section("README", "Use"), re.MULTILINE)


def test_no_command_is_told_of_that_does_not_exist():
    named = set(re.findall(r"^tixd ([a-z][a-z-]*)", section("README", "Use"), re.MULTILINE))
    assert named == set(cli.COMMANDS)


def test_the_two_commands_are_there_and_can_be_run():
    for name in re.findall(r"^\./(scripts/\w+)", section("README", "Two commands"), re.MULTILINE):
        assert (ROOT / name).stat().st_mode & 0o111, name


def test_sections_stand_in_the_order_that_readers_need():
    titles = re.findall(r"^## (.*)$", page("README"), re.MULTILINE)
    order = ["Two commands", "Use", "Run it: systemd", "Run it: Docker", "Moving over"]
    order += ["The path of a report", "What differs from tix-time-processor"]
    order += ["Usage: two estimators", "The collector", "Many hosts"]
    order += ["Where packets come from: IP to AS"]
    order += ["Settings", "Watching it, and when it goes wrong"]
    order += ["Measured", "Developing", "Release notes"]
    assert titles == order
