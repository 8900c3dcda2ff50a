"""tixd.toml: what it may hold, and what an operator reads about what it may not."""

import errno
import os
from pathlib import Path

import pytest

from tests.unit.config.test_loader import problems, toml
from tixd.config import environment, loader


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[apii]\nhost = 'x'", '[apii] host: no such setting; did you mean "api.host"?'),
        ("[apii]", "apii: no such setting"),
        ("hots = 1", "hots: no such setting"),
        ("[api]\nssl = 'yes'", '[api] ssl = "yes": must be true or false'),
        ("[api]\nssl = 1", "[api] ssl = 1: must be true or false"),
        ("[api]\nport = true", "[api] port = true: must be a whole number from 0 to 65535"),
        ("[api]\nport = 80.5", "[api] port = 80.5: must be a whole number from 0 to 65535"),
        ("[api]\nhost = 1979-05-27", '[api] host = "1979-05-27": must be a text'),
        ("[api]\nhost = ''", '[api] host = "": must not be empty'),
        ("[api.host]\nname = 'x'", '[api] host = {"name": "x"}: must be a text'),
        ("api = 1", "api: no such setting"),
        ("'api.host' = 'x'", '"api.host": no such setting'),
        (
            "role = 'BEAT'",
            'role = "BEAT": must be one of standalone, dispatcher, worker'
            "; the collector is the option --role collector",
        ),
        ('"a\\nb" = 1', '"a\\nb": no such setting'),
    ],
)
def test_what_tixd_toml_may_not_hold_is_named(tmp_path, text, message):
    file = toml(tmp_path, text + "\n")
    (line,) = problems({}, file)
    assert line.startswith(f"{file} {message}")


@pytest.mark.parametrize("content", [b"[api\n", b"a = 1\na = 2\n", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path, content):
    path = tmp_path / "tixd.toml"
    path.write_bytes(content)
    (line,) = problems({}, path)
    assert line.startswith(f"{path}: is not valid TOML")


def test_a_named_file_must_be_there(tmp_path):
    path = tmp_path / "nowhere.toml"
    assert problems({}, path) == [f"{path}: cannot be read: No such file or directory"]


def test_who_may_not_read_the_file_is_named(tmp_path, monkeypatch):
    def refuse(*_: object) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    me = environment.user(os.geteuid())
    assert problems({}, tmp_path) == [f"{tmp_path}: cannot be read: Permission denied, as {me}"]


def test_a_default_file_that_cannot_be_read_is_an_error_too(tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "DEFAULT_FILE", tmp_path)
    assert problems({}) == [f"{tmp_path}: cannot be read: Is a directory"]


def test_the_collectors_table_is_left_alone(tmp_path):
    file = toml(tmp_path, '[collector]\nlisten = ":8443"\nwhatever = [1]\n')
    assert set(loader.load({}, {}, file).sources.values()) == {"default"}


def test_a_whole_number_will_do_for_a_number_in_toml(tmp_path):
    file = toml(tmp_path, "[schedule]\nperiod_minutes = 5\n")
    assert loader.load({}, {}, file).settings.processing_period_minutes == 5.0


def test_a_huge_number_is_refused_and_not_a_crash(tmp_path):
    file = toml(tmp_path, f"[schedule]\nperiod_minutes = {10**400}\n")
    (line,) = problems({}, file)
    assert line.endswith("must be a number of minutes, 0.05 or more")


def test_an_empty_user_may_be_written_down(tmp_path):
    file = toml(tmp_path, "[api]\nuser = ''\npassword = ''\n")
    assert loader.load({}, {}, file).settings.not_posting_reason


def test_a_ca_bundle_must_exist_when_https_is_on(tmp_path):
    missing = str(tmp_path / "ca.pem")
    environ = {"REQUESTS_CA_BUNDLE": missing}
    assert loader.load({}, environ, None).settings.api_ca_bundle == missing
    assert problems(environ | {"TIX_API_SSL": "1"}) == [
        f'environment REQUESTS_CA_BUNDLE = "{missing}": there is no such file or folder'
    ]


def test_curls_ca_bundle_serves_where_requests_has_none(tmp_path):
    bundle = tmp_path / "ca.pem"
    Path(bundle).touch()
    environ = {"CURL_CA_BUNDLE": str(bundle), "TIX_API_SSL": "1"}
    loaded = loader.load({}, environ, None)
    assert loaded.settings.api_ca_bundle == str(bundle)
    assert loaded.sources["api_ca_bundle"] == "environment CURL_CA_BUNDLE"
