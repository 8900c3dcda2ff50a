"""The daemon: how soon it works after its start, how soon it ends, and what it costs when idle."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.data import Kept, simulated
from benchmarks.memory import MOST_PARENT_MB, MOST_WORKER_MB, memory_mb, row, workers_of
from benchmarks.stand_in import StandIn, stand_in
from benchmarks.yardstick import Row, cpu_ns

#: Starts and stops, of which the median counts.
ROUNDS = 5

#: Windows that the daemon has in front of it when it is told to stop while busy.
BACKLOG = 300

#: Installations with nothing to do that stand about.
IDLE = 1000

#: How long its CPU is watched while it has nothing to do; no cycle must begin meanwhile.
IDLE_SECONDS = 30.0

#: From one cycle to the next, by default; cycles begin at multiples of it.
PERIOD_SECONDS = 600.0

#: Longest wait for anything.
PATIENCE_SECONDS = 60.0

#: How this checkout's program is called.
CHECKOUT = (sys.executable, "-m", "tixd")

#: Most seconds that `--version` of the one file may take, and that it may need more than the
#: checkout from start to READY.
MOST_VERSION_SECONDS, MOST_MORE_SECONDS = 1.0, 1.5


def measure(base: Path) -> list[Row]:
    """Starts with one window to post, stops with none and with many, then idleness."""
    with stand_in(base / "api") as api:
        bench = _Bench(base, api)
        starts = [bench.start_and_stop(1) for _ in range(ROUNDS)]
        stops = [bench.start_and_stop(BACKLOG) for _ in range(ROUNDS)]
        idle = bench.idle()
    ready, posted, ended = zip(*starts, strict=True)
    return [
        _seconds("daemon: from start to READY", ready),
        _seconds("  from start to the first post accepted", posted),
        _seconds("  from SIGTERM to its end, idle", ended),
        _seconds("  from SIGTERM to its end, busy", [ended for _, _, ended in stops]),
        *idle,
    ]


def measure_one_file(base: Path) -> list[Row]:
    """The one file that TIXD_TEST_PROGRAM names, in turn with this checkout; else no row."""
    if not (file := os.environ.get("TIXD_TEST_PROGRAM")):
        return []
    programs = (CHECKOUT, (file,))
    first = _version_seconds((file,))
    versions = [[_version_seconds(words) for words in programs] for _ in range(ROUNDS)]
    with stand_in(base / "api") as api:
        benches = [_Bench(base / str(len(words)), api, words) for words in programs]
        starts = [[bench.start_and_stop(1)[0] for bench in benches] for _ in range(ROUNDS)]
    version, start = (
        [statistics.median(figures) for figures in zip(*rounds, strict=True)]
        for rounds in (versions, starts)
    )
    return [
        Row("one file: its first --version here, unpacked if need be", f"{first:.2f} s"),
        _beside("  --version", version, MOST_VERSION_SECONDS - version[0]),
        _beside("  from start to READY", start, MOST_MORE_SECONDS),
    ]


def _version_seconds(program: Sequence[str]) -> float:
    begun = time.monotonic()
    subprocess.run([*program, "--version"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def _beside(what: str, seconds: list[float], most_more: float) -> Row:
    checkout, file = seconds
    figure = f"{file * 1e3:.0f} / {checkout * 1e3:.0f} ms"
    target = f"at most {checkout + most_more:.2f} s"
    ratio = f"x {file / checkout:.2f}"
    return Row(f"{what}, one file / checkout", figure, ratio, target, file < checkout + most_more)


def _seconds(what: str, figures: list[float] | tuple[float, ...]) -> Row:
    return Row(what, f"{statistics.median(figures) * 1e3:.0f} ms")


class _Bench:
    """A folder of reports, and daemons that run on it one after the other, 2 workers each."""

    def __init__(self, base: Path, api: StandIn, program: Sequence[str] = CHECKOUT) -> None:
        self._base, self._api, self._program = base, api, program
        self._reports = base / "reports"
        self._kept = simulated(BACKLOG)
        for number in range(IDLE):
            folder = self._reports / "2" / str(1 + number)
            folder.mkdir(parents=True)
            os.utime(folder, (0, 0))

    def start_and_stop(self, windows: int) -> tuple[float, float, float]:
        """Seconds to READY, to the first post, and from SIGTERM to the end after it."""
        self._lay_out(windows)
        before = self._posts()
        begun = time.monotonic()
        with self._daemon() as (process, ready):
            _until(ready)
            ready_seconds = time.monotonic() - begun
            _until(lambda: self._posts() > before)
            posted_seconds = time.monotonic() - begun
            if windows == 1:
                time.sleep(0.2)  # until the deletion that follows the post is done
            return ready_seconds, posted_seconds, _stop_seconds(process)

    def idle(self) -> list[Row]:
        """Memory after a backlog, and CPU once nothing is left to do."""
        self._lay_out(BACKLOG)
        due = self._posts() + BACKLOG
        with self._daemon() as (process, _):
            _until(lambda: self._posts() >= due)
            _until(lambda: time.time() % PERIOD_SECONDS < PERIOD_SECONDS - IDLE_SECONDS - 1.0)
            time.sleep(1.0)
            pids = [process.pid, *workers_of(process.pid)]
            before, begun = cpu_ns(pids), time.monotonic()
            time.sleep(IDLE_SECONDS)
            share = (cpu_ns(pids) - before) / 1e9 / (time.monotonic() - begun)
            parent, *workers = map(memory_mb, pids)
            _stop_seconds(process)
        what = f"after {BACKLOG} windows"
        return [
            Row("  CPU while idle, parent and 2 workers", f"{share:.2%} of a core"),
            row(f"  memory of a worker {what}", max(workers), MOST_WORKER_MB),
            row(f"  memory of the parent {what}", parent, MOST_PARENT_MB),
        ]

    def _lay_out(self, windows: int) -> None:
        """So many windows for installations that have none left."""
        for kept in self._kept:
            shutil.rmtree(self._reports / "1" / str(kept.installation_id), ignore_errors=True)
        for kept in self._kept[:windows]:
            Kept(1, kept.installation_id, kept.files).lay_out(self._reports)

    def _posts(self) -> int:
        return self._api.log.read_bytes().count(b"\n") if self._api.log.exists() else 0

    @contextlib.contextmanager
    def _daemon(self) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], bool]]]:
        """The program, new to its schedule, and whether it has said READY as systemd hears it."""
        state = self._base / "state"
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir(mode=0o700)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.bind(str(state / "notify"))
            notified.settimeout(0.0)
            environment = self._api.environment(self._reports) | {
                "TIX_WORKERS": "2",
                "TIX_HTTP_ADDRESS": "off",
                "CELERY_BEAT_SCHEDULE_DIR": str(state / "schedule"),
                "RUNTIME_DIRECTORY": str(state),
                "NOTIFY_SOCKET": str(state / "notify"),
            }
            with subprocess.Popen(self._program, env=environment) as process:
                try:
                    yield process, lambda: _heard_ready(notified)
                finally:
                    process.kill()


def _heard_ready(notified: socket.socket) -> bool:
    try:
        return b"READY=1" in notified.recv(4096)
    except BlockingIOError:
        return False


def _stop_seconds(process: subprocess.Popen[bytes]) -> float:
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    if process.wait(PATIENCE_SECONDS):
        raise RuntimeError(f"it ended with exit code {process.returncode}")
    return time.monotonic() - begun


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"it did not happen within {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.001)
