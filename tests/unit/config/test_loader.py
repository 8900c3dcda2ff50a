"""Settings: what each place may say, which place wins, and what an operator reads when wrong."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tixd import errors
from tixd.config import loader
from tixd.config.values import PROCESSING

#: Every variable that a setting is read from.
VARIABLES = sorted(field.metadata["env"] for field in PROCESSING.fields.values())


@pytest.fixture(autouse=True)
def _no_file_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "DEFAULT_FILE", tmp_path / "absent.toml")


def toml(tmp_path: Path, text: str) -> Path:
    """A tixd.toml with this text."""
    path = tmp_path / "tixd.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(environ: dict[str, str], file: Path | None = None, **options: str) -> list[str]:
    """The lines that an operator reads instead of a start."""
    with pytest.raises(errors.ConfigError) as caught:
        loader.load(options, environ, file)
    return str(caught.value).splitlines()


def test_nothing_given_means_the_defaults_of_the_original_system():
    loaded = loader.load({}, {}, None)
    settings = loaded.settings
    assert settings.role == "standalone"
    assert settings.reports_base_path == "/tmp/reports"
    assert settings.api_base_url == "http://localhost:80"
    assert (settings.rabbitmq_host, settings.rabbitmq_port) == ("localhost", 5672)
    assert (settings.rabbitmq_user, settings.rabbitmq_password.reveal()) == ("guest", "guest")
    assert settings.schedule_dir == "/tmp/celerybeat-schedule.d"
    assert set(loaded.sources.values()) == {"default"}
    assert loaded.warnings == ()
    assert settings.not_posting_reason


def test_the_command_line_wins_over_environment_over_file_over_default(tmp_path):
    file = toml(tmp_path, 'role = "worker"\n[api]\nhost = "file"\nport = 1\n[log]\nfile = "f"\n')
    environ = {"PROCESSOR_TYPE": "BEAT", "TIX_API_HOST": "environment"}
    loaded = loader.load({"role": "standalone"}, environ, file)
    assert (loaded.settings.role, loaded.sources["role"]) == ("standalone", "option --role")
    assert loaded.settings.api_host == "environment"
    assert loaded.sources["api_host"] == "environment TIX_API_HOST"
    assert loaded.settings.api_port == 1
    assert loaded.sources["api_port"] == f"{file} [api] port"
    assert loaded.sources["api_user"] == "default"


def test_a_top_level_key_is_named_without_a_section(tmp_path):
    file = toml(tmp_path, "workers = 3\n")
    loaded = loader.load({}, {}, file)
    assert (loaded.settings.workers, loaded.sources["workers"]) == (3, f"{file} workers")


def test_the_default_file_is_read_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "DEFAULT_FILE", toml(tmp_path, "workers = 5\n"))
    assert loader.load({}, {}, None).settings.workers == 5


def test_an_empty_environment_variable_counts_as_unset(tmp_path):
    file = toml(tmp_path, "[api]\nssl = true\nport = 8080\n")
    loaded = loader.load({}, {"TIX_API_SSL": "", "TIX_API_PORT": ""}, file)
    assert loaded.settings.api_base_url == "https://localhost:8080"
    assert loaded.sources["api_port"] == f"{file} [api] port"


@pytest.mark.parametrize("text", ["True", "1", "sarasa", "-1"])
def test_any_text_in_tix_api_ssl_turns_https_on(text):
    loaded = loader.load({}, {"TIX_API_SSL": text}, None)
    assert loaded.settings.api_base_url == "https://localhost:443"
    assert loaded.warnings == ()


@pytest.mark.parametrize(("text", "is_on"), [("false", False), ("0", False), ("true", True)])
def test_a_switch_of_ours_is_what_its_variable_says(text, is_on):
    loaded = loader.load({}, {"TIX_RABBITMQ_TLS": text}, None)
    assert loaded.settings.rabbitmq_tls is is_on


def test_a_switch_that_says_neither_is_a_problem():
    with pytest.raises(errors.ConfigError, match=r"TIX_RABBITMQ_TLS.*must be true or false"):
        loader.load({}, {"TIX_RABBITMQ_TLS": "perhaps"}, None)


@pytest.mark.parametrize("text", ["False", "no", "0", " off "])
def test_a_tix_api_ssl_that_looks_false_is_on_and_said_so(text):
    loaded = loader.load({}, {"TIX_API_SSL": text}, None)
    assert loaded.settings.api_ssl
    assert len(loaded.warnings) == 1
    assert "HTTPS is on" in loaded.warnings[0]


@pytest.mark.parametrize(
    ("text", "role"), [("STANDALONE", "standalone"), ("beat", "dispatcher"), ("Worker", "worker")]
)
def test_processor_type_chooses_the_role_in_any_case(text, role):
    assert loader.load({}, {"PROCESSOR_TYPE": text}, None).settings.role == role


def test_another_processor_type_stops_the_start():
    assert problems({"PROCESSOR_TYPE": "dispatcher"}) == [
        'environment PROCESSOR_TYPE = "dispatcher": must be one of STANDALONE, BEAT, WORKER'
        "; the collector is the option --role collector"
    ]


@pytest.mark.parametrize(
    ("text", "level"), [("debug", "DEBUG"), ("Fatal", "CRITICAL"), ("warn", "WARNING")]
)
def test_celerys_names_of_log_levels_are_taken_in_any_case(text, level):
    assert loader.load({}, {"CELERY_LOG_LEVEL": text}, None).settings.log_level == level


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("TIX_API_PORT", "http", "must be a whole number from 0 to 65535"),
        ("TIX_API_PORT", "65536", "must be a whole number from 0 to 65535"),
        ("TIX_RABBITMQ_PORT", "0", "must be a whole number from 1 to 65535"),
        ("TIX_WORKERS", "2.5", "must be a whole number of processes from 0 to 1024"),
        ("TIX_PROCESSING_PERIOD", "nan", "must be a number of minutes, 0.05 or more"),
        ("TIX_API_READ_SECONDS", "inf", "must be a number of seconds, 0.1 or more"),
        ("TIX_BAD_REPORTS_KEEP_DAYS", "1e999", "must be a number of days, 0 or more"),
        ("TIX_LOG_FORMAT", "xml", "must be one of auto, text, json, journald"),
        ("CELERY_LOG_LEVEL", "loud", "must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("TIX_API_HOST", "http://api", "give the host alone, without scheme and port"),
        ("TIX_API_HOST", "api/v1", "give the host alone, without scheme, path and user"),
        ("TIX_API_HOST", "api:80", "give the host alone, without scheme and port"),
        ("TIX_API_HOST", "[api]", "give the host alone, without scheme and port"),
        ("TIX_HTTP_ADDRESS", "8889", "must be host:port with a port from 1 to 65535, or off"),
        (
            "TIX_HTTP_ADDRESS",
            "localhost:0",
            "must be host:port with a port from 1 to 65535, or off",
        ),
        (
            "TIX_HTTP_ADDRESS",
            "::1:80",
            "must be host:port, with an IPv6 address in brackets, or off",
        ),
        (
            "TIX_HTTP_ADDRESS",
            ":8889",
            "must be host:port, with an IPv6 address in brackets, or off",
        ),
        ("TIX_HTTP_ADDRESS", "[::g]:80", "give the host alone, without scheme and port"),
        ("TIX_RABBITMQ_HOST", "amqp://r", "give the host alone, without scheme and port"),
    ],
)
def test_a_bad_variable_is_named_with_its_value_and_what_is_allowed(variable, text, sentence):
    assert problems({variable: text}) == [f'environment {variable} = "{text}": {sentence}']


@pytest.mark.parametrize("text", ["a\nb", "a\x00b", "a\x1b[31m", "\udcff", "a\x85b"])
def test_control_characters_are_refused_and_shown_escaped(text):
    (line,) = problems({"TIX_RABBITMQ_USER": text})
    assert line.isprintable()
    assert "control characters" in line


@pytest.mark.parametrize("text", ["::1", "[::1]", "0:0:0:0:0:0:0:1"])
def test_an_ipv6_host_is_taken_with_and_without_brackets(text):
    assert loader.load({}, {"TIX_API_HOST": text}, None).settings.api_base_url == "http://[::1]:80"


@pytest.mark.parametrize(
    ("text", "address"),
    [("Off", "off"), ("0.0.0.0:80", "0.0.0.0:80"), ("[0::1]:80", "[::1]:80"), ("h:1", "h:1")],
)
def test_the_http_address_is_a_host_and_a_port_or_off(text, address):
    loaded = loader.load({}, {"TIX_HTTP_ADDRESS": text}, None)
    assert loaded.settings.http_address_used == address


@pytest.mark.parametrize(("role", "port"), [("STANDALONE", 8889), ("BEAT", 8889), ("WORKER", 8890)])
def test_each_role_has_its_port_for_those_who_watch_it(role, port):
    settings = loader.load({}, {"PROCESSOR_TYPE": role}, None).settings
    assert settings.http_address_used == f"localhost:{port}"


def test_an_unknown_tix_variable_is_a_warning_with_the_nearest_name():
    loaded = loader.load({}, {"TIX_API_HOTS": "x", "TIX_JJJJJJJJJJ": "y", "HOME": "z"}, None)
    assert loaded.warnings == (
        'environment TIX_API_HOTS: no such setting, ignored; did you mean "TIX_API_HOST"?',
        "environment TIX_JJJJJJJJJJ: no such setting, ignored",
    )


def test_all_problems_are_reported_at_once(tmp_path):
    file = toml(tmp_path, '[api]\nhots = "x"\nport = "80"\n')
    lines = problems({"TIX_WORKERS": "x"}, file, role="boss")
    assert lines == [
        f'{file} [api] hots: no such setting; did you mean "api.host"?',
        f'{file} [api] port = "80": must be a whole number from 0 to 65535',
        'environment TIX_WORKERS = "x": must be a whole number of processes from 0 to 1024',
        'option --role = "boss": must be standalone, dispatcher, worker or collector',
    ]


def test_a_bad_value_stops_the_start_even_where_another_place_overrules_it():
    assert len(problems({"PROCESSOR_TYPE": "nobody"}, role="worker")) == 1


def test_the_configuration_error_tells_its_exit_code():
    assert errors.ConfigError("x").exit_code == 2
    assert "correct the named setting" in str(errors.ConfigError())


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*VARIABLES, "http_proxy", "TIX_\n"]), st.text()))
def test_whatever_the_environment_says_ends_in_settings_or_printable_lines(environ):
    try:
        lines = loader.load({}, environ, Path("/dev/null")).warnings
    except errors.ConfigError as error:
        lines = tuple(str(error).split("\n"))
    assert all(line.isprintable() for line in lines)


LINKS = {
    "TIX_API_PORT": "tcp://10.96.12.7:3001",
    "TIX_API_SERVICE_HOST": "10.96.12.7",
    "TIX_API_SERVICE_PORT": "3001",
    "TIX_API_SERVICE_PORT_HTTP": "3001",
    "TIX_API_PORT_3001_TCP": "tcp://10.96.12.7:3001",
    "TIX_API_PORT_3001_TCP_ADDR": "10.96.12.7",
    "TIX_API_PORT_3001_TCP_PROTO": "tcp",
    "TIX_API_NAME": "/web/tix-api",
    "TIX_API_ENV_MYSQL_USER": "tix",
    "TIX_RABBITMQ_PORT": "udp://10.96.12.8:5672",
}


def test_variables_that_kubernetes_or_docker_made_are_ignored_in_one_line():
    loaded = loader.load({}, LINKS | {"TIX_API_HOST": "api"}, None)
    assert (loaded.settings.api_port, loaded.settings.rabbitmq_port) == (0, 5672)
    assert loaded.sources["api_port"] == "default"
    (warning,) = loaded.warnings
    assert "enableServiceLinks" in warning
    assert "and 7 more" in warning
    assert "did you mean" not in warning


@pytest.mark.parametrize("name", ["TIX_API_PORT", "TIX_API_PORTS", "TIX_API_SERVICE"])
def test_a_mistake_is_not_taken_for_a_link_of_kubernetes(name):
    loaded_or_problem = loader.load_for_asking({}, {name: "3001/tcp"}, None)
    assert not any("enableServiceLinks" in text for text in loaded_or_problem.warnings)


LONG = "x" * 100_000


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"TIX_WORKERS": LONG}, ""),
        ({"TIX_API_HOST": f"http://{LONG}"}, ""),
        ({"TIX_API_USER": f"{LONG}:{LONG}"}, ""),
        ({"TIX_REPORTS_BASE_PATH": "/" + LONG}, ""),
        ({"TIX_HTTP_ADDRESS": LONG}, ""),
        ({"TIX_API_PASSWORD": LONG}, ""),
        ({"TIX_API_PASSWORD_FILE": "/" + LONG}, ""),
        ({"HTTP_PROXY": f"http://{LONG}:x"}, ""),
        ({"TIX_API_SSL": "1", "REQUESTS_CA_BUNDLE": "/" + LONG}, ""),
        ({}, f'workers = "{LONG}"'),
        ({}, f'{LONG} = "{LONG}"'),
        ({}, f'["{LONG}"]\n"{LONG}" = 1'),
        ({}, f"workers = [{'1,' * 50_000}]"),
        ({}, f"workers = {'[' * 5_000}{']' * 5_000}"),
        ({}, f"workers = {'9' * 100_000}"),
        ({}, f"{LONG} {LONG}"),
        ({}, "#" + "x" * 2_000_000),
        ({}, f"workers = {{a = {{b = '{LONG}'}}}}"),
    ],
)
def test_no_message_repeats_a_long_value_or_name(tmp_path, environ, text):
    found = problems(environ, toml(tmp_path, text) if text else None)
    assert len("\n".join(found)) <= 1500
    assert found


def test_a_password_in_a_long_url_is_not_shown_because_the_url_is_cut():
    found = problems({"TIX_API_HOST": f"http://anna:{LONG}@api"})
    assert "xxx" not in found[0]


def test_of_very_many_mistakes_the_first_are_told_and_the_others_counted(tmp_path):
    wrong = "\n".join(f"wrong_{n} = 1" for n in range(10_000))
    found = problems({}, toml(tmp_path, wrong))
    assert (len(found), found[-1]) == (51, "and 9950 more")
    loaded = loader.load({}, {f"TIX_WRONG_{n}": "1" for n in range(10_000)}, None)
    assert len(loaded.warnings) == 51
    assert "9950 more" in loaded.warnings[-1]


def test_a_secret_from_a_huge_file_is_refused_unread(tmp_path):
    (tmp_path / "secret").write_bytes(b"x" * 16_000_000)
    (found,) = problems({"TIX_API_PASSWORD_FILE": str(tmp_path / "secret")})
    assert "is larger than 64 KiB" in found
