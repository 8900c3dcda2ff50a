"""A worker that kills itself at a chosen line: forks one for each order, tells how it ended.

As a program (python -m tests.support.killed_worker): orders come in as JSON lines {"base", "port",
"kill_at", "trace", "crashers", "users"}, answers go out as JSON lines {"ended", "phase"}. The
worker does what there is to do in installation 2 of each of these users, as many of them at a time
as it has places, lets the pauses pass and does it again. A line of tixd or of its HTTP library is
an event; at event number `kill_at` (0: never) the worker sends itself SIGKILL. `trace`: a file to
which phase and function of every event are written. `crashers`: names of reports, as the job of a
worker that was ended by them has them.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, Self

import urllib3

from tests.support.results import settings_for
from tixd import logs
from tixd.installation import Worker, process_installation
from tixd.jobs import Assignment, Done, Phase, ProcessInstallation
from tixd.pool.open_jobs import OpenJobs
from tixd.results.client import ApiClient

ROOT = Path(__file__).parents[2]

#: Longer than the longest pause.
PAUSE_SECONDS = 3700.0

#: Code whose lines are events.
_WATCHED = tuple(str(Path(where).parent) + "/" for where in (ROOT / "tixd" / "x", urllib3.__file__))


class Tracer:
    """Counts line events, notes them, and kills at one of them; takes the place of the board."""

    def __init__(self, kill_at: int, phases: int) -> None:
        self._kill_at, self._phases = kill_at, phases
        self.phase: Phase | None = None
        self.events: list[tuple[str, str]] = []

    def begin(self, _: int, phase: Phase | None = None) -> None:
        """A job goes on where it waited."""
        self.phase = phase

    def report(self, phase: Phase) -> None:
        """What the worker's parent would see; it goes down a pipe, which outlives the worker."""
        self.phase = phase
        os.write(self._phases, f"{phase.name}\n".encode())

    def __call__(self, frame: FrameType, *_: object) -> Any:
        """For sys.settrace: look at the lines of the watched code alone."""
        return self._line if frame.f_code.co_filename.startswith(_WATCHED) else None

    def _line(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            phase = self.phase.name if self.phase else "none"
            self.events.append((phase, frame.f_code.co_qualname))
            if len(self.events) == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._line


def work(order: dict[str, Any], phases: int) -> None:
    """Do everything there is to do, traced."""
    tracer = Tracer(order["kill_at"], phases)
    logs.set_up("CRITICAL", "text", "stderr")
    later = [0.0]
    settings = settings_for(order["port"], reports_base_path=order["base"], usage_post="both")
    worker = Worker(
        settings=settings,
        client=ApiClient(settings),
        report_phase=tracer.report,
        stopping=lambda: False,
        now=lambda: time.time() + later[0],
        random=Random(1),
    )
    jobs = [
        ProcessInstallation(f"{order['base']}/{user}/2", user, 2, tuple(order["crashers"]))
        for user in order["users"]
    ]
    sys.settrace(tracer)
    for later[0] in (0.0, PAUSE_SECONDS):
        work_off(jobs, worker, tracer)
    sys.settrace(None)
    if order["trace"]:
        Path(order["trace"]).write_text(json.dumps(tracer.events))


def work_off(jobs: list[ProcessInstallation], worker: Worker, tracer: Tracer) -> None:
    """Do these jobs until nothing is left, all of them at a time."""
    left = dict(enumerate(jobs, 1))

    def on_done(done: Done) -> None:
        if done.result.has_more:
            open_jobs.add(Assignment(done.number, left[done.number]))
        else:
            del left[done.number]

    open_jobs = OpenJobs(
        worker.client.requests,
        tracer,
        lambda job: process_installation(job, worker),
        places=lambda: len(jobs),
        is_crowded=lambda: worker.is_crowded,
        on_done=on_done,
    )
    for number, job in enumerate(jobs, 1):
        open_jobs.add(Assignment(number, job))
    while left:
        while open_jobs.can_begin():
            open_jobs.begin_next()
        if open_jobs:  # the last ones may have ended without a request
            select.select([worker.client.requests.fd], [], [])
            open_jobs.resume()


def fork_and_work(order: dict[str, Any]) -> dict[str, Any]:
    """Do it in a child; tells its exit code (-9: killed) and what it said last."""
    heard, said = os.pipe()
    child = os.fork()
    if not child:
        os.close(heard)
        code = 1
        try:
            work(order, said)
            code = 0
        finally:
            os._exit(code)
    os.close(said)
    with open(heard, encoding="ascii") as pipe:
        phases = pipe.read().split()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"ended": ended, "phase": phases[-1] if phases else "none"}


@dataclass(frozen=True, slots=True)
class Workers:
    """For a test: gives orders to this program, which runs until the block ends."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls) -> Self:
        """Start the program; its imports are made once, not for each worker."""
        command = [sys.executable, "-m", __spec__.name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return cls(subprocess.Popen(command, text=True, bufsize=1, cwd=ROOT, **pipes))

    def run(
        self,
        base: Path,
        port: int,
        kill_at: int = 0,
        trace: str = "",
        crashers: Sequence[str] = (),
        users: Sequence[int] = (1,),
    ) -> tuple[int, str]:
        """Let a worker work; returns its exit code (-9: killed) and its last phase."""
        order = {
            "base": str(base),
            "port": port,
            "kill_at": kill_at,
            "trace": trace,
            "crashers": crashers,
            "users": users,
        }
        self.process.stdin.write(json.dumps(order) + "\n")
        answer = json.loads(self.process.stdout.readline())
        return answer["ended"], answer["phase"]

    def end(self) -> None:
        """No more orders."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(fork_and_work(json.loads(line))) + "\n")
        sys.stdout.flush()
