"""`tixd check-config --connect` as operators run it, beside services that must not notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import made
from tests.support.chosen import few
from tests.support.collector import Collector
from tests.support.direct import Direct
from tests.support.program import ROOT, TIXD, environment, until
from tests.support.relay import Relay
from tests.support.service import LONG, service
from tests.support.site import Fleet, is_ready
from tests.support.stand_in_api import StandInApi, closed_port
from tests.support.terminal import WIDTHS, screen
from tests.support.volumes import HangingVolume, by_all

START = 1_700_000_000

#: A user that no machine has by name.
USER = 41_234

#: tixd, which notes in a file, at each fork, how many threads it has, and whether it has numpy.
NOTING = """
import os, sys
fork, note = os.fork, open(sys.argv.pop(1), "w", buffering=1)
def noted():
    print(len(os.listdir("/proc/self/task")), "numpy" in sys.modules, file=note)
    return fork()
os.fork = noted
from tixd.__main__ import main
main()
"""

#: How long the command may take however dead everything is; and what a busy machine adds to it.
LONGEST_SECONDS, PATIENCE_SECONDS = 15.0, 10.0


def told(
    env: dict[str, str], *options: str, before: Sequence[str] = ()
) -> tuple[int, dict[str, str]]:
    """Exit code, and what the command says of each thing: "fine: ..." or "WRONG: ..."."""
    command = [*before, *TIXD, *options, "check-config", "--connect"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    lines = done.stdout.partition("\n\n")[0].splitlines()
    return done.returncode, {line[:16].strip(): line[16:].strip() for line in lines}


def beside(running: object, base: Path, port: int, **variables: str) -> dict[str, str]:
    """The environment of a service that runs, for the command."""
    state = running.state
    return environment(base, port) | {
        "CELERY_BEAT_SCHEDULE_DIR": str(state / "schedule"),
        "RUNTIME_DIRECTORY": str(state / "run"),
        "TIX_HTTP_ADDRESS": running.http,
        **variables,
    }


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below it, by inode and time; the service itself writes its history."""
    found = ((path, path.stat()) for path in folder.rglob("*") if "history" not in path.name)
    return {str(path): (facts.st_ino, facts.st_mtime_ns) for path, facts in found}


@contextmanager
def somebodys_reports() -> Iterator[Path]:
    """A folder that all may enter, with a folder "base" of reports that is USER's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        made.installation(Path(name) / "base", START, 3)
        for path in [Path(name) / "base", *(Path(name) / "base").rglob("*")]:
            os.chown(path, USER, USER)
        yield Path(name)


def all_fine(code: int, lines: dict[str, str]) -> bool:
    """Whether nothing is wrong; fails with all lines where something is."""
    assert (code, {line[:5] for line in lines.values()}) == (0, {"fine:"}), lines
    return True


def test_all_is_fine_beside_a_service_that_does_not_notice(tmp_path):
    base, state = tmp_path / "reports", tmp_path / "state"
    made.installation(base, START, 3)
    with (
        StandInApi(user="tix", password="secret") as api,
        service(base, state, api.port) as running,
    ):
        until(lambda: running.log("cycle_scanned") and not running.told()["open"])
        until(lambda: any(state.rglob("history.sqlite-shm")))
        before, log = contents(tmp_path), running.log()
        code, lines = told(beside(running, base, api.port))
        assert all_fine(code, lines)
        assert lines["user"].startswith("fine: tried as ")
        assert f" pid {running.pid} on " in lines["schedule"]
        has_it = f"{running.http}: the standalone of {base}, pid {running.pid}, answers there"
        assert lines["HTTP address"] == f"fine: {has_it}"
        assert f"a standalone runs here, pid {running.pid}" in lines["control socket"]
        assert (contents(tmp_path), running.log()) == (before, log)
        assert running.in_state("running")
        assert api.posts == []


def test_an_address_that_another_role_or_another_reports_folder_has_is_wrong(tmp_path):
    base, state = tmp_path / "reports", tmp_path / "state"
    base.mkdir()
    with StandInApi() as api, service(base, state, api.port) as running:
        other = beside(running, tmp_path / "state", api.port)
        code, lines = told(other)
        has_it = f"the standalone of {base}, pid {running.pid}, has it: name another in TIX_HTTP_AD"
        assert has_it in lines["HTTP address"]
        code, lines = told(beside(running, base, api.port), "--role", "worker")
        assert code == 1
        assert has_it in lines["HTTP address"]


@pytest.mark.parametrize("columns", few(WIDTHS, 60, 200))
def test_with_connect_the_checks_come_first_and_then_what_is_set(tmp_path, columns):
    env = environment(tmp_path, closed_port(), TIX_HTTP_ADDRESS="off", RUNTIME_DIRECTORY="/tmp")
    own = {name: text for name, text in env.items() if name.startswith(("TIX_", "RUNTIME"))}
    shown = screen("check-config", "--connect", columns=columns, environment=own)
    assert shown.faults == []
    text = "\n".join(shown.lines)
    assert text.index("WRONG: ") < text.index("TIX_API_CONNECT_SECONDS")
    last = text[text.index("TIX_API_CONNECT_SECONDS") :]
    wrong = sum(line.count("WRONG: ") for line in shown.lines)
    assert f"configuration: allowed, but {wrong} of " in last
    assert "configuration: fine" not in text
    assert "30.0 seconds" in text
    assert "TIX_API_CA_BUNDLE" not in text
    assert "TIX_STOP_SECONDS" not in text
    assert ("TIX_WORKERS = 1 processes  (environment TIX_WORKERS)" in text) is (columns < 200), (
        "a table only where it fits"
    )


def test_something_wrong_is_exit_code_1_also_as_json_and_a_setting_is_2(tmp_path):
    env = environment(tmp_path, closed_port()) | {"TIX_HTTP_ADDRESS": "off"}
    env["RUNTIME_DIRECTORY"] = str(tmp_path)
    command = [*TIXD, "check-config", "--connect", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    told_as_json = json.loads(done.stdout)
    found = {one["what"]: one for one in told_as_json["connect"]}
    assert (done.returncode, told_as_json["fine"]) == (1, False)
    assert [what for what, one in found.items() if not one["fine"]] == ["tix-api"]
    assert "Connection refused: start it" in found["tix-api"]["text"]
    assert "secret" not in done.stdout + done.stderr
    wrong = subprocess.run(command, cwd=ROOT, env=env | {"TIX_API_PORT": "x"}, capture_output=True)
    assert wrong.returncode == 2


def test_it_forks_while_it_has_no_threads(tmp_path):
    note, env = tmp_path / "note", environment(tmp_path, closed_port(), TIX_HTTP_ADDRESS="off")
    env |= {"TIX_RABBITMQ_HOST": "127.0.0.1", "TIX_RABBITMQ_PORT": str(closed_port())}
    words = (str(note), *TIXD[3:], "--role", "worker", "check-config", "--connect")
    subprocess.run([sys.executable, "-c", NOTING, *words], cwd=ROOT, env=env, capture_output=True)
    seen = note.read_text().splitlines()
    assert len(seen) >= 5
    assert set(seen) == {"1 False"}


@pytest.mark.long
def test_the_command_ends_in_time_however_dead_everything_is(tmp_path):
    with HangingVolume(tmp_path / "fs") as volume, StandInApi() as api, Relay(api.port) as relay:
        relay.black_hole()
        env = environment(volume.path, relay.port, TIX_RABBITMQ_HOST="127.0.0.1")
        env |= {"TIX_RABBITMQ_PORT": str(relay.port), "TIX_HTTP_ADDRESS": "off"}
        env |= {"TIX_API_READ_SECONDS": "60", "TIX_API_TOTAL_SECONDS": "60"}
        volume.hang()
        began = time.monotonic()
        code, lines = told(env, "--role", "worker")
        seconds = time.monotonic() - began
        volume.answer()
    assert code == 1
    for what, limit in (("user", 2), ("reports folder", 12)):
        told_of = f"WRONG: no answer within {limit} s: the volume hangs: see its disk or mount"
        assert lines[what] == told_of
    assert lines["tix-api"].startswith("WRONG: ")
    assert "no answer within 9 s" in lines["RabbitMQ"]
    assert seconds < LONGEST_SECONDS + PATIENCE_SECONDS


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root can start as root")
def test_root_tries_as_the_user_that_the_service_would_be():
    with somebodys_reports() as place, StandInApi(user="tix", password="secret") as api:
        before = contents(place)
        env = environment(place / "base", api.port, RUNTIME_DIRECTORY=f"{place}/run")
        env |= {"CELERY_BEAT_SCHEDULE_DIR": f"{place}/s", "TIX_HTTP_ADDRESS": "off"}
        code, lines = told(env, before=by_all())
        os.chown(place / "base/1/2", 0, 0)
        (place / "base/1/2").chmod(0o750)
        worse, then = told(env, before=by_all())
        assert contents(place) == before
    assert all_fine(code, lines)
    assert lines["user"].startswith(f"fine: tried as uid {USER}, which tixd becomes when root")
    assert f"as uid {USER};" in lines["reports folder"]
    assert worse == 1
    assert "1/2 is rwxr-x---, of root (uid 0) and group root: run" in then["reports folder"]


@pytest.mark.long
def test_dispatcher_and_worker_do_not_notice_that_they_are_looked_at(tmp_path, broker):
    base = tmp_path / "reports"
    base.mkdir()
    with StandInApi(user="tix", password="secret") as api:
        starting = Fleet(base, tmp_path, api.port, broker.port)
        once = {"TIX_PROCESSING_PERIOD": LONG}
        with starting.worker(**once) as worker, starting.dispatcher(**once) as dispatcher:
            until(lambda: worker.log("fanned_out") and dispatcher.log("cycle_scanned"))
            until(lambda: is_ready(worker) and is_ready(dispatcher))
            amqp = {"TIX_RABBITMQ_HOST": "127.0.0.1", "TIX_RABBITMQ_PORT": str(broker.port)}
            logs = dispatcher.log(), worker.log()
            code, lines = told(beside(worker, base, api.port, **amqp), "--role", "worker")
            assert all_fine(code, lines)
            assert "0 messages wait, 1 consumers" in lines["RabbitMQ"]
            code, lines = told(beside(dispatcher, base, api.port, **amqp), "--role", "dispatcher")
            assert all_fine(code, lines)
            assert f"pid {dispatcher.pid} on " in lines["RabbitMQ"]
            assert (dispatcher.log(), worker.log()) == logs
            assert [is_ready(dispatcher), is_ready(worker)] == [True, True]
    assert Direct(broker.port).drain("celery") == []


@pytest.mark.long
def test_a_collector_does_not_notice_that_it_is_looked_at(tmp_path):
    output = {"AMQP": {"enable": False}, "file": {"path": str(tmp_path / "records")}}
    with Collector(tmp_path, output) as collector:
        collector.becomes_ready()
        env = os.environ | {"RUNTIME_DIRECTORY": str(collector.runtime_folder)}
        code, lines = told(env, "--role", "collector", "-c", str(collector.file))
        assert code == 0, lines
        assert lines["file"].endswith("records: can be appended to")
        assert f"the collector of this host, pid {collector.pid}, ans" in lines["HTTP address"]
        assert f"pid {collector.pid}" in lines["control socket"]
        assert collector.ready()


def test_a_port_that_collectors_share_is_fine_and_one_that_is_not_shared_is_wrong(tmp_path):
    output = {"AMQP": {"enable": False}, "file": {"path": str(tmp_path / "records")}}
    own = f"127.0.0.1:{closed_port()}"
    with Collector(tmp_path, {"reusePort": True, "adminAddress": own, **output}) as collector:
        collector.runs()
        env = os.environ | {"RUNTIME_DIRECTORY": str(collector.runtime_folder)}
        words = ("--role", "collector", "-c", str(collector.file))
        address = f"127.0.0.1:{collector.port}"
        code, lines = told(env, *words)
        assert code == 0, lines
        assert lines["HTTP address"] == f"fine: {address} is shared with a running tixd"
        has_it = f"the collector of this host, pid {collector.pid}, answers there"
        assert lines["admin address"] == f"fine: {own}: {has_it}"
    with Collector(tmp_path, output, port=collector.port) as alone:
        alone.runs()
        code, lines = told(env | {"GRACC_REUSEPORT": "true"}, *words)
        assert code == 1
        expected = f"{address}: Address already in use without reusePort, or by another user: end "
        assert expected in lines["HTTP address"]
