"""The README's tables say what the code does (architecture: README order, habit 13)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.promql import alerts
from tixd import cli, errors

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tixd").rglob("*.py"))


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    assert found, f"no section {title}"
    return found[1]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_stands_in_the_list_of_use(command):
    assert re.search(rf"^tixd {command}\b", section("Use"), re.MULTILINE)


def test_no_command_is_told_of_that_does_not_exist():
    named = set(re.findall(r"^tixd ([a-z][a-z-]*)", section("Use"), re.MULTILINE))
    assert named == set(cli.COMMANDS)


def test_every_event_in_the_table_of_troubles_is_one_that_is_logged():
    table = section("When it goes wrong")
    named = {
        word for line in table.splitlines() for word in re.findall(r"`([a-z]+_[a-z_]+)`", line)
    }
    assert {word for word in named if f'"{word}"' not in CODE} == set()
    assert len(named) > 10


def test_every_exit_code_of_an_error_has_its_row():
    rows = set(re.findall(r"^\| ([0-3]) \|", section("Signals and exit codes"), re.MULTILINE))
    codes = {str(e.exit_code) for e in vars(errors).values() if hasattr(e, "exit_code")}
    assert rows == {"0", "1", "2", "3"} >= codes


def test_every_signal_that_is_listened_to_has_its_row():
    table = section("Signals and exit codes")
    listened = set(re.findall(r"signal\.(SIG(?:TERM|INT|HUP|USR1|USR2))", CODE))
    assert {name for name in listened if name not in table} == set()


def test_the_alerts_that_page_are_those_of_the_rules():
    rows = re.findall(r"^\| (Tixd\w+) \|", section("Watching it"), re.MULTILINE)
    assert rows == [rule["alert"] for rule in alerts() if rule["labels"]["severity"] == "page"]


def test_the_two_commands_are_there_and_can_be_run():
    for name in re.findall(r"^\./(scripts/\w+)", section("Two commands"), re.MULTILINE):
        assert (ROOT / name).stat().st_mode & 0o111, name


def test_sections_stand_in_the_order_that_readers_need():
    titles = re.findall(r"^## (.*)$", README, re.MULTILINE)
    order = ["Two commands", "Use", "Run it: systemd", "Run it: Docker", "Moving over"]
    order += ["The path of a report", "What differs from tix-time-processor"]
    order += ["Usage: two estimators", "The collector", "Many hosts"]
    order += ["Where packets come from: IP to AS"]
    order += ["Settings", "Signals and exit codes", "Watching it", "When it goes wrong"]
    order += ["Measured", "Developing", "Release notes"]
    assert titles == order
