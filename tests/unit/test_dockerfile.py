"""The Dockerfile says what the program does, and what the seed's commands need."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from tests.support.manual_pages import page
from tixd import __version__, cli
from tixd.config.collector_settings import CollectorSettings
from tixd.config.loader import IMAGE_DEFAULTS, load_collector
from tixd.config.settings import Settings
from tixd.config.values import PROCESSING

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

#: All addresses of the container.
ALL = "0.0.0.0"  # noqa: S104 - that is what the image is for

#: docker stop kills after so many seconds.
KILLED_AFTER_SECONDS = 10.0

#: Every instruction with what it says, lines joined, comments left out.
INSTRUCTIONS = [
    (line.split()[0], line.split(maxsplit=1)[1])
    for line in re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
    if line
]


def said(instruction: str) -> list[str]:
    """What all instructions of this name say."""
    return [words for name, words in INSTRUCTIONS if name == instruction]


def pairs(instruction: str) -> dict[str, str]:
    """What an instruction of the form NAME=value sets."""
    found = re.findall(r'([\w.]+)=("[^"]*"|\S+)', " ".join(said(instruction)))
    return {name: text.strip('"') for name, text in found}


def test_both_stages_have_the_same_slim_base_which_tixd_can_run_on():
    (first, _, stage), (second, *_), *_ = (words.split() for words in said("FROM"))
    assert first == second
    assert f"COPY --from={stage.lower()}" in TEXT
    version = re.fullmatch(r"python:3\.(\d+)-slim", first)
    assert version
    assert int(version[1]) >= int(PROJECT["requires-python"].removeprefix(">=3."))


def test_what_is_installed_has_the_pinned_versions_and_extras_that_exist():
    (install,) = [words for words in said("RUN") if "pip" in words]
    assert "-c scripts/constraints.txt" in install
    assert "--no-cache-dir" in install
    extras = pairs("ARG")["EXTRAS"].split(",")
    assert set(extras) < set(PROJECT["optional-dependencies"]) - {"test"} | {""}


def test_nothing_of_apt_or_of_a_secret_is_left_in_the_image():
    assert not re.search(r"\bapt(-get)?\b", TEXT)
    assert not {name for name in pairs("ARG") | pairs("ENV") if re.search("PASS|TOKEN|KEY", name)}


def test_the_image_sets_only_what_the_default_of_tixd_cannot_be():
    env = {name: text for name, text in pairs("ENV").items() if name not in IMAGE_DEFAULTS}
    assert env.pop("PATH").startswith("/opt/tixd/bin:")
    known = {field.metadata["env"]: name for name, field in PROCESSING.fields.items()}
    assert {known[variable] for variable in env} == {"stop_seconds"}
    checked = PROCESSING.check_variable("stop_seconds", env["TIX_STOP_SECONDS"])
    assert 5 <= checked < KILLED_AFTER_SECONDS - 1


@pytest.mark.parametrize(
    ("name", "variable", "default"),
    [
        ("role", "PROCESSOR_TYPE", "standalone"),
        ("reports_base_path", "TIX_REPORTS_BASE_PATH", "/tmp/reports"),
        ("schedule_dir", "CELERY_BEAT_SCHEDULE_DIR", "/tmp/celerybeat-schedule.d"),
        ("log_level", "CELERY_LOG_LEVEL", "INFO"),
    ],
)
def test_the_variables_of_the_original_image_have_its_defaults(name, variable, default):
    assert PROCESSING.fields[name].metadata["env"] == variable
    assert getattr(Settings(), name) == default


def test_the_volumes_are_the_folders_that_tixd_works_in():
    (volumes,) = said("VOLUME")
    assert json.loads(volumes) == [Settings().reports_base_path, Settings().schedule_dir]
    assert all(f" {folder}" in " ".join(said("RUN")) for folder in json.loads(volumes))


def test_the_ports_are_those_of_all_roles():
    roles = ("standalone", "dispatcher", "worker")
    ports = {Settings(role=role).http_address_used.rpartition(":")[2] for role in roles}
    collector = pairs("ENV")["GRACC_DEFAULT_PORT"]
    assert set(" ".join(said("EXPOSE")).split()) == ports | {collector}


def test_the_collector_of_the_image_listens_as_the_originals_image_unless_told_otherwise(tmp_path):
    image, file = pairs("ENV"), tmp_path / "gracc.toml"
    file.write_text("")
    found = load_collector({}, {**image, "GRACC_AMQP_HOST": "broker", "GRACC_AMQP_USER": "u"}, file)
    settings = found.settings
    assert (settings.address, settings.port, settings.amqp_format) == (ALL, 8080, "json")
    assert found.warnings == ()
    file.write_text('address = "localhost"\n')
    settings = load_collector({}, {**image, "GRACC_PORT": "1"}, file).settings
    assert (settings.address, settings.port) == ("localhost", 1)


def test_the_image_of_the_collector_is_the_same_program_with_its_role():
    stages = [words.split() for words in said("FROM")]
    assert stages[2:] == [["program", "AS", "collector"], ["program"]]
    assert json.loads(said("ENTRYPOINT")[1]) == ["tixd", "--role", "collector"]


def test_tixd_itself_is_the_first_process_and_starts_as_root():
    assert json.loads(said("ENTRYPOINT")[0]) == ["tixd"]
    assert (said("CMD"), said("USER"), said("STOPSIGNAL")) == ([], [], ["SIGTERM"])
    assert "tixd" in PROJECT["scripts"]


def test_the_check_of_health_is_a_command_of_tixd():
    (check,) = said("HEALTHCHECK")
    program, command = json.loads(check.partition(" CMD ")[2])
    assert (program, command in cli.COMMANDS) == ("tixd", True)


def test_the_labels_are_those_of_the_project():
    labels = {key.removeprefix("org.opencontainers.image."): v for key, v in pairs("LABEL").items()}
    assert labels["title"] == PROJECT["name"]
    assert labels["licenses"] == PROJECT["license"]
    assert labels["version"] == __version__
    assert PROJECT["description"].startswith(labels["description"])


def test_only_what_the_build_needs_is_sent_to_it():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    links = {link.resolve() for link in (ROOT / "tixd").rglob("*") if link.is_symlink()}
    targets = {str(target.relative_to(ROOT)) for target in links}
    assert targets == {"tixd.service"}
    files = {"LICENSE", "README.md", "pyproject.toml", "scripts/constraints.txt"}
    assert kept == {"tixd", *files, *targets}
    assert rules[-1] == "**/__pycache__"


def test_what_the_manual_sets_are_settings_and_what_it_mounts_are_volumes():
    text = page("docker")
    own = {field.metadata["env"] for field in PROCESSING.fields.values()}
    collector = {field.metadata["env"] for field in fields(CollectorSettings)}
    secrets = {f"{name}_FILE" for name in own | collector}
    assert set(re.findall(r"-e ([A-Z_]+)=", text)) <= own | collector | secrets
    compose = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    for name, kind in (("dispatcher", "BEAT"), ("worker", "WORKER")):
        service = compose["services"][name]
        assert set(service["environment"]) <= own
        assert service["environment"]["PROCESSOR_TYPE"] == kind
        mounted = dict(volume.split(":") for volume in service["volumes"])
        assert mounted.keys() < compose["volumes"].keys()
        assert set(mounted.values()) == {Settings().reports_base_path, Settings().schedule_dir}
