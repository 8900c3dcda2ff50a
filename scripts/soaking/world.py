"""What every soak has: roles that run, faults that are done to them, and notes of both.

A fault asks the world for what it needs and returns the proof that it acted, or raises NotActed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

import psutil
import pytest

from soaking.account import Account, Disturbance
from soaking.output import say
from soaking.plan import NotActed, Planned
from tests.support.run_delay import Stopwatch

#: Longest time until a fault shows, and until all works again after it, seconds. The second does
#: not count for how long the roles waited for a core, but MAX_RECOVERY_SECONDS is the end.
PROOF_SECONDS, RECOVERY_SECONDS, MAX_RECOVERY_SECONDS = 30.0, 90.0, 300.0

#: Events that say that tixd, and not what is around it, is wrong.
FAULTS_OF_TIXD = {
    "unexpected",
    "job_failed",
    "worker_failed",
    "worker_protocol_error",
    "request_failed",
    "http_request_failed",
    "status_line_failed",
    "control_request_failed",
    "page_failed",
}


#: What such an event may say all the same: a fault took descriptors or memory away.
LACKS = (b"Too many open files", b"Cannot allocate memory", b"MemoryError")

#: Pause between two looks, seconds.
LOOK_SECONDS = 0.05


class Role(Protocol):
    """A process of tixd."""

    pid: int
    log_file: Path

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""

    def send_signal(self, sig: int) -> None:
        """Send a signal."""


@dataclass(slots=True)
class Done:
    """A fault that was done: when, how it went, and what proves it."""

    second: float
    fault: str
    outcome: str
    proof: str
    recovery_seconds: float


@dataclass(slots=True)
class Report:
    """All that is told of the soak of one role."""

    role: str
    seed: int
    minutes: float
    begun: str
    done: list[Done] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    growths: list[Any] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as the file has it."""
        return asdict(self)

    def broken(self) -> list[str]:
        """Return every broken promise."""
        own = [problem for account in self.accounts for problem in account.problems]
        return self.problems + own + [p for growth in self.growths for p in growth.problems]


def holds(condition: Callable[[], object], seconds: float) -> bool:
    """Wait until the condition holds; whether it did in time. Errors of a look count as no."""
    ends = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, psutil.Error, ValueError, KeyError, AssertionError):
            if condition():
                return True
        if time.monotonic() > ends:
            return False
        time.sleep(LOOK_SECONDS)


def shows(condition: Callable[[], object], what: str, seconds: float = PROOF_SECONDS) -> str:
    """Wait for the proof of a fault; raises NotActed."""
    if not holds(condition, seconds):
        raise NotActed(f"not seen within {seconds:.0f} s: {what}")
    return what


class World:
    """Roles by name, and how they are started again; `api_taken`: what has been taken so far."""

    def __init__(self, report: Report, folder: Path) -> None:
        self.report, self.folder = report, folder
        self.roles: dict[str, Any] = {}
        self._starters: dict[str, Callable[[], Any]] = {}
        self._log_read: dict[Path, int] = {}
        self.disturbances: list[Disturbance] = []
        self.begun = time.monotonic()
        self.events: dict[str, int] = {}
        self._allowed = 0
        #: How many processes waited for a core, at each fault.
        self.loads: list[float] = []

    # --- to be said by each kind of world --------------------------------------------------------

    def taken_count(self) -> int:
        """Return how many have been taken so far."""
        raise NotImplementedError

    def is_well(self) -> bool:
        """Return whether every role says that it can work."""
        raise NotImplementedError

    def why_not_well(self) -> str:
        """Return what the roles say of that."""
        return "; ".join(f"{name}: {_readiness(role)}" for name, role in self.roles.items())

    def mend(self) -> None:
        """End whatever a fault may have left."""
        raise NotImplementedError

    def history(self) -> tuple[str, Path]:
        """Return the role that has a history, and its file."""
        raise NotImplementedError

    def check(self) -> None:
        """Note what must never be, after each fault."""

    def addresses(self) -> list[str]:
        """Return where the roles answer HTTP."""
        raise NotImplementedError

    # --- roles -----------------------------------------------------------------------------------

    def start(self, name: str, starter: Callable[[], Any]) -> None:
        """Start a role, and know how to start it again."""
        self._starters[name] = starter
        self.roles[name] = starter()

    def again(self, name: str) -> None:
        """Start a role that has ended."""
        self.roles[name] = self._starters[name]()

    def any_role(self, random: Random) -> tuple[str, Any]:
        """Return one that runs."""
        name = random.choice(sorted(self.roles))
        return name, self.roles[name]

    def pids(self) -> dict[str, int]:
        """Return the process of each role."""
        return {name: role.pid for name, role in list(self.roles.items())}

    def end_all(self) -> None:
        """Kill whatever runs, each in its own process group."""
        for role in self.roles.values():
            with contextlib.suppress(OSError):
                os.killpg(role.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                role.kill()
            role.wait(60)

    def orphans(self) -> list[int]:
        """Return worker processes that have outlived their parents."""
        found = []
        for process in psutil.process_iter(["ppid", "cmdline"]):
            with contextlib.suppress(psutil.Error):
                is_worker = "spawn_main" in " ".join(process.info["cmdline"] or ())
                if process.info["ppid"] == 1 and is_worker:
                    folder = process.environ().get("RUNTIME_DIRECTORY", "")
                    found += [process.pid] * folder.startswith(str(self.folder))
        return found

    # --- logs ------------------------------------------------------------------------------------

    def mark(self, role: Any) -> tuple[Path, int]:
        """Return this place of the role's log."""
        return role.log_file, role.log_file.stat().st_size

    def said(self, mark: tuple[Path, int], *words: str) -> bool:
        """Return whether one of the words is in the log behind the mark."""
        with mark[0].open("rb") as file:
            file.seek(mark[1])
            new = file.read()
        return any(word.encode() in new for word in words)

    def read_logs(self) -> None:
        """Count the events that have come, and note those that tell of a fault of tixd."""
        for path in {role.log_file for role in self.roles.values()}:
            with path.open("rb") as file:
                file.seek(self._log_read.get(path, 0))
                new = file.read().rpartition(b"\n")[0]
                self._log_read[path] = self._log_read.get(path, 0) + len(new) + bool(new)
            for line in new.splitlines():
                self._read_line(path, line)

    def _read_line(self, path: Path, line: bytes) -> None:
        try:
            told = json.loads(line)
            event = told["event"]
        except (ValueError, TypeError, KeyError):
            self.report.problems.append(f"{path.parent.name}: no JSON: {line[:300]!r}")
            return
        self.events[event] = self.events.get(event, 0) + 1
        if event not in FAULTS_OF_TIXD or any(lack in line for lack in LACKS):
            return
        if self.events[event] <= 5:
            self.report.problems.append(
                f"{path.parent.name}: {line[:600].decode(errors='replace')}"
            )

    # --- faults ----------------------------------------------------------------------------------

    def allow(self, repeats: int) -> None:
        """Let the fault that is done now repeat so many more."""
        self._allowed += repeats

    def do(self, planned: Planned) -> None:
        """Do a fault, wait until all works again, and note both."""
        name, first, self._allowed = planned.fault.name, self.taken_count(), planned.fault.repeats
        if self.disturbances:  # what a relay had held back may come in the pause after its fault
            self.disturbances[-1].last = first
        second = round(time.monotonic() - self.begun, 1)
        outcome, proof = self._outcome(planned)
        self._undo(name)
        ended = time.monotonic()
        self.loads.append(os.getloadavg()[0])
        if not self._recovers():
            why = self.why_not_well()
            self.report.problems.append(
                f"{name}: not well {RECOVERY_SECONDS:.0f} s after it: {why}"
            )
        took = round(time.monotonic() - ended, 1)
        self.disturbances.append(Disturbance(name, first, self.taken_count(), self._allowed))
        self.report.done.append(Done(second, name, outcome, proof, took))
        say(f"{second:7.1f} s  {planned.number:4}  {name}: {outcome}: {proof} ({took} s)")
        if outcome == "failed":
            self.report.problems.append(f"{name}: {proof}")
        self.check()
        self.read_logs()

    def _recovers(self) -> bool:
        """Wait until all is well again; whether that comes in time."""
        watch = Stopwatch(os.getpid(), *self.pids().values())
        ends = time.monotonic() + MAX_RECOVERY_SECONDS
        while not holds(self.is_well, 1.0):
            if watch.seconds() > RECOVERY_SECONDS or time.monotonic() > ends:
                return False
        return True

    def _outcome(self, planned: Planned) -> tuple[str, str]:
        try:
            return "acted", planned.fault.act(self, Random(planned.key))
        except NotActed as error:
            return "not acted", str(error)
        except pytest.skip.Exception as error:
            return "not run", str(error)
        except Exception as error:
            return "failed", _words(error)

    def _undo(self, name: str) -> None:
        try:
            self.mend()
        except Exception as error:
            self.report.problems.append(f"{name}: cannot be undone: {_words(error)}")


def _readiness(role: Any) -> str:
    """What a role answers to /readyz, or that it does not."""
    if role.poll() is not None:
        return f"ended with {role.poll()}"
    try:
        return str(role.get("/readyz", 10) if hasattr(role, "get") else role.ask("GET", "/readyz"))
    except OSError as error:
        return f"no answer: {error}"


def _words(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {str(error)[:300]} ({Path(place.filename).name}:{place.lineno})"
    )


def run(world: World, halves: Iterable[Iterable[Planned]], minutes: float) -> None:
    """Do the faults of both halves, each for half the time."""
    for number, half in enumerate(halves, 1):
        ends = world.begun + minutes * 60 * number / 2
        for planned in half:
            if time.monotonic() + planned.pause_seconds > ends:
                break
            time.sleep(planned.pause_seconds)
            world.do(planned)
        time.sleep(max(0.0, ends - time.monotonic()))


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """SIGSTOP, and SIGCONT at the end."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def is_gone(pid: int) -> bool:
    """Return whether the process has ended; its parent may not have reaped it yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def counts_by_fault(done: Iterable[Done]) -> Mapping[str, dict[str, Any]]:
    """Return, for each fault, how often it was done, acted, and the last proof."""
    table: dict[str, dict[str, Any]] = {}
    for one in done:
        row = table.setdefault(
            one.fault, {"done": 0, "acted": 0, "proof": "", "why_not": "", "recovery_seconds": 0.0}
        )
        row["done"] += 1
        row["acted"] += one.outcome == "acted"
        row["proof" if one.outcome == "acted" else "why_not"] = one.proof
        row["recovery_seconds"] = max(row["recovery_seconds"], one.recovery_seconds)
    return dict(sorted(table.items()))
