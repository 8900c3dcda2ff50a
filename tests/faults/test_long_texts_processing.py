"""Whatever somebody outside can make long: the processing roles' log, memory and answers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import long_texts, memory
from tests.support.made import minute
from tests.support.program import MEASURE, ROOT, Ended, environment, once
from tests.support.service import Service, service
from tests.support.stand_in_api import closed_port
from tixd.config import values

MIB = 1024 * 1024

#: Lengths of the texts; a report of more than 1 MiB is not read.
LENGTHS = (1_000, 64_000, 900_000, 16_000_000)

#: No line of the log and no answer is longer.
MOST_BYTES = 4096

#: So much more memory than when idle may be used.
MOST_MEMORY_BYTES = 64 * MIB

#: How long it may take to answer, or to pass over it.
MOST_SECONDS = 1.0


def longest_line(text: str) -> int:
    """Bytes of the longest line of a log."""
    return max(map(len, text.encode().split(b"\n")))


# --- reports -------------------------------------------------------------------------------------

#: Members of a report that are texts, and those that are numbers.
TEXTS = ("from", "to", "type", "publicKey", "message", "signature")
NUMBERS = ("initialTimestamp", "finalTimestamp", "userId", "installationId")


def long_reports(length: int) -> Iterator[bytes]:
    """Reports with a text, a number, a list or a name of this length in each place."""
    good = json.loads(minute(1_505_082_000))
    text, number, digits = "x" * length, 10 ** min(length, 4000), b"9" * length
    for member in TEXTS:
        yield json.dumps(good | {member: text}).encode()
        yield json.dumps(good | {member: "\n" * (length // 2)}).encode()
        yield json.dumps(good | {member: "\U0001f600" * (length // 12)}).encode()
        yield json.dumps(good | {member: [text]}).encode()
    for member in NUMBERS:
        yield json.dumps(good | {member: text}).encode()
        yield json.dumps(good | {member: number}).encode()
        yield json.dumps(good | {member: -1}).encode().replace(b"-1", digits)
    yield json.dumps(good | {text: 1}).encode()
    yield json.dumps(good | {"more": text}).encode()
    yield b"[" * length
    yield b'{"from": "' + b"x" * length
    yield b"\0" * length
    yield json.dumps(good).encode() + b" " * length


def put(base: Path, contents: Iterator[bytes]) -> int:
    """An installation for each content, whose only report it is; returns how many."""
    number = 0
    for number, content in enumerate(contents, 1):
        folder = base / "1" / str(number)
        folder.mkdir(parents=True)
        file = folder / "tix-report-1505082000.json"
        file.write_bytes(content)
        os.utime(file, (1_505_082_060, 1_505_082_060))
    return number


def measured(base: Path) -> tuple[Ended, int, float]:
    """A cycle, the memory of its largest process, and how long it took."""
    begun = time.monotonic()
    ended = once(base, closed_port(), before=MEASURE)
    (peak,) = ended.events("peak_memory")
    return ended, peak["kib"] * 1024, time.monotonic() - begun


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, float]:
    """Memory and time of a cycle over one good report."""
    base = tmp_path_factory.mktemp("idle")
    put(base, iter([minute(1_505_082_000)]))
    return measured(base)[1:]


@pytest.mark.alone
@pytest.mark.parametrize(
    "length", [1_000, 16_000_000, *(pytest.param(n, marks=pytest.mark.long) for n in LENGTHS[1:3])]
)
def test_a_long_text_in_a_report_costs_little_time_memory_and_log(tmp_path, idle, length):
    number = put(tmp_path, long_reports(length))
    ended, peak_bytes, seconds = measured(tmp_path)
    assert (ended.code, ended.installations) == (0, number)
    assert longest_line(ended.text) <= MOST_BYTES
    assert peak_bytes < idle[0] + MOST_MEMORY_BYTES
    assert seconds < idle[1] + number * MOST_SECONDS
    reasons = tmp_path.rglob("*.reason")
    assert [path for path in reasons if path.stat().st_size > MOST_BYTES] == []


#: What names are made of, and how they end.
ODD_NAMES = (("x", ".json"), ("\n", ".json"), ("\x1b", ".json"), ("\udcff", ""), ("é", ""))


def test_names_as_long_as_they_go_cost_no_long_line(tmp_path, idle):
    folder = tmp_path / "1" / "1"
    folder.mkdir(parents=True)
    for kind, end in ODD_NAMES:
        for number in range(50):
            room = 250 // len(os.fsencode(kind)) - len(end)
            (folder / f"{number:03}{kind * (room - 3)}{end}").write_bytes(b"no report")
    (tmp_path / ("u" * 255)).mkdir()
    (tmp_path / "1" / ("i" * 255)).mkdir()
    ended, peak_bytes, _ = measured(tmp_path)
    assert ended.code == 0
    assert longest_line(ended.text) <= MOST_BYTES
    assert len(ended.log) < 100
    assert peak_bytes < idle[0] + MOST_MEMORY_BYTES


# --- a service: control socket and HTTP ----------------------------------------------------------


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without reports; one for all, because it must outlive each text."""
    folder = tmp_path_factory.mktemp("daemon")
    (folder / "base").mkdir()
    with service(folder / "base", folder / "state", closed_port()) as running:
        yield running


def to_control(daemon: Service) -> Callable[[], socket.socket]:
    """What connects to its control socket."""

    def connect() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(daemon.state / "run" / "standalone.sock"))
        return sock

    return connect


def to_http(daemon: Service) -> Callable[[], socket.socket]:
    """What connects to its HTTP address."""
    host, _, port = daemon.http.rpartition(":")
    return lambda: socket.create_connection((host, int(port)))


def questions(length: int) -> dict[str, bytes]:
    """Requests to a control socket with a text of this length."""
    text = "x" * length
    digits = "9" * length
    end = "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    asked = {
        "path": f"GET /{text} {end}",
        "method": f"{text} /status {end}",
        "parameter": f"GET /failed?{text}=1 {end}",
        "user": f"GET /failed?user={text} {end}",
        "number": f"GET /failed?user={digits} {end}",
        "field": f"GET /status HTTP/1.1\r\nX: {text}\r\nConnection: close\r\n\r\n",
        "no HTTP": f"{text}\n",
        "many lines": "\n" * length + "x\n",
    }
    return {name: request.encode() for name, request in asked.items()}


def costs(
    daemon: Service, connect: Callable[[], socket.socket], requests: dict[str, bytes]
) -> dict[str, str]:
    """The requests that cost too much, and what."""
    found, idle_bytes = {}, memory.resident_bytes(daemon.pid)
    memory.forget_peak(daemon.pid)
    for place, octets in requests.items():
        begun = time.monotonic()
        with connect() as sock:
            answer = long_texts.answer_to(sock, octets)
        seconds = time.monotonic() - begun
        if len(answer) > MOST_BYTES or seconds > MOST_SECONDS:
            found[place] = f"{len(answer)} bytes of answer in {seconds:.1f} s"
    more_bytes = memory.peak_bytes(daemon.pid) - idle_bytes
    if more_bytes > MOST_MEMORY_BYTES:
        found["all"] = f"{more_bytes / MIB:.0f} MiB more memory"
    return found


@pytest.mark.alone
@pytest.mark.parametrize("length", LENGTHS)
def test_a_long_text_in_a_question_costs_little(daemon, length):
    assert costs(daemon, to_control(daemon), questions(length)) == {}
    assert longest_line(daemon.log_file.read_text()) <= MOST_BYTES
    assert daemon.in_state("running")


@pytest.mark.alone
@pytest.mark.parametrize("length", LENGTHS)
def test_a_long_text_in_an_http_request_costs_little(daemon, length):
    requests = {place: make().octets() for place, make in long_texts.heads(length).items()}
    assert costs(daemon, to_http(daemon), requests) == {}
    assert longest_line(daemon.log_file.read_text()) <= MOST_BYTES
    assert daemon.get("/healthz") == (200, "ok\n")


# --- the configuration ---------------------------------------------------------------------------


def checked(file: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """What check-config says of this file and these variables."""
    environ = environment(file.parent, 80) | variables
    command = (sys.executable, "-m", "tixd", "-c", str(file), "check-config")
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, timeout=60)


@pytest.mark.parametrize("length", [1_000, 100_000])
def test_a_long_text_in_each_variable_makes_no_long_answer(tmp_path, length):
    (tmp_path / "tixd.toml").touch()
    names = [
        field.metadata["env"] for field in values.PROCESSING.fields.values() if field.type != "bool"
    ]
    for some in (names[:20], names[20:]):  # the kernel takes 2 MiB of variables
        done = checked(tmp_path / "tixd.toml", **dict.fromkeys(some, "x" * length))
        assert done.returncode == 2
        assert max(map(len, (done.stdout + done.stderr).split(b"\n"))) <= 700


@pytest.mark.parametrize("length", [900_000, pytest.param(16_000_000, marks=pytest.mark.long)])
def test_a_long_text_in_the_file_of_settings_makes_no_long_answer(tmp_path, length):
    file = tmp_path / "tixd.toml"
    for text in ("{x} = 1", '"{x}" = "{x}"', 'workers = "{x}"', "{x}", '[api]\nuser = "{x}"'):
        file.write_text(text.replace("{x}", "x" * (length // 2)))
        done = checked(file)
        assert done.returncode in (0, 2)
        assert len(done.stdout + done.stderr) <= 2 * MOST_BYTES
