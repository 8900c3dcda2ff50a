"""What processes take over time: resident memory, descriptors and threads, life by life.

`judge` compares the end of a life with the end of its first tenth; a life that is too short, as
where a fault has killed the process, is counted and not judged.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import psutil

#: Seconds between two looks.
LOOK_SECONDS = 3.0

#: Growth of memory that is not called a leak, as a share.
MAX_GROWTH = 0.10

#: Descriptors and threads that may come on top, for questions in progress.
SLACK = {"descriptors": 40, "threads": 6}

#: A life of fewer looks is not judged: ten minutes of them.
MIN_LOOKS = 200

#: Looks whose median is one figure.
FIGURE_LOOKS = 9


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a process; second: since the watch began."""

    second: float
    rss_bytes: int
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class Growth:
    """A life: figures after its first tenth and at its end, of all looks the most."""

    kind: str
    looks: int
    judged: bool
    rss_mb: tuple[float, float]
    descriptors: tuple[int, int]
    threads: tuple[int, int]
    most_rss_mb: float
    problems: tuple[str, ...]


def judge(kind: str, looks: Sequence[Look], min_looks: int = MIN_LOOKS) -> Growth:
    """Return how much a life has grown after its first tenth."""
    part = len(looks) // 10
    early, late = looks[part : part + FIGURE_LOOKS], looks[-FIGURE_LOOKS:]
    rss = _median(early, "rss_bytes") / 2**20, _median(late, "rss_bytes") / 2**20
    counts = {name: (round(_median(early, name)), round(_median(late, name))) for name in SLACK}
    judged = len(looks) >= min_looks
    problems = []
    if judged and rss[1] > rss[0] * (1 + MAX_GROWTH):
        problems.append(f"{kind}: memory {rss[0]:.1f} -> {rss[1]:.1f} MB")
    problems += [
        f"{kind}: {name} {before} -> {after}"
        for name, (before, after) in counts.items()
        if judged and after > before * (1 + MAX_GROWTH) + SLACK[name]
    ]
    most = max(look.rss_bytes for look in looks) / 2**20
    rounded = round(rss[0], 1), round(rss[1], 1)
    return Growth(
        kind,
        len(looks),
        judged,
        rounded,
        counts["descriptors"],
        counts["threads"],
        round(most, 1),
        tuple(problems),
    )


def _median(looks: Iterable[Look], name: str) -> float:
    return float(statistics.median(getattr(look, name) for look in looks))


class Watch:
    """Looks at processes from a thread; pids: the main process of each kind at the moment."""

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self._pids = pids
        self._begun = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.lives: dict[tuple[str, int, float], list[Look]] = {}

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join(60)

    def growths(self) -> list[Growth]:
        """Return every life of a few looks at least."""
        lives = list(self.lives.items())
        return [judge(kind, looks) for (kind, *_), looks in lives if len(looks) >= FIGURE_LOOKS]

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            for kind, pid in self._pids().items():
                with contextlib.suppress(psutil.Error, OSError):
                    parent = psutil.Process(pid)
                    self._look(kind, parent)
                    for child in parent.children():
                        with contextlib.suppress(psutil.Error, OSError):
                            self._look_at_child(kind, child)

    def _look_at_child(self, kind: str, child: psutil.Process) -> None:
        if "spawn_main" in " ".join(child.cmdline()):
            self._look(f"{kind}: worker process", child)

    def _look(self, kind: str, process: psutil.Process) -> None:
        with process.oneshot():
            facts = process.memory_info().rss, process.num_fds(), process.num_threads()
            key = kind, process.pid, process.create_time()
        look = Look(round(time.monotonic() - self._begun, 1), *facts)
        self.lives.setdefault(key, []).append(look)
