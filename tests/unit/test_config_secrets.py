"""Secrets: from the environment, a file, tixd.toml or systemd, and shown nowhere."""

import pytest

from tests.unit.test_config import problems, toml
from tixd import config


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "password"
    path.write_text("geheim\n", encoding="utf-8")
    return path


def test_a_secret_may_stand_in_a_file(secret_file):
    loaded = config.load({}, {"TIX_API_PASSWORD_FILE": str(secret_file)}, None)
    assert loaded.settings.api_password.reveal() == "geheim"
    assert loaded.sources["api_password"] == "environment TIX_API_PASSWORD_FILE"
    assert loaded.warnings == ()


def test_only_one_line_break_is_taken_off_a_secret_file(secret_file):
    secret_file.write_text("geheim \n\n", encoding="utf-8")
    (line,) = problems({"TIX_API_PASSWORD_FILE": str(secret_file)})
    assert line.startswith("environment TIX_API_PASSWORD_FILE: must hold no line breaks")
    assert "geheim" not in line


def test_tixd_toml_may_name_the_file_of_a_secret(tmp_path, secret_file):
    file = toml(tmp_path, f'[rabbitmq]\npassword_file = "{secret_file}"\n')
    loaded = config.load({}, {}, file)
    assert loaded.settings.rabbitmq_password.reveal() == "geheim"
    assert loaded.sources["rabbitmq_password"] == f"{file} [rabbitmq] password_file"


def test_systemd_may_hand_over_a_secret(tmp_path):
    (tmp_path / "tix_api_password").write_text("geheim", encoding="utf-8")
    loaded = config.load({}, {"CREDENTIALS_DIRECTORY": str(tmp_path)}, None)
    assert loaded.settings.api_password.reveal() == "geheim"
    assert loaded.sources["api_password"] == "systemd credential tix_api_password"
    assert loaded.sources["rabbitmq_password"] == "default"


def test_a_secret_given_twice_is_a_contradiction(tmp_path, secret_file):
    environ = {"TIX_API_PASSWORD": "anders", "TIX_API_PASSWORD_FILE": str(secret_file)}
    file = toml(tmp_path, f'[api]\npassword = "anders"\npassword_file = "{secret_file}"\n')
    lines = problems(environ, file)
    assert [line.endswith("contradict each other: keep one of them") for line in lines] == [
        True
    ] * 2
    assert "TIX_API_PASSWORD and environment TIX_API_PASSWORD_FILE" in lines[1]
    assert "anders" not in "".join(lines)


def test_the_environments_secret_overrules_the_one_in_tixd_toml(tmp_path):
    file = toml(tmp_path, '[api]\npassword = "anders"\n')
    loaded = config.load({}, {"TIX_API_PASSWORD": "geheim"}, file)
    assert loaded.settings.api_password.reveal() == "geheim"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read: No such file"), (b"", "is empty"), (b"\xff", "does not hold UTF-8")],
)
def test_a_secret_file_that_cannot_serve_is_named(tmp_path, content, message):
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    (line,) = problems({"TIX_RABBITMQ_PASS_FILE": str(path)})
    assert line.startswith(f'environment TIX_RABBITMQ_PASS_FILE = "{path}": {message}')


@pytest.mark.parametrize("value", ["12345", "['geheim']", "true"])
def test_a_secret_of_a_wrong_type_is_not_shown(tmp_path, value):
    (line,) = problems({}, toml(tmp_path, f"[api]\npassword = {value}\n"))
    assert line.endswith("[api] password: must be a text")


def test_no_representation_of_the_configuration_shows_a_secret():
    environ = {"TIX_API_PASSWORD": "geheim", "http_proxy": "http://u:geheim@proxy:1"}
    loaded = config.load({}, environ, None)
    assert loaded.settings.api_proxy.reveal() == "http://u:geheim@proxy:1"
    assert "geheim" not in repr(loaded) + str(loaded)
