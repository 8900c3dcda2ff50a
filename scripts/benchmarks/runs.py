"""Runs of the real program on a backlog: roles as processes of their own, without their start.

Roles start on an empty reports folder. Once they are ready, the backlog is moved into it, and the
next cycle finds it; that cycle comes soon, and none comes after it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data import many
from benchmarks.memory import memory_mb
from benchmarks.stand_in import DelayedStandIn, delayed_stand_in
from benchmarks.yardstick import cpu_ns

if TYPE_CHECKING:
    from tests.support.broker import Broker
    from tests.support.service import Service

#: How soon the cycle comes that finds the backlog, seconds; twice that where roles are not ready.
LEAD_SECONDS = 4.0

#: Roles must be ready this long before it.
MARGIN_SECONDS = 0.5

#: About the time from one cycle to the next, seconds: longer than any run.
PERIOD_SECONDS = 600.0

#: A run ends this long after its first post, whatever is left.
MOST_SECONDS = 4.0

#: From the last post until its deletions are done.
QUIET_SECONDS = 0.3

#: How often memory and posts are looked at.
LOOK_SECONDS = 0.2

#: Longest wait for the first post.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU of a window, ns.

    parents, workers: of the role that does the jobs; dispatcher: all of the one that hands them
    out, where it is another; api, broker: beside tixd.
    """

    parents: float
    workers: float
    dispatcher: float
    api: float
    broker: float

    @property
    def tixd(self) -> float:
        """That of tixd alone."""
        return self.parents + self.workers + self.dispatcher


@dataclass(frozen=True, slots=True)
class Run:
    """One run: windows a second, CPU, and the largest RSS and USS of a parent and a worker, MB."""

    rate: float
    cpu: Cpu
    parent_mb: tuple[float, float]
    worker_mb: tuple[float, float]


class _NotReady(Exception):
    """The roles were not ready in time before the cycle."""


def run(
    base: Path,
    installations: int,
    windows: int = 1,
    *,
    delay_ms: int = 0,
    workers: int = 2,
    broker: Broker | None = None,
) -> Run:
    """Process so many windows of each of so many installations.

    Without a broker by the role standalone, with one by a dispatcher and a worker.
    """
    for kept in many(installations, windows):
        kept.lay_out(base / "staged")
    lead_seconds = LEAD_SECONDS
    while True:
        (base / "reports").mkdir()
        begin = time.time() + lead_seconds
        try:
            with (
                delayed_stand_in(base / "api", delay_ms) as api,
                _roles(base, api.port, begin, workers, broker) as roles,
            ):
                bench = _Watch(roles, api, broker)
                _require_time_before(begin)
                for user in (base / "staged").iterdir():
                    user.rename(base / "reports" / user.name)
                return bench.until(installations * windows)
        except _NotReady:
            lead_seconds *= 2
        finally:
            for name in ("reports", "state", "api"):
                shutil.rmtree(base / name)


def _require_time_before(begin: float) -> None:
    if time.time() > begin - MARGIN_SECONDS:
        raise _NotReady


@contextlib.contextmanager
def _roles(
    base: Path, api_port: int, begin: float, workers: int, broker: Broker | None
) -> Iterator[list[Service]]:
    """The roles, ready; settings in the environment of the benchmark hold for them."""
    from tests.support.service import Service

    own = {name: text for name, text in os.environ.items() if name.startswith("TIX_")}
    variables = own | {
        "TIX_WORKERS": str(workers),
        "TIX_PROCESSING_PERIOD": str(_period_seconds(begin) / 60),
    }
    if broker:
        variables |= {"TIX_RABBITMQ_HOST": "127.0.0.1", "TIX_RABBITMQ_PORT": str(broker.port)}
    with contextlib.ExitStack() as stack:
        roles = []
        for kind in ("WORKER", "BEAT") if broker else ("STANDALONE",):
            state = base / "state" / kind[0]  # the path of a socket must be short
            role = Service(base / "reports", state, api_port, PROCESSOR_TYPE=kind, **variables)
            roles.append(stack.enter_context(role))
        for role in roles:
            role.runs()
        yield roles


def _period_seconds(begin: float) -> float:
    """About PERIOD_SECONDS; a cycle begins at `begin`, as cycles begin at multiples of it."""
    return begin / int(begin / PERIOD_SECONDS)


class _Watch:
    """Looks at processes from now on."""

    def __init__(self, roles: list[Service], api: DelayedStandIn, broker: Broker | None) -> None:
        self._api = api
        first, *rest = ([role.pid, *(worker.pid for worker in role.workers())] for role in roles)
        self._parents, self._workers = first[:1], first[1:]
        self._others = (list(chain.from_iterable(rest)), [api.pid], [broker.pid] if broker else [])
        self._parent_mb = self._worker_mb = (0.0, 0.0)
        self._before = self._cpu_ns()

    def until(self, windows: int) -> Run:
        """Look until so many windows are posted, or the time is over."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (posts := self._api.posts())[0] < windows and posts[1] < MOST_SECONDS:
            if not posts[0] and time.monotonic() > deadline:
                raise RuntimeError(f"no window was posted within {PATIENCE_SECONDS:.0f} s")
            time.sleep(LOOK_SECONDS)
            self._parent_mb = max(self._parent_mb, *map(memory_mb, self._parents))
            self._worker_mb = max(self._worker_mb, *map(memory_mb, self._workers))
        if posts[0] >= windows:
            time.sleep(QUIET_SECONDS)
        used = [after - b for after, b in zip(self._cpu_ns(), self._before, strict=True)]
        posted, seconds = self._api.posts()
        return Run(
            posted / seconds,
            Cpu(*(ns / posted for ns in used)),
            parent_mb=self._parent_mb,
            worker_mb=self._worker_mb,
        )

    def _cpu_ns(self) -> list[int]:
        return [cpu_ns(pids) for pids in (self._parents, self._workers, *self._others)]
