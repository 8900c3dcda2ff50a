"""tixd.service and the samples: what systemd reads, and that it agrees with the program."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from tixd import errors, values

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "tixd.service"
SAMPLES = sorted((ROOT / "tixd" / "samples").glob("tixd-asn.*"))


@pytest.fixture
def service() -> configparser.SectionProxy:
    """The [Service] section."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read(UNIT)
    return unit["Service"]


def test_a_wrong_configuration_is_not_tried_again_and_again(service):
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == str(errors.ConfigError.exit_code)


def test_the_unit_sets_only_variables_that_are_settings(service):
    variable, _, _ = service["Environment"].partition("=")
    assert variable in {field.metadata["env"] for field in values.FIELDS.values()}


def test_systemd_finds_nothing_wrong_with_the_units():
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("no systemd-analyze here")
    done = subprocess.run([analyze, "verify", UNIT, *SAMPLES], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_sample_timer_starts_the_sample_service_which_makes_a_table():
    assert [sample.name for sample in SAMPLES] == ["tixd-asn.service", "tixd-asn.timer"]
    assert "/usr/bin/env tixd asn build " in SAMPLES[0].read_text()
