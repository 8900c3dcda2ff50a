"""Who may look at running services: from another host, with a token, after a reload; floods."""

from __future__ import annotations

import contextlib
import http.client
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import made
from tests.support.bundles import PING
from tests.support.collecting import FORM
from tests.support.collector import Collector
from tests.support.hosts import Hosts, inside
from tests.support.ledger import at_api
from tests.support.program import until
from tests.support.service import SHORT, Service, service
from tests.support.stand_in_api import StandInApi
from tixd.collector.server import SERVLET

START = 1_700_000_000

#: Longer ago than the made reports.
DAYS = {"TIX_HISTORY_DAYS": "36500"}

#: Pages, and what else is at their address.
CLOSED = ("/", "/cycles", "/cycles.json", "/static/page.css", "/nowhere", "/installations/1/1")


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts("tixd", "other") as found:
        yield found


def ask(
    address: str, path: str, token: str = "", netns: str | None = None, body: bytes = b""
) -> tuple[int, str]:
    """Status and body of an answer, asked from a host."""

    def exchange() -> tuple[int, str]:
        connection = http.client.HTTPConnection(address, timeout=60)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        method = "POST" if body else "GET"
        connection.request(method, path, body or None, {**headers, **(FORM if body else {})})
        answer = connection.getresponse()
        found = answer.status, answer.read().decode(errors="replace")
        connection.close()
        return found

    return inside(netns, exchange)


@pytest.fixture(params=["", "geheim"], ids=["no token", "a token"])
def remote(hosts: Hosts, tmp_path: Path, request: Any) -> Iterator[tuple[str, str]]:
    """A service on an address of the network, and its token."""
    (tmp_path / "base").mkdir()
    address = f"{hosts.addresses['tixd']}:8889"
    given = {"TIX_PAGE_TOKEN": request.param} if request.param else {}
    options = {"TIX_HTTP_ADDRESS": address, **given}
    before = tuple(hosts.command("tixd"))
    with Service(tmp_path / "base", tmp_path, 1, before=before, **options) as running:
        running.runs()
        until(lambda: running.told()["not_ready"] == [])  # the volume has answered, too
        yield address, request.param


def test_from_another_host_all_but_health_is_closed_without_the_token(hosts, remote):
    address, token = remote
    netns = hosts.netns("other")
    assert ask(address, "/healthz", netns=netns)[0] == 200
    assert ask(address, "/readyz", netns=netns)[0] == 200
    for path in (*CLOSED, "/metrics"):
        status, words = ask(address, path, netns=netns)
        assert (status, "TIX_PAGE_TOKEN" in words) == (401, True)
        assert ask(address, path, "wrong", netns)[0] == 401
    opened = 200 if token else 401
    assert ask(address, "/", token, netns)[0] == opened
    assert ask(address, "/metrics", token, netns)[0] == opened


def test_a_collector_on_the_network_takes_bundles_and_shows_its_page_to_nobody(hosts, tmp_path):
    place, netns = hosts.addresses["tixd"], hosts.netns("other")
    before = tuple(hosts.command("tixd"))
    output = {"file": {"path": str(tmp_path / "out")}, "AMQP": {"enable": False}}
    with Collector(tmp_path, {"address": place, **output}, before=before) as collector:
        address = f"{place}:{collector.port}"
        until(lambda: _is_ready(address, netns))
        assert ask(address, SERVLET, netns=netns, body=PING)[0] == 200
        for path in ("/stats", "/metrics", "/healthz", "/readyz"):
            assert ask(address, path, netns=netns)[0] == 200
        for path in ("/", "/collector", "/static/page.js", "/nowhere"):
            assert ask(address, path, netns=netns)[0] == 401


def _is_ready(address: str, netns: str) -> bool:
    try:
        return ask(address, "/readyz", netns=netns)[0] == 200
    except OSError:
        return False


def test_a_new_token_counts_after_sighup_and_metrics_can_be_open_to_all(tmp_path):
    (tmp_path / "base").mkdir()
    token = tmp_path / "token"
    token.write_text("geheim-eins\n")
    token.chmod(0o600)
    options = {"TIX_PAGE_TOKEN_FILE": str(token), "TIX_METRICS_OPEN": "true"}
    with service(tmp_path / "base", tmp_path, 1, **options) as running:
        assert ask(running.http, "/", "geheim-eins")[0] == 200
        assert ask(running.http, "/metrics")[0] == 200
        token.write_text("geheim-zwei\n")
        running.send_signal(signal.SIGHUP)
        until(lambda: ask(running.http, "/", "geheim-zwei")[0] == 200)
        assert ask(running.http, "/", "geheim-eins")[0] == 401
        assert "geheim-" not in running.log_file.read_text()


@pytest.mark.parametrize("given", ["geheim", "wrong"])
def test_a_flood_of_requests_changes_nothing_of_what_is_posted(tmp_path, given):
    base = tmp_path / "base"
    for user in range(1, 13):
        made.installation(base, START, 28, user=user)
    variables = {**DAYS, "TIX_PAGE_TOKEN": "geheim", "TIX_PROCESSING_PERIOD": SHORT}
    with (
        StandInApi(user="tix", password="secret") as api,
        Service(base, tmp_path, api.port, **variables) as running,
    ):
        until(lambda: running.get("/healthz")[0] == 200)
        with _flood(running, given) as statuses:
            until(lambda: len(api.accepted) == 24)
            until(lambda: statuses.total() >= 1000)
        assert len(at_api(api)) == len(api.accepted) == 24, "each window once"
        assert running.log("page_failed") == []
        assert running.ends()[0] == 0
    assert statuses.keys() <= ({200, 503} if given == "geheim" else {401})


@contextlib.contextmanager
def _flood(running: Service, token: str) -> Iterator[Counter[int]]:
    """Ask over twelve connections as fast as answers come while the block runs."""
    ended, statuses = threading.Event(), Counter[int]()

    def send() -> None:
        connection = http.client.HTTPConnection(running.http, timeout=60)
        with contextlib.closing(connection):
            while not ended.is_set():
                try:
                    headers = {"Authorization": f"Bearer {token}"}
                    connection.request("GET", "/cycles", headers=headers)
                    answer = connection.getresponse()
                    answer.read()
                    statuses[answer.status] += 1
                except (OSError, http.client.HTTPException):  # its time was over
                    connection.close()

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        ended.set()
        for thread in threads:
            thread.join()
