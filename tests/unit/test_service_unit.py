"""The units and what belongs to them: what systemd reads, and that it agrees with the program."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import debian
from tixd import errors
from tixd.config import environment
from tixd.config.settings import Settings
from tixd.config.values import COLLECTOR, PROCESSING

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tixd" / "samples"
UNIT, INSTANCE = ROOT / "tixd.service", SAMPLES / "tixd@.service"
DROP_INS = sorted(SAMPLES.glob("*.conf"))

#: The worst that `systemd-analyze security` may say: its scale goes from 0, nothing, to 10.
MOST_EXPOSURE = 2.0


def settings(unit: Path) -> list[tuple[str, str]]:
    """Every setting of a unit, in order."""
    lines = [line for line in unit.read_text().splitlines() if line and line[0] not in "#["]
    return [(name, text) for name, _, text in (line.partition("=") for line in lines)]


def setting(name: str, unit: Path = UNIT) -> str:
    """The only value of a setting."""
    [value] = [text for known, text in settings(unit) if known == name]
    return value


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says."""
    found = debian.program("systemd-analyze", "systemd")
    return subprocess.run([found, *words], capture_output=True, text=True)


def beside_each_other(folder: Path, *drop_ins: Path) -> list[str]:
    """Both units in a folder, with these drop-ins, and the program in a place that exists."""
    shutil.copy(UNIT, folder)
    shutil.copy(INSTANCE, folder / "tixd@worker.service")
    for unit in (UNIT.name, "tixd@worker.service"):
        (folder / f"{unit}.d").mkdir()
        for drop_in in drop_ins:
            shutil.copy(drop_in, folder / f"{unit}.d")
    return [str(folder / UNIT.name), str(folder / "tixd@worker.service")]


def test_a_wrong_configuration_is_not_tried_again_and_again():
    assert setting("Restart") == "on-failure"
    assert setting("RestartPreventExitStatus") == str(errors.ConfigError.exit_code)


def test_other_faults_are_tried_again_for_ever_because_they_may_heal():
    assert setting("StartLimitIntervalSec") == "0"
    assert errors.CannotStart.exit_code != errors.ConfigError.exit_code


def test_the_unit_sets_no_variable_but_its_options_and_settings():
    known = {field.metadata["env"] for field in PROCESSING.fields.values()} | {"TIXD_OPTIONS"}
    for unit in (UNIT, INSTANCE):
        named = [
            text.strip('"').split("=")[0] for name, text in settings(unit) if name == "Environment"
        ]
        assert set(named) <= known


def test_workers_have_less_time_than_systemd_gives_the_service():
    assert Settings().stop_seconds + 10 <= int(setting("TimeoutStopSec"))


def test_an_instance_is_the_same_service_but_for_its_name():
    own = {"Description", "Environment", "EnvironmentFile"}
    own |= {"RuntimeDirectory", "StateDirectory", "LogsDirectory"}
    alone, instance = settings(UNIT), settings(INSTANCE)
    assert [s for s in alone if s[0] not in own] == [s for s in instance if s[0] not in own]
    differing = [line for line in instance if line not in alone]
    assert all("%i" in text for _, text in differing), "each is the instance's own"
    assert {name for name, _ in differing} == own


def test_those_who_ask_look_where_units_have_their_sockets():
    assert f"/run/{setting('RuntimeDirectory')}" == environment.SYSTEM_RUNTIME_FOLDER
    instances = f"/run/{setting('RuntimeDirectory', INSTANCE)}"
    assert instances.replace("%i", "*") == environment.INSTANCE_RUNTIME_FOLDERS


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    units = beside_each_other(tmp_path, *DROP_INS)
    done = analyze("verify", *units, *sorted(SAMPLES.glob("tixd-asn.*")))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "drop_in", [None, *DROP_INS], ids=lambda path: path.name if path else "none"
)
def test_the_sandbox_leaves_little_to_be_attacked(tmp_path, drop_in):
    for unit in beside_each_other(tmp_path, *([drop_in] if drop_in else [])):
        done = analyze("security", "--offline=yes", "--no-pager", unit)
        found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
        assert found, done.stderr
        assert float(found[1]) <= MOST_EXPOSURE


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.name)
def test_a_drop_in_says_first_when_it_is_needed(drop_in):
    assert drop_in.read_text().startswith("# For ")


def test_the_template_of_the_environment_names_settings_alone():
    named = re.findall(r"^#([A-Z_]+)=", (SAMPLES / "tixd.env").read_text(), re.MULTILINE)
    known = {field.metadata["env"] for field in PROCESSING.fields.values()} | {"TIXD_OPTIONS"}
    known |= {field.metadata["env"] for field in COLLECTOR.fields.values()}
    assert len(named) > 10
    assert set(named) - known == set()


def test_the_sample_timer_starts_the_sample_service_which_makes_a_table():
    assert "/usr/bin/env tixd asn build " in (SAMPLES / "tixd-asn.service").read_text()
    assert setting("User", SAMPLES / "tixd-asn.service") == setting("User"), "both own the folder"


def test_logs_are_rotated_with_no_other_right_than_the_service_has():
    user = setting("User")
    assert f"    su {user} {user}\n" in (SAMPLES / "tixd.logrotate").read_text()


def test_a_rotated_log_is_opened_again_by_every_service():
    text = (SAMPLES / "tixd.logrotate").read_text()
    assert "systemctl kill --signal=SIGUSR1 tixd.service 'tixd@*.service'" in text
    for unit in (UNIT, INSTANCE):
        folder = setting("LogsDirectory", unit).replace("%i", "*")
        assert f"/var/log/{folder}/*.log" in text
