"""`tixd sample`: what is printed is what lies in the package, and fits where it is put."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tixd.commands.sample import ANYWHERE, SAMPLES, command

FOLDER = Path(__file__).parents[3] / "tixd" / "samples"


def printed(*arguments: str) -> str:
    """What the command says."""
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_file_of_the_package_is_a_sample_with_its_place_and_purpose():
    assert {file.name for file in FOLDER.iterdir()} == set(SAMPLES)
    listed = printed().splitlines()
    assert [line.split()[0] for line in listed] == list(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_printed_as_it_lies_in_the_package(name, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/odd folder/tixd"])
    assert printed(name) == (FOLDER / name).read_text()


def test_a_unit_names_the_program_by_the_path_by_which_it_was_called(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/tixd/bin/tixd"])
    text = printed("tixd.service")
    assert "\nExecStart=/opt/tixd/bin/tixd" in text
    assert ANYWHERE not in text


def test_an_unknown_sample_is_answered_with_those_that_there_are():
    done = CliRunner().invoke(command, ["tixd.servise"])
    assert done.exit_code == 2
    assert "'tixd-asn.timer'" in done.output
