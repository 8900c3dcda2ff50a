"""The collector as operators run it: a process of its own, with a file like the original's."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import memory
from tests.support.bundles import PING, form
from tests.support.collecting import FORM
from tests.support.program import PATIENCE_SECONDS, ROOT, TIXD, bare_environment, until
from tests.support.stand_in_api import closed_port
from tixd.collector.server import SERVLET

#: What the file says where a test says nothing else; a section for each dict.
USUAL: dict[str, Any] = {"address": "127.0.0.1", "timeout": "5s"}


class Collector(subprocess.Popen[bytes]):
    """A collector under way; a context manager. `settings` are those of its file."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *options: str,
        before: tuple[str, ...] = (),
        log: str = "log",
        port: int = 0,
    ) -> None:
        self.port = port or closed_port()
        self.log_file, self.file = folder / log, folder / "gracc.toml"
        self.file.write_text(configuration(self.port, settings))
        command = (*before, *TIXD, "--role", "collector")
        words = (*command, "-c", str(self.file), *options)
        self.runtime_folder = folder / "r"
        self.runtime_folder.mkdir(mode=0o700, exist_ok=True)
        own = {"RUNTIME_DIRECTORY": str(self.runtime_folder), "TIX_LOG_FORMAT": "json"}
        with self.log_file.open("ab") as log_file:
            super().__init__(words, cwd=ROOT, env=bare_environment(**own), stderr=log_file)

    def __exit__(self, *error: Any) -> None:
        """When the test ends first, so does the collector."""
        self.kill()
        super().__exit__(*error)

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """The lines of its log, or those of this event, so far."""
        lines = self.log_file.read_text().split("\n")[:-1]
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if event in ("", line["event"])]

    def ask(
        self, method: str, path: str, body: bytes = b"", seconds: float = 30.0
    ) -> tuple[int, bytes]:
        """Status and body of an answer; (0, b"") where there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        with (
            contextlib.closing(connection),
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            connection.request(method, path, body, FORM if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        return 0, b""

    def post(self, body: bytes, seconds: float = 30.0) -> int:
        """The status of the answer to a bundle; 0 where there is none."""
        return self.ask("POST", SERVLET, body, seconds)[0]

    def send(self, sender: str, *identities: str, **changes: str) -> int:
        """Send a bundle of these records under this name; the status of the answer."""
        return self.post(form(identities, **{"from": sender, **changes}))

    def ready(self) -> bool:
        """Whether it says that it can work."""
        return self.ask("GET", "/readyz")[0] == 200

    def alive(self) -> bool:
        """Whether it answers pings."""
        return self.post(PING) == 200

    def runs(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until it answers."""
        until(lambda: self.poll() is not None or self.alive(), seconds)
        assert self.poll() is None, self.log_file.read_text()

    def becomes_ready(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until it can work."""
        until(lambda: self.poll() is not None or self.ready(), seconds)
        assert self.poll() is None, self.log_file.read_text()

    def forget_peak(self) -> None:
        """Measure the peak of its memory from now on."""
        memory.forget_peak(self.pid)

    def peak_bytes(self) -> int:
        """The most memory that it had in RAM since then."""
        return memory.peak_bytes(self.pid)

    def ends(
        self, number: int = signal.SIGTERM, seconds: float = PATIENCE_SECONDS
    ) -> tuple[int, float]:
        """Send a signal; its exit code, and how long the end took."""
        begun = time.monotonic()
        self.send_signal(number)
        return self.wait(seconds), time.monotonic() - begun


class Pair:
    """Collectors of the same file but for their admin addresses, on one port."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.port = closed_port()
        self.admin = [f"127.0.0.1:{closed_port()}" for _ in range(2)]
        self._folder, self._settings = folder, {**settings, "reusePort": True}

    def collector(self, number: int, **changes: Any) -> Collector:
        """Start one of them."""
        own = self._folder / str(number)
        own.mkdir(exist_ok=True)
        settings = {"adminAddress": self.admin[number], **self._settings, **changes}
        return Collector(own, settings, port=self.port)

    def ask(self, number: int, path: str) -> str:
        """What one of them answers at its own address."""
        with urllib.request.urlopen(f"http://{self.admin[number]}{path}", timeout=30) as answer:
            return answer.read().decode()

    def records(self, number: int) -> int:
        """How many records one of them has taken."""
        return int(json.loads(self.ask(number, "/stats"))["Records"])

    def ready(self, *numbers: int) -> bool:
        """Whether these can work, by what they answer at their own addresses."""
        try:
            return all(self.ask(number, "/readyz") == "ready\n" for number in numbers)
        except OSError:
            return False


def with_history(folder: Path, **more: object) -> dict[str, object]:
    """Settings with a file as the only output, and a history, both in the folder."""
    history = {"historyFile": str(folder / "collector.sqlite")}
    return {"AMQP": {"enable": False}, "file": {"path": str(folder / "records")}, **history, **more}


def configuration(port: int, settings: Mapping[str, Any]) -> str:
    """The text of a collector's file."""
    return _toml(_form({**USUAL, "port": str(port), **settings}))


def _toml(settings: Mapping[str, Any], place: str = "") -> str:
    """The settings as TOML; texts, numbers and switches, sections last."""
    plain = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    sections = {key: value for key, value in settings.items() if isinstance(value, dict)}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in plain.items())
    return text + "".join(
        f"[{place}{name}]\n{_toml(inner, f'{place}{name}.')}" for name, inner in sections.items()
    )


def _form(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """In the form of gracc-collector, or of tixd.toml, which alone has an output to files."""
    return {"collector": settings} if "file" in settings else settings
