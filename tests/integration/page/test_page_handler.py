"""Requests for pages over real sockets: hostile ones, many, slow ones, and nobody looking."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.filled_history import fill
from tests.support.page_host import Host, hosting, states, well
from tests.support.program import ROOT, until
from tixd.page import handler, overview, pages, render
from tixd.page.views import Page
from tixd.runtime import http_server

TOKEN = "a token"

#: The longest that page code may hold the loop, CPU seconds (page.md); a turn takes about 1 ms.
LONGEST_TURN_SECONDS = 0.02


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The history of a day of 20 lines."""
    path = tmp_path_factory.mktemp("page") / "history.sqlite"
    fill(path, installations=20, days=1.0, end=time.time())
    return str(path)


@pytest.fixture
def host(file: str) -> Iterator[Host]:
    with hosting(well(file)) as found:
        yield found


def raw(host: Host, request: bytes, seconds: float = 60.0) -> bytes:
    """Everything that comes back for these bytes."""
    name, port = host.address.split(":")
    with socket.create_connection((name, int(port)), timeout=seconds) as sock:
        sock.sendall(request)
        parts = []
        with contextlib.suppress(ConnectionResetError):
            while part := sock.recv(65536):
                parts.append(part)
    return b"".join(parts)


def ask(host: Host, target: str, *headers: str, name: str = "localhost") -> bytes:
    """The answer to a GET."""
    head = "".join(f"{header}\r\n" for header in headers)
    text = f"GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n{head}\r\n"
    return raw(host, text.encode("latin-1"))


def status(answer: bytes) -> int:
    """The status of an answer; 0 where there is none."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


# --- what is asked -------------------------------------------------------------------------------

HOSTILE = (
    *("/%00", "/cycles%00", "/\xff\xfe", "/%ff%fe", "/cycles/%2e%2e/", "//", "/./", "/cycles/"),
    *("/static/../page.css", "/static/%2e%2e/render.py", "/static/..%2frender.py", "/static/"),
    *("/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/page.css%00", "/..", "/../../etc"),
    *("/cycles?page=-1", "/cycles?page=99999999999999999999", "/cycles?sort=;DROP TABLE cycles"),
    *("/cycles?" + "a=1&" * 400, "/cycles?%ff=%00&search=%00%ff", "/?" + "x" * 1900),
    *(
        "/{{1337*1337}}",
        "/installations/{{1337*1337}}/1",
        "/%7B%7B1337*1337%7D%7D",
        "/<script>alert(1)</script>",
    ),
    *("/installations/0/0", "/installations/" + "9" * 400 + "/1", "/installations/-1/1"),
    *(
        "/installations/1/1.json",
        "/installations/\xb2/1",
        "/installations?search=%22%3E%3Cscript%3E",
    ),
    *("/installations?search=" + "%25" * 600, "/.json", "/.csv", "/.json.csv", "/cycles.json.json"),
    *("http://evil.example/cycles", "/collector/senders/x", "/cycles#x", "/cycles;x=1", "/CYCLES"),
)


@pytest.mark.parametrize("target", HOSTILE)
def test_no_target_ends_in_an_error_of_tixd_or_touches_another_file(host, target):
    answer = ask(host, target.replace(" ", "%20"))
    assert status(answer) in (200, 400, 404)
    assert b"root:" not in answer
    assert b"import " not in answer
    assert b"<script>" not in answer
    assert b"1787569" not in answer


def test_every_answer_forbids_what_the_page_does_not_need(host):
    for target in ("/", "/nowhere", "/cycles.json", "/cycles.csv", "/static/page.js"):
        head = ask(host, target).partition(b"\r\n\r\n")[0].decode()
        assert (
            "\r\nContent-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self'"
            " data:; script-src 'self';"
        ) in head
        assert "\r\nX-Content-Type-Options: nosniff" in head
        assert "\r\nCross-Origin-Resource-Policy: same-origin" in head


def test_a_static_file_that_the_browser_has_is_not_sent_again(host):
    head, _, body = ask(host, "/static/page.css").partition(b"\r\n\r\n")
    [tag] = [line for line in head.decode().split("\r\n") if line.startswith("ETag: ")]
    again = ask(host, "/static/page.css", f"If-None-Match: {tag.removeprefix('ETag: ')}")
    assert body.startswith(b"/*")
    assert status(again) == 304
    assert again.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed_from_the_page(host, method):
    request = f"{method} /cycles HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert status(raw(host, request.encode())) == 404
    assert status(raw(host, request.replace("/cycles", "/healthz").encode())) == 405


@pytest.mark.parametrize("target", ["/", "/cycles.json", "/static/page.css", "/metrics", "/no"])
def test_who_gives_no_token_or_a_wrong_one_gets_401_for_everything(host, target):
    host.token = TOKEN
    assert status(ask(host, target)) == 401
    answer = ask(host, target, "Authorization: Bearer a tokem")
    assert status(answer) == 401
    assert b"WWW-Authenticate: Basic" in answer
    assert TOKEN.encode() not in answer
    assert status(ask(host, "/healthz")) == 200
    assert status(ask(host, "/readyz")) == 200
    assert status(ask(host, target, f"Authorization: Bearer {TOKEN}")) in (200, 404)


@pytest.mark.parametrize("target", ["/", "/metrics"])
def test_under_a_foreign_name_or_through_a_proxy_nothing_is_shown_without_a_token(host, target):
    assert status(ask(host, target, name="evil.example")) == 403
    assert status(ask(host, target, "X-Forwarded-For: 192.0.2.1")) == 403
    assert status(ask(host, target)) == 200


# --- the history ---------------------------------------------------------------------------------


def test_a_missing_a_damaged_and_a_foreign_file_are_said_on_the_page(host, tmp_path):
    for content, words in (
        (None, "no history yet"),
        (b"x" * 4096, "damaged"),
        (b"", "not a history"),
    ):
        path = tmp_path / "history.sqlite"
        if content is not None:
            path.write_bytes(content)
        host.role = well(str(path))
        for target in ("/", "/cycles"):
            answer = ask(host, target).decode()
            assert status(answer.encode()) == 200
            assert words in answer


def test_a_history_that_another_process_has_locked_is_said_on_the_page(host, tmp_path):
    path = tmp_path / "history.sqlite"
    fill(path, installations=1, days=0.1, end=time.time())
    host.role = well(str(path))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("CREATE TABLE other (value)")
        answer = ask(host, "/cycles")
    assert status(answer) == 200
    assert b"another process has locked it" in answer


def test_a_query_that_takes_too_long_ends_and_the_page_says_so(host, monkeypatch):
    endless = (
        "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    )

    def show(query, now, history):
        if history:
            history.execute(endless).fetchall()
        return overview.show(query, now, history)

    monkeypatch.setattr(render, "QUERY_SECONDS", 0.1)
    monkeypatch.setattr(pages, "PAGES", (Page("/slow", pages.ALL, show, "Slow"),))
    answer = ask(host, "/slow")
    assert status(answer) == 200
    assert b"it takes too long to read" in answer


@pytest.mark.parametrize("state", states("/nowhere.sqlite"))
def test_every_state_is_shown_on_every_page_of_its_role(host, state):
    host.role = states("/nowhere.sqlite")[state]
    for page in pages.of_role(host.role.role):
        if "{" not in page.path:
            assert status(ask(host, page.path)) == 200
            assert status(ask(host, f"{page.path}.json")) == 200


# --- many, slow, none ----------------------------------------------------------------------------


@contextlib.contextmanager
def turns() -> Iterator[list[float]]:
    """CPU seconds of each callback of the host's loop; its connections live as long as needed."""
    found: list[float] = []
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        begun = time.thread_time()
        run(handle)
        if threading.current_thread().name == "host":
            found.append(time.thread_time() - begun)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_server, "CONNECTION_SECONDS", 600.0)
        patch.setattr(asyncio.Handle, "_run", measured)
        yield found


def flood(host: Host, count: int, *headers: str) -> Counter[int]:
    """The statuses of so many requests, over eight connections at once."""
    found: Counter[int] = Counter()
    head = "".join(f"{header}\r\n" for header in headers)
    request = f"GET /cycles HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode()

    def send() -> None:
        name, port = host.address.split(":")
        with socket.create_connection((name, int(port)), timeout=60) as sock:
            for _ in range(count // 8):
                sock.sendall(request)
                found[_answered(sock)] += 1

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _answered(sock: socket.socket) -> int:
    """Read one answer whole; its status."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    [length] = [
        int(h[15:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")
    ]
    while len(body) < length:
        body += _received(sock)
    return status(head)


def _received(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    assert data, "closed before its answer"
    return data


@pytest.mark.alone
@pytest.mark.usefixtures("small_heap")
def test_a_thousand_wrong_tokens_never_hold_the_loop_and_start_no_thread(host, monkeypatch):
    host.token = TOKEN
    monkeypatch.setattr(handler.tasks, "in_thread", None)
    with turns() as found:
        assert flood(host, 1000, "Authorization: Bearer wrong") == {401: 1000}
    assert max(found) < LONGEST_TURN_SECONDS


@pytest.mark.alone
@pytest.mark.usefixtures("small_heap")
def test_a_flood_with_the_right_token_waits_its_turn_and_never_holds_the_loop(host):
    host.token = TOKEN
    with turns() as found:
        answered = flood(host, 80, f"Authorization: Bearer {TOKEN}")
        assert status(ask(host, "/healthz")) == 200
    assert answered[200] > 0
    assert answered.keys() <= {200, 503}
    assert sum(answered.values()) == 80
    assert max(found) < LONGEST_TURN_SECONDS


def test_where_too_many_wait_one_is_told_to_come_again(host, monkeypatch):
    monkeypatch.setattr(handler, "MAX_WAITING", 0)
    answer = ask(host, "/")
    assert status(answer) == 503
    assert b"Retry-After: 5" in answer


def test_a_page_that_hangs_holds_neither_health_nor_the_others_for_long(host, monkeypatch):
    release, begun = threading.Event(), threading.Event()
    answered = render.answer

    def hanging(asked):
        if asked.path == "/hangs":
            begun.set()
            release.wait(60)
        return answered(asked)

    monkeypatch.setattr(render, "answer", hanging)
    monkeypatch.setattr(handler, "ANSWER_SECONDS", 0.3)
    try:
        assert status(ask(host, "/hangs")) == 503
        assert begun.wait(60)
        assert status(ask(host, "/")) == 503
        assert status(ask(host, "/healthz")) == 200
    finally:
        release.set()
    until(lambda: status(ask(host, "/")) == 200)


def test_a_client_that_reads_nothing_keeps_nobody_from_the_page(host):
    name, port = host.address.split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            sock = stack.enter_context(socket.create_connection((name, int(port))))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
            stack.enter_context(socket.create_connection((name, int(port)))).sendall(b"GET / HT")
        assert status(ask(host, "/healthz")) == 200
        until(lambda: status(ask(host, "/")) == 200)


def test_nobody_looking_loads_no_templates_and_starts_no_thread():
    program = (
        "import sys, threading\n"
        "from tests.support.page_host import hosting, well\n"
        "from urllib.request import urlopen\n"
        "started, start = [], threading.Thread.start\n"
        "threading.Thread.start = lambda t: (started.append(t.name), start(t))[1]\n"
        "with hosting(well()) as host:\n"
        "    urlopen(f'http://{host.address}/healthz').read()\n"
        "    print('jinja2' in sys.modules, 'tixd.page.render' in sys.modules, started)\n"
        "    urlopen(f'http://{host.address}/').read()\n"
        "    print('jinja2' in sys.modules, started)\n"
        "    assert 'page' not in [t.name for t in threading.enumerate()]\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    before, after = done.stdout.splitlines()
    assert before.startswith("False False ['host'")
    assert "'page'" not in before
    assert after.startswith("True ['host'")
    assert after.endswith(", 'page']")


def test_a_fault_in_a_page_is_logged_once_and_the_other_pages_are_there(host, monkeypatch):
    def broken(query, now, history):
        raise RuntimeError("a fault")

    found = (Page("/broken", pages.ALL, broken), *pages.PAGES)
    monkeypatch.setattr(pages, "PAGES", found)
    assert status(ask(host, "/broken")) == 500
    assert status(ask(host, "/")) == 200


def test_a_thread_that_cannot_be_started_takes_no_turn_away(host, monkeypatch):
    start = threading.Thread.start

    def no_page(thread):
        if thread.name == "page":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_page)
        assert status(ask(host, "/")) == 500
    assert status(ask(host, "/")) == 200


def test_a_program_that_was_replaced_on_disk_is_no_fault_of_a_page(host, monkeypatch):
    def replaced(asked):
        raise ImportError("cannot import name 'new' from 'tixd.history.store'")

    monkeypatch.setattr(render, "answer", replaced)
    answer = ask(host, "/")
    assert status(answer) == 503
    assert b"cannot import name 'new'" in answer
    assert b"restart it" in answer


@pytest.mark.parametrize(
    ("minutes", "words"), [(1, "Every minute"), (10, "Every 10 minutes"), (0.05, "0.05 minutes")]
)
def test_a_period_is_said_in_minutes(minutes, words):
    with hosting(replace(well(), period_seconds=60.0 * minutes)) as host:
        assert f"{words} tixd looks".encode() in ask(host, "/cycles")
