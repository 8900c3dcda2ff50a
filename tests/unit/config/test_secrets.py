"""Secrets: from the environment, a file, tixd.toml or systemd, and shown nowhere."""

import json
import os
import traceback
from pathlib import Path

import pytest

from tests.support.recognised import Password
from tests.unit.config.test_loader import problems, toml
from tixd import errors
from tixd.config import loader
from tixd.results import transport


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "password"
    path.write_text("geheim\n", encoding="utf-8")
    return path


def test_a_secret_may_stand_in_a_file(secret_file):
    loaded = loader.load({}, {"TIX_API_PASSWORD_FILE": str(secret_file)}, None)
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
    loaded = loader.load({}, {}, file)
    assert loaded.settings.rabbitmq_password.reveal() == "geheim"
    assert loaded.sources["rabbitmq_password"] == f"{file} [rabbitmq] password_file"


def test_systemd_may_hand_over_a_secret(tmp_path):
    (tmp_path / "tix_api_password").write_text("geheim", encoding="utf-8")
    loaded = loader.load({}, {"CREDENTIALS_DIRECTORY": str(tmp_path)}, None)
    assert loaded.settings.api_password.reveal() == "geheim"
    assert loaded.sources["api_password"] == "systemd credential tix_api_password"
    assert loaded.sources["rabbitmq_password"] == "default"


def test_systemd_may_hand_over_the_collectors_secret_too(tmp_path):
    (tmp_path / "gracc_amqp_password").write_text("geheim", encoding="utf-8")
    loaded = loader.load_collector({}, {"CREDENTIALS_DIRECTORY": str(tmp_path)}, None)
    assert loaded.settings.amqp_password.reveal() == "geheim"
    assert loaded.sources["amqp_password"] == "systemd credential gracc_amqp_password"


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
    loaded = loader.load({}, {"TIX_API_PASSWORD": "geheim"}, file)
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


@pytest.mark.parametrize("kind", ["FIFO", "device"])
def test_a_secret_file_that_could_be_waited_for_for_ever_is_not_read(tmp_path, kind):
    path = {"FIFO": tmp_path / "fifo", "device": Path("/dev/zero")}[kind]
    if kind == "FIFO":
        os.mkfifo(path)
    (line,) = problems({"TIX_API_PASSWORD_FILE": str(path)})
    assert line == f'environment TIX_API_PASSWORD_FILE = "{path}": is not a regular file'
    with pytest.raises(errors.ConfigError, match=r"AMQP.passwordFile = .*: is not a regular file"):
        loader.load_collector({}, {}, toml(tmp_path, f"[AMQP]\npasswordFile = '{path}'\n"))


@pytest.mark.parametrize("value", ["12345", "['geheim']", "true"])
def test_a_secret_of_a_wrong_type_is_not_shown(tmp_path, value):
    (line,) = problems({}, toml(tmp_path, f"[api]\npassword = {value}\n"))
    assert line.endswith("[api] password: must be a text")


def test_the_file_of_a_secret_must_be_named_by_a_text(tmp_path):
    (line,) = problems({}, toml(tmp_path, "[api]\npassword_file = 5\n"))
    assert line.endswith("[api] password_file: must be a text")


def test_no_representation_of_the_configuration_shows_a_secret():
    environ = {"TIX_API_PASSWORD": "geheim", "http_proxy": "http://u:geheim@proxy:1"}
    loaded = loader.load({}, environ, None)
    assert loaded.settings.api_proxy.reveal() == "http://u:geheim@proxy:1"
    assert "geheim" not in repr(loaded) + str(loaded)


SECRET = Password("Geheim")

#: What operators write into the wrong place, or wrongly into the right one: environment, tixd.toml.
MISTAKES = [
    ({"HTTP_PROXY": f"socks5://u:{SECRET.in_url}@proxy"}, ""),
    ({"HTTP_PROXY": f"http://u:{SECRET.text}@proxy:1"}, ""),
    ({"HTTP_PROXY": f"http://u:{SECRET.in_url}@proxy:99999"}, ""),
    ({"HTTP_PROXY": f"http://u:1/{SECRET.in_url}@proxy:1"}, ""),
    ({"HTTP_PROXY": f"http://u:{SECRET.in_url}@"}, ""),
    ({"TIX_API_PASSWORD": f"{SECRET.text}\n"}, ""),
    ({"TIX_API_PASSWORD": SECRET.text, "TIX_API_PASSWORD_FILE": "/nowhere"}, ""),
    ({"TIX_API_PASSWORD_FILE": SECRET.text}, ""),
    ({"TIX_API_HOST": f"http://u:{SECRET.text}@api"}, ""),
    ({"TIX_API_HOST": f"u:{SECRET.in_url}@api"}, ""),
    ({"TIX_API_USER": f"anna:{SECRET.text}"}, ""),
    ({"TIX_RABBITMQ_HOST": f"amqp://u:{SECRET.in_url}@rabbit:5672"}, ""),
    ({"TIX_HTTP_ADDRESS": f"u:{SECRET.in_url}@localhost:8889"}, ""),
    ({}, f"[api]\npasswort = '''{SECRET.text}'''\n"),
    ({}, f"[api.password]\nvalue = '''{SECRET.text}'''\n"),
    ({}, f"[api]\npassword = ['''{SECRET.text}''']\n"),
    ({}, f"[api]\npassword = '''{SECRET.text}'''\npassword = 1\n"),
    ({}, f"[api]\npassword = {SECRET.text}\n"),
    ({}, f"[api]\npassword_file = '''{SECRET.text}'''\n"),
    ({}, f"[rabbitmq]\npassword = '''{SECRET.text}\n'''\n"),
    ({}, f"[api]\nproxy = 'http://u:{SECRET.in_url}@proxy:port'\n"),
]


@pytest.mark.parametrize(("environ", "text"), MISTAKES)
def test_no_message_about_a_mistake_shows_the_secret_in_it(tmp_path, environ, text):
    with pytest.raises(errors.ConfigError) as raised:
        loader.load({}, environ, toml(tmp_path, text))
    assert not SECRET.seen_in("".join(traceback.format_exception(raised.value)))


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"GRACC_AMQP_PASSWORD": f"{SECRET.text}\n"}, ""),
        ({"GRACC_AMQP_PASSWORDFILE": SECRET.text}, ""),
        ({"GRACC_AMQP_HOST": f"amqp://u:{SECRET.text}@rabbit"}, ""),
        ({"GRACC_KAFKA_BROKERS": f"u:{SECRET.text}@kafka:9092"}, ""),
        ({}, f"[AMQP]\npassword = ['''{SECRET.text}''']\n"),
        ({}, f"[AMQP]\npassword = '''{SECRET.text}'''\npasswordFile = '/nowhere'\n"),
        ({}, f"[AMQP]\nhost = '''u:{SECRET.text}@rabbit'''\n"),
        ({}, f"[collector.AMQP]\npasswort = '''{SECRET.text}'''\n"),
    ],
)
def test_nor_does_one_about_the_collectors_settings(tmp_path, environ, text):
    with pytest.raises(errors.ConfigError) as raised:
        loader.load_collector({}, environ, toml(tmp_path, text))
    assert not SECRET.seen_in("".join(traceback.format_exception(raised.value)))


def test_a_secret_is_recognised_in_all_shapes():
    shapes = [SECRET.text, SECRET.in_url, json.dumps(SECRET.text), repr(SECRET.text.encode())]
    for user in ("", "u", "us", "use"):
        shapes += [transport.basic_auth(user, text) for text in (SECRET.text, *SECRET.words)]
    halves = SECRET.text.split("@")
    assert [shape for shape in shapes + halves if not SECRET.seen_in(f"a{shape}b")] == []
    assert not SECRET.seen_in(transport.basic_auth("anna", "another password of that length"))
