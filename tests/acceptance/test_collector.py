"""The collector as a process: its file, options, signals and exit codes; the file as its output."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.bundles import PING, form
from tests.support.collecting import FORM
from tests.support.collector import Collector
from tests.support.program import ROOT, TIXD, until
from tests.support.senders import Senders
from tests.support.stand_in_api import closed_port
from tixd.collector.server import SERVLET


def to_file(folder: Path) -> dict[str, object]:
    """Settings with a file as the only output."""
    return {"AMQP": {"enable": False}, "file": {"path": str(folder / "records")}}


def identities(folder: Path) -> list[str]:
    """What was published to the file, in its order."""
    files = sorted(folder.glob("records*"))
    lines = [line for file in files for line in file.read_text().splitlines()]
    return [json.loads(line)["RecordId"] for line in lines]


def said(*options: str, **env: str) -> tuple[int, str]:
    """Exit code and all output of a collector that ends by itself."""
    return answered("--role", "collector", *options, **env)


def answered(*words: str, **env: str) -> tuple[int, str]:
    """Exit code and all output of a command."""
    done = subprocess.run(
        [*TIXD, *words],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_collector_writes_what_it_was_sent_and_ends_with_zero(tmp_path):
    with Collector(tmp_path, to_file(tmp_path)) as collector:
        collector.becomes_ready()
        assert collector.post(form(["a", "b"])) == 200
        assert collector.ends()[0] == 0
    assert identities(tmp_path) == ["a", "b"]
    assert [line["event"] for line in collector.log()][-2:] == ["stopping", "stopped"]


def test_a_collector_whose_file_hangs_ends_with_zero_all_the_same(tmp_path):
    with Collector(tmp_path, {**to_file(tmp_path), "timeout": "2s"}) as collector:
        collector.becomes_ready()
        with open(tmp_path / "records") as held_by_somebody:
            fcntl.flock(held_by_somebody, fcntl.LOCK_EX)
            assert collector.post(form(["a"])) == 503
            assert collector.ends()[0] == 0


def test_the_broker_away_does_not_stop_the_start(tmp_path):
    amqp = {"AMQP": {"host": "127.0.0.1", "port": closed_port(), "retry": "100ms"}}
    with Collector(tmp_path, amqp) as collector:
        collector.runs()
        assert collector.post(form(["a"])) == 503
        assert collector.ask("GET", "/healthz")[0] == 200
        assert collector.ask("GET", "/readyz")[0] == 503
        until(lambda: collector.log("broker_not_connected"))
        assert collector.ends()[0] == 0
    assert len(collector.log("broker_not_connected")) == 1, "one line per change of state"


def test_status_and_health_tell_how_the_collector_is(tmp_path):
    amqp = {"AMQP": {"host": "127.0.0.1", "port": f"{closed_port()}"}}
    with Collector(tmp_path, amqp) as collector:
        collector.runs()
        assert collector.post(PING) == 200
        env = {"RUNTIME_DIRECTORY": str(collector.runtime_folder)}
        code, health = answered("health", **env)
        assert (code, "collector: AMQP: " in health) == (1, True)
        status = answered("status", **env)[1]
        assert "requests, including pings" in status
        assert "cycle" not in status
        code, kept = answered("failed", "list", **env)
        assert (code, "a collector, keeps no results" in kept) == (1, True)
        assert collector.ends()[0] == 0
    assert list(collector.runtime_folder.iterdir()) == []


def test_a_port_that_is_taken_is_exit_code_3(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        code, output = said(GRACC_ADDRESS="127.0.0.1", GRACC_PORT=port)
    assert code == 3
    assert "Address already in use" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("options", "env", "message"),
    [
        (["-c", "/nowhere.toml"], {}, "cannot be read"),
        ([], {"GRACC_TIMEOUT": "soon"}, 'environment GRACC_TIMEOUT = "soon": must be a duration'),
        (["-s", "/tmp"], {}, "has no schedule"),
        (["once"], {}, "has no command once"),
    ],
)
def test_a_wrong_configuration_or_option_is_exit_code_2(options, env, message):
    code, output = said(*options, **env)
    assert code == 2
    assert message in output


def test_a_role_with_the_number_of_an_instance_is_the_role():
    code, output = answered("--role", "collector-2", "check-config", GRACC_PORT="8899")
    assert (code, "GRACC_PORT" in output) == (0, True)


def test_check_config_shows_the_collectors_settings_and_no_secret(tmp_path):
    file = tmp_path / "gracc.toml"
    file.write_text('port = "1234"\n[AMQP]\npassword = "hidden"\nexchagne = "x"\n')
    code, output = said(f"-c={file}", "check-config")
    assert code == 0
    assert f"{file} port" in output
    assert 'did you mean "AMQP.exchange"?' in output
    assert "hidden" not in output


@pytest.mark.parametrize("where", ["foo", "127.0.0.1:99999", "127.0.0.1:0", "a:b", "::1:6060"])
def test_a_place_for_profiles_that_is_none_stops_the_start_with_what_is_allowed(where):
    code, told = said("-pprof", where)
    assert code == 2
    assert f'-pprof "{where}": must be host:port' in told
    assert "Traceback" not in told


@pytest.mark.parametrize("spelling", ["-pprof=on", "--pprof on"])
def test_options_have_one_dash_or_two_and_an_equals_sign_or_none(tmp_path, spelling):
    with Collector(tmp_path, to_file(tmp_path), *spelling.split(), "-l=DEBUG") as collector:
        collector.becomes_ready()
        assert b"goroutine" in collector.ask("GET", "/debug/pprof/")[1]
        assert b"Service._live" in collector.ask("GET", "/debug/pprof/goroutine")[1]
        assert collector.ask("GET", "/debug/pprof/profile?seconds=1")[0] == 200
        assert collector.ask("GET", "/debug/pprof/profile?seconds=x")[0] == 400


def test_profiles_can_have_an_address_of_their_own(tmp_path):
    port = closed_port()
    with Collector(tmp_path, to_file(tmp_path), "-pprof", f"127.0.0.1:{port}") as collector:
        collector.becomes_ready()
        assert collector.ask("GET", "/debug/pprof/")[0] == 404
        collector.port = port  # which is opened after the other one
        until(lambda: b"tixd" in collector.ask("GET", "/debug/pprof/cmdline")[1])


def test_sigusr2_turns_debug_on_and_off(tmp_path):
    with Collector(tmp_path, to_file(tmp_path)) as collector:
        collector.becomes_ready()
        for number in (1, 2):
            collector.send_signal(signal.SIGUSR2)
            until(lambda n=number: len(collector.log("debug_toggled")) == n)
        assert [line["on"] for line in collector.log("debug_toggled")] == [True, False]


def test_rotating_the_log_under_load_loses_no_line(tmp_path):
    log = tmp_path / "log"
    with Collector(tmp_path, to_file(tmp_path), "-l", str(log), log="stderr") as collector:
        collector.runs()
        with Senders(collector.port, count=4, size=2) as senders:
            for turn, number in enumerate([signal.SIGUSR1, signal.SIGHUP] * 3):
                senders.until_accepted(20)
                log.rename(tmp_path / f"log.{turn}")
                collector.send_signal(number)
                until(log.exists)
        assert collector.ends()[0] == 0
    lines = [line for file in tmp_path.glob("log*") for line in file.read_text().splitlines()]
    requests = [line for line in map(json.loads, lines) if line["event"] == "request"]
    pings = [line for line in requests if line["length"] < 100]
    assert len(requests) - len(pings) == len(senders.answers)


@pytest.mark.alone
def test_sigterm_under_load_answers_what_is_in_hand(tmp_path):
    with Collector(tmp_path, to_file(tmp_path)) as collector:
        collector.becomes_ready()
        with Senders(collector.port, count=8, size=20) as senders:
            senders.until_accepted(400)
            code, seconds = collector.ends()
        assert (code, collector.stderr) == (0, None)
        assert seconds < 10
    assert set(senders.statuses()) <= {200, 0}
    assert senders.accepted <= set(identities(tmp_path)) <= senders.tried


@pytest.mark.alone
def test_a_request_that_goes_on_after_sigterm_is_given_up_in_time(tmp_path):
    settings = to_file(tmp_path) | {"timeout": "60s", "stopSeconds": 0.5}
    with Collector(tmp_path, settings) as collector:
        collector.runs()
        with socket.create_connection(("127.0.0.1", collector.port)) as half:
            fields = {**FORM, "Host": "x", "Content-Length": "9"}
            head = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
            half.sendall(f"POST {SERVLET} HTTP/1.1\r\n{head}\r\ncommand=".encode())
            something = re.compile(rb"\ntixd_collector_bytes_in_hand [1-9]")
            until(lambda: something.search(collector.ask("GET", "/metrics")[1]))
            code, seconds = collector.ends()
    assert (code, 0.5 <= seconds < 20) == (0, True)


def test_full_files_are_set_aside_and_the_oldest_deleted(tmp_path):
    settings = to_file(tmp_path)
    settings["file"] |= {"maxBytes": 10_000, "keep": 2}
    with Collector(tmp_path, settings) as collector:
        collector.becomes_ready()
        for number in range(20):
            assert collector.post(form([number])) == 200
    names = sorted(path.name for path in tmp_path.glob("records*"))
    assert names[0] == "records"
    assert len(names) == 3
    assert all(path.stat().st_size <= 10_000 for path in tmp_path.glob("records*"))
