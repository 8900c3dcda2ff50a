"""Nobody is shown a password: not by logs, answers, files, titles of processes or a broker.

The real programs run with passwords that are recognised in whatever shape; all that somebody can
see of them is gathered and searched. That the search finds what is there: test_config_secrets.py.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from tests.support import made, program
from tests.support.broker import Broker
from tests.support.bundles import form
from tests.support.collector import Collector
from tests.support.direct import Direct, bound_queue, to_broker
from tests.support.program import until
from tests.support.recognised import ODD, Password
from tests.support.service import Service, listening, service
from tests.support.site import Fleet, is_ready
from tests.support.stand_in_api import StandInApi, closed_port
from tests.support.stand_in_proxy import StandInProxy

START = 1_700_000_000

#: The tix-api's is sent in Latin-1; what Latin-1 has not goes out in UTF-8, and so is the proxy's.
API, PROXY = Password("Api", ODD.replace("€", "")), Password("Proxy")
BROKER, WRONG = Password("Broker"), Password("Wrong")
PASSWORDS = (API, PROXY, BROKER, WRONG)

DEBUG = {"CELERY_LOG_LEVEL": "DEBUG", "TIX_API_PASSWORD": API.text}

#: What an operator asks a service that runs.
QUESTIONS = (
    *("status", "status --format json", "health", "failed list"),
    *("check-config", "check-config --format json"),
    *("check-config --connect", "check-config --connect --format json"),
)


def proxied(port: int) -> dict[str, str]:
    """The variable that has posts go through a proxy which asks for a password."""
    return {"HTTP_PROXY": f"http://anna:{PROXY.in_url}@127.0.0.1:{port}"}


def shown(seen: dict[str, str]) -> list[str]:
    """Where a password is seen, and which."""
    assert "" not in seen.values(), [place for place, text in seen.items() if not text]
    return [
        f"{at}: {word.name}"
        for at, text in seen.items()
        for word in PASSWORDS
        if word.seen_in(text)
    ]


def files(*folders: Path) -> dict[str, str]:
    """All files of these folders that hold something."""
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    texts = {}
    for path in found:
        with contextlib.suppress(FileNotFoundError):  # renamed or deleted meanwhile
            texts[str(path)] = path.read_bytes().decode("utf-8", "replace") or "-"
    return texts


def titles(process: subprocess.Popen[bytes]) -> str:
    """How the processes of a service call themselves."""
    parent = psutil.Process(process.pid)
    return repr([one.cmdline() for one in (parent, *parent.children(recursive=True))])


def answers(running: Service, questions: Iterable[str] = QUESTIONS) -> dict[str, str]:
    """What it says over HTTP and its socket, and what the commands make of that."""
    found = {path: running.get(path)[1] for path in ("/metrics", "/readyz", "/healthz", "/")}
    for words in questions:
        command = [*program.TIXD, *words.split()]
        done = subprocess.run(command, env=running.env, capture_output=True, text=True, timeout=60)
        found[words] = done.stdout + done.stderr
    return {**found, "status": json.dumps(running.status()), "titles": titles(running)}


def test_a_service_that_posts_through_a_proxy_shows_no_password(tmp_path):
    made.installation(tmp_path / "base", START)
    with (
        StandInApi(user="tix", password=API.text) as api,
        StandInProxy() as proxy,
        listening(tmp_path / "notify") as manager,
    ):
        variables = DEBUG | proxied(proxy.port) | {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with service(tmp_path / "base", tmp_path, api.port, **variables) as running:
            until(lambda: api.accepted)
            seen = answers(running)
            assert running.ends()[0] == 0
        seen["systemd"] = repr(manager.said())
    assert proxy.credentials[0].startswith("basic ")
    (tmp_path / "notify").unlink()
    assert shown(seen | files(tmp_path)) == []


@pytest.mark.parametrize(
    ("fault", "log_format"),
    [("api refuses", "text"), ("proxy refuses", "json"), ("proxy away", "text")],
)
def test_a_cycle_whose_posts_fail_shows_no_password(tmp_path, fault, log_format):
    made.installation(tmp_path, START)
    refusal = b"HTTP/1.1 407 No\r\n\r\n" if fault == "proxy refuses" else b""
    with StandInApi(user="tix", password="x") as api, StandInProxy(refusal) as proxy:
        port = closed_port() if fault == "proxy away" else proxy.port
        variables = DEBUG | proxied(port) | {"TIX_LOG_FORMAT": log_format}
        ended = program.once(tmp_path, api.port, **variables)
    assert (ended.code, ended.counts["windows_stored"]) == (0, 1)
    assert shown({"output": ended.text} | files(tmp_path)) == []


def test_an_unexpected_end_shows_no_password_with_all_its_stack(tmp_path):
    main = (
        "import sys, tixd.cli, tixd.roles\n"
        "def live(*everything): raise RuntimeError(everything)\n"
        "tixd.roles.live, sys.argv = live, ['tixd', '-c', '/dev/null', '-l', 'DEBUG']\n"
        "tixd.cli.run()"
    )
    command = [sys.executable, "-c", main]
    variables = program.environment(tmp_path, 1) | DEBUG | proxied(1)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
    assert "RuntimeError: (Config(settings=Settings(" in done.stderr
    assert shown({"stderr": done.stderr}) == []


def test_roles_over_a_broker_show_no_password_be_it_right_or_wrong(tmp_path, broker):
    made.installation(tmp_path / "base", START)
    direct = Direct(broker.port, password=BROKER.text)
    with StandInApi(user="tix", password=API.text) as api:
        start = Fleet(tmp_path / "base", tmp_path, api.port, broker.port)
        variables = DEBUG | {"TIX_RABBITMQ_PASS": BROKER.text}
        broker.set_password(WRONG.text)
        with start.worker(**variables) as worker, start.dispatcher(**variables) as dispatcher:
            until(lambda: all(role.log("broker_not_connected") for role in (worker, dispatcher)))
            until(lambda: worker.get("/readyz")[0] == 503)
            refused = {"refused": worker.get("/readyz")[1]}
            broker.set_password(BROKER.text)
            until(lambda: is_ready(worker) and is_ready(dispatcher) and api.accepted)
            direct.publish("celery", b"{", content_type="application/json")
            until(lambda: worker.log("message_dead_lettered"))
            seen = refused | known_to(broker) | answers(worker, ()) | files(tmp_path)
            seen |= {f"dispatcher {at}": text for at, text in answers(dispatcher, ()).items()}
            seen["dead"] = repr(direct.drain("tixd.dead"))
    assert shown(seen) == []


def known_to(broker: Broker) -> dict[str, str]:
    """What the broker's own tools say of connections and consumers."""
    # Its usual form shows a text with an umlaut as a list of numbers.
    said = broker.ctl("list_connections", "client_properties", "name", "--formatter", "json")
    assert "tixd" in said
    return {"connections": said}


def test_the_collector_shows_no_password_be_it_right_or_wrong(tmp_path, broker):
    settings = to_broker(broker.port, loglevel="debug")
    settings["AMQP"] |= {"password": BROKER.text}
    broker.set_password(WRONG.text)
    with Collector(tmp_path, settings, "-pprof", "on") as running:
        until(
            lambda: running.log("broker_not_connected") and running.ask("GET", "/readyz")[0] == 503
        )
        seen = {"refused": running.ask("GET", "/readyz")[1].decode()}
        broker.set_password("guest")
        bound_queue(broker)
        broker.set_password(BROKER.text)
        running.becomes_ready()
        assert running.post(form(["a", "b"])) == 200
        paths = ["/stats", "/metrics", "/readyz", "/debug/pprof/goroutine"]
        paths += ["/debug/pprof/cmdline", "/debug/pprof/profile?seconds=1"]
        seen |= {path: running.ask("GET", path)[1].decode() or "-" for path in paths}
        seen |= known_to(broker) | {"titles": titles(running)}
    running.file.unlink()
    assert shown(seen | files(tmp_path)) == []
