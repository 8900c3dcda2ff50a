"""The collector's settings: two forms of file, environment, what stops a start, what only warns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tixd import errors
from tixd.config.collector_settings import CollectorSettings
from tixd.config.loader import CollectorConfig, load, load_collector, load_for_asking
from tixd.config.values import COLLECTOR

#: What an operator of the original has, every key of the release's sample.
FLAT = """
address = "localhost"
port = "8899"
timeout = "1m30s"
loglevel = "debug"
[AMQP]
enable = true
scheme = "amqp"
host = "broker.example"
port = "5673"
vhost = ""
exchange = ""
routingKey = "queue"
durable = true
autoDelete = true
user = "guest"
password = "guest"
format = "json"
retry = "500ms"
[kafka]
enable = false
brokers = "localhost:9092"
topic = "gracc"
format = "json"
"""


#: What stands among the warnings where nothing says where to listen.
DOUBT = (
    "address is not set: the collector listens on localhost:8888; gracc-collector listened on all"
    ' addresses, by default at port 8080; to do the same, set address to "0.0.0.0" and port to 8080'
)


@pytest.fixture
def read(tmp_path: Path):
    """Load this text as the file of -c, with these variables and options."""

    def load_text(text: str, options: dict[str, str] | None = None, **env: str) -> CollectorConfig:
        (tmp_path / "file.toml").write_text(text, encoding="utf-8")
        return load_collector(options or {}, env, tmp_path / "file.toml")

    return load_text


def problem(read, text: str, **env: str) -> str:
    """The message that stops the start."""
    with pytest.raises(errors.ConfigError) as caught:
        read(text, **env)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_file_of_the_original_is_read_unchanged(read):
    found = read(FLAT).settings
    assert (found.port, found.timeout_seconds, found.log_level) == (8899, 90.0, "DEBUG")
    assert (found.amqp_host, found.amqp_port, found.amqp_exchange) == ("broker.example", 5673, "")
    assert (found.amqp_format, found.amqp_retry_seconds) == ("json", 0.5)


def test_keys_may_have_any_letter_case_and_numbers_may_be_numbers(read):
    found = read('PORT = 1\n[amqp]\nEXCHANGETYPE = "Topic"\nvHost = "v"').settings
    assert (found.port, found.amqp_exchange_type, found.amqp_vhost) == (1, "topic", "v")


def test_the_same_keys_stand_under_collector_in_tixd_toml(read):
    found = read('[log]\nlevel = "INFO"\n[collector]\nport = 7\n[collector.AMQP]\nhost = "h"')
    assert (found.settings.port, found.settings.amqp_host) == (7, "h")
    assert found.sources["amqp_host"].endswith("file.toml [collector] AMQP.host")


def test_environment_overrules_the_file_and_empty_variables_do_not(read):
    env = {"GRACC_PORT": "1", "GRACC_AMQP_EXCHANGETYPE": "direct", "GRACC_AMQP_HOST": ""}
    found = read(FLAT, **env)
    assert (found.settings.port, found.settings.amqp_host) == (1, "broker.example")
    assert found.settings.amqp_exchange_type == "direct"
    assert found.sources["port"] == "environment GRACC_PORT"


def test_the_command_line_overrules_all(read):
    found = read(FLAT, {"log_level": "panic"}, GRACC_LOGLEVEL="warn")
    assert (found.settings.log_level, found.sources["log_level"]) == ("CRITICAL", "option -l")


def test_without_a_file_there_are_the_defaults_of_the_sample(monkeypatch):
    monkeypatch.setattr("tixd.config.loader.DEFAULT_FILE", Path("/nowhere/tixd.toml"))
    found = load_collector({}, {}, None)
    assert found.settings == CollectorSettings()
    assert found.settings.timeout_seconds == 60.0
    assert found.warnings == (DOUBT,)


def test_an_unknown_key_in_the_originals_form_is_a_warning_with_the_nearest_name(read):
    text, doubt = read('[AMQP]\nroutingkye = "x"').warnings
    assert doubt == DOUBT
    assert text.endswith(
        'AMQP.routingkye: no such setting, ignored; did you mean "AMQP.routingKey"?'
    )


def test_an_unknown_key_in_tixd_toml_stops_the_start(read):
    assert 'did you mean "timeout"?' in problem(read, '[collector]\ntimout = "1s"')


def test_an_unknown_variable_is_a_warning_with_the_nearest_name(read):
    text, _ = read("", GRACC_AMQP_HSOT="x").warnings
    assert text.endswith('; did you mean "GRACC_AMQP_HOST"?')


def test_both_forms_in_one_file_contradict_each_other(read):
    assert "put the latter under [collector]" in problem(read, 'port = 1\n[collector]\naddress="x"')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('timeout = "60"', 'timeout = "60": must be a duration above zero, such as'),
        ('timeout = "-1s"', "must be a duration above zero"),
        ('timeout = "0"', "must be a duration above zero"),
        ("port = 70000", "port = 70000: must be a whole number from 1 to 65535"),
        ('port = "x"', "must be a whole number"),
        ('loglevel = "loud"', "must be one of debug, info, warn, error, fatal, panic"),
        ('[AMQP]\nenable = "yes"', 'AMQP.enable = "yes": must be true or false'),
        ('[AMQP]\nformat = "yaml"', "must be one of raw, xml, json"),
        ('[AMQP]\nhost = ""', "must not be empty"),
        ("[AMQP]\ninternal = true", "no client can publish to an internal exchange"),
        ("[AMQP]\nenable = false", "no output is enabled"),
        ('[AMQP]\ncertFile = "/x"', "set both, or none"),
        ('[AMQP]\ncaFile = "/nowhere"', "there is no such file"),
        ('trustedProxies = "ten"', "'ten' is not a network"),
        ('[AMQP]\npassword = "a"\npasswordFile = "b"', "contradict each other"),
        ("a b", "is not valid TOML"),
        *[
            (f'[kafka]\nbrokers = "{text}"', 'such as "kafka1:9092,kafka2:9092"')
            for text in (
                *("kafka", "PLAINTEXT://a:9092", "a:1;b:2", "a:1,b", "a:0", "a:70000"),
                *("a:1,", "a b:1", "fe80::1:9092", "a:1/x"),
            )
        ],
        ('[kafka]\nbrokers = "u:p@a:1"', "without user and password"),
        ('[kafka]\nbrokers = ["a:1"]', "must be one text: host:port of each broker"),
        ('[kafka]\ntopic = "a topic"', "must be at most 249 letters"),
        (f'[AMQP]\nroutingKey = "{"x" * 256}"', "must have at most 255 bytes"),
        (f'[AMQP]\nexchange = "{"é" * 128}"', "must have at most 255 bytes"),
        ("stopSeconds = -1", "must be a number of seconds, 0 or more"),
        ('stopSeconds = "inf"', "must be a number of seconds, 0 or more"),
        (f"stopSeconds = 1{'0' * 400}", "must be a number of seconds, 0 or more"),
        ("stopSeconds = true", "must be a number of seconds, 0 or more"),
    ],
)
def test_a_bad_value_stops_the_start_and_says_what_is_allowed(read, text, said):
    assert said in problem(read, text)


def test_every_problem_is_told_at_once(read):
    assert problem(read, 'port = 0\ntimeout = "x"', GRACC_PORT="y").count("\n") == 2


def test_a_password_is_read_from_its_file_and_shown_nowhere(read, tmp_path):
    (tmp_path / "secret").write_text("hidden\n")
    found = read(f'[AMQP]\npasswordFile = "{tmp_path}/secret"')
    assert found.settings.amqp_password.reveal() == "hidden"
    assert "hidden" not in repr(found)
    assert "hidden" not in problem(read, "port = 0", GRACC_AMQP_PASSWORD="hidden")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[AMQP]\nexchange = ""', "every bundle will get 503"),
        ('[AMQP]\nroutingKey = "k"', 'AMQP.routingKey = "k" is used'),
        ("", ""),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(read, text, said):
    found = read('address = "localhost"\n' + text).warnings
    assert said in "\n".join(found)
    assert len(found) == bool(said)


def test_every_default_is_a_value_that_could_be_given():
    for name, field in COLLECTOR.fields.items():
        assert COLLECTOR.check(name, COLLECTOR.default_text(name)) == field.default


@pytest.mark.parametrize(
    "text", ["a:1", "a.example:9092, b:9093", "127.0.0.1:1", "[::1]:9092,kafka_2:65535"]
)
def test_brokers_of_kafka_are_hosts_with_ports(read, text):
    assert read(f'[kafka]\nbrokers = "{text}"').settings.kafka_brokers == text


def test_an_old_section_for_files_is_ignored_and_said_so(read):
    found = read('[file]\nenable = true\npath = "/var/lib/gracc/records"\nformat = "json"')
    assert found.settings.file_path == ""
    text, _ = found.warnings
    assert "[file]: ignored" in text
    assert "GRACC_FILE_PATH" in text
    assert read("[file]\nmaxBytes = 0", GRACC_FILE_PATH="/r").settings.file_path == "/r"
    assert read('[collector.file]\npath = "/r"').settings.file_path == "/r"


def test_what_switches_off_the_check_of_a_certificate_is_refused_with_advice(read):
    for warnings in (
        read("[AMQP]\nskipVerify = true").warnings,
        read("", GRACC_AMQP_SKIPVERIFY="true").warnings,
    ):
        assert warnings[0].endswith(
            "no such setting, ignored: the broker's certificate is always checked;"
            " name the CA certificates that verify it in AMQP.caFile"
        )
    assert "is always checked" in problem(read, "[collector.AMQP]\nskipVerify = true")


def test_a_setting_that_is_a_number_with_a_point_needs_no_twin_in_the_other_roles(monkeypatch):
    monkeypatch.setitem(COLLECTOR.fields, "ratio", COLLECTOR.fields["stop_seconds"])
    monkeypatch.setitem(COLLECTOR.types, "ratio", float)
    assert COLLECTOR.check("ratio", "1.5") == 1.5
    with pytest.raises(ValueError, match="must be a number of seconds, 0 or more"):
        COLLECTOR.check("ratio", "x")


def test_variables_that_kubernetes_made_of_a_service_called_gracc_are_ignored_in_one_line(read):
    links = {
        "GRACC_PORT": "tcp://10.96.12.7:8888",
        "GRACC_SERVICE_HOST": "10.96.12.7",
        "GRACC_SERVICE_PORT_HTTP": "8888",
        "GRACC_PORT_8888_TCP_ADDR": "10.96.12.7",
    }
    loaded = read(FLAT, **links)
    assert (loaded.settings.port, loaded.sources["port"].endswith("port")) == (8899, True)
    (warning,) = [text for text in loaded.warnings if text.startswith("environment")]
    assert "enableServiceLinks" in warning


@pytest.mark.parametrize(
    ("text", "env"),
    [
        (FLAT, {"GRACC_ADDRESS": "x" * 100_000}),
        (FLAT, {"GRACC_TIMEOUT": "x" * 100_000}),
        (FLAT, {"GRACC_TRUSTEDPROXIES": "x" * 4_000}),
        (FLAT, {"GRACC_KAFKA_BROKERS": "x" * 100_000 + "@"}),
        (f'address = "{"x" * 1_000_000}"', {}),
        (f"[collector]\n{'x' * 1_000_000} = 1", {}),
    ],
)
def test_no_message_repeats_a_long_value_or_key(read, text, env):
    with pytest.raises(errors.ConfigError) as caught:
        read(text, **env)
    assert len(str(caught.value)) <= 1500


def test_of_very_many_unknown_keys_the_first_are_told(read):
    unknown = "\n".join(f"strange_{n} = 1" for n in range(1000))
    assert len(read(unknown + FLAT).warnings) <= 51


@pytest.mark.parametrize(
    "text", [FLAT, 'Port = "8899"', "[amqp]\nskipVerify = true", '[file]\npath = "x"\n[other]\na=1']
)
def test_a_file_of_gracc_collector_without_the_role_is_named_in_one_line(tmp_path, text):
    file = tmp_path / "gracc-collector.cfg"
    file.write_text(text)
    with pytest.raises(errors.ConfigError) as caught:
        load({}, {}, file)
    words = "this is a file of gracc-collector: add --role collector"
    assert str(caught.value) == f"{file}: {words}"
    assert load_for_asking({}, {}, file).settings.role == "standalone"


def test_a_wrong_key_in_a_file_of_tixd_is_still_named(tmp_path):
    file = tmp_path / "tixd.toml"
    file.write_text('timeout = 1\n[api]\nhost = "x"')
    with pytest.raises(errors.ConfigError, match="timeout: no such setting"):
        load({}, {}, file)


def test_a_port_is_shared_by_key_or_variable_and_wants_an_admin_address(read):
    found = read('address = "x"\nreusePort = true\nadminAddress = "localhost:8891"')
    assert (found.settings.reuse_port, found.settings.admin_address) == (True, "localhost:8891")
    assert found.warnings == ()
    found = read('address = "x"', GRACC_REUSEPORT="true", GRACC_ADMINADDRESS="off")
    assert found.settings.reuse_port
    (warning,) = found.warnings
    assert warning.startswith("reusePort = true without adminAddress: ")
