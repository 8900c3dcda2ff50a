"""Count the processor cores that this process may use.

In: its affinity and the CPU quota of its control groups (v1 and v2), as containers and systemd's
CPUQuota= set it. Out: a number, at least 1. Rules: a quota on any group above counts; half a core
is rounded up; what cannot be read is no limit.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

#: Where the kernel shows processes and control groups.
_ROOT = Path("/")


@functools.cache
def usable(root: Path = _ROOT) -> int:
    """How many cores the affinity and the quota allow; `root`: where /proc and /sys are."""
    allowed = len(os.sched_getaffinity(0))
    quota = min(_quotas(root), default=float(allowed))
    return max(1, min(allowed, math.ceil(quota)))


def _quotas(root: Path) -> Iterator[float]:
    """The quotas that apply, in cores."""
    mounts = root / "sys/fs/cgroup"
    for line in _words(root / "proc/self/cgroup", "\n"):
        _, controllers, path = (*line.split(":", 2), "", "", "")[:3]
        groups = PurePosixPath("/", path)
        for group in (groups, *groups.parents):
            below = str(group).lstrip("/")
            if not controllers:  # version 2
                yield from _limit(_words(mounts / below / "cpu.max"))
            elif "cpu" in controllers.split(","):
                for name in dict.fromkeys((controllers, "cpu")):
                    folder = mounts / name / below
                    quota = _words(folder / "cpu.cfs_quota_us")
                    yield from _limit(quota + _words(folder / "cpu.cfs_period_us"))


def _limit(words: list[str]) -> Iterator[float]:
    """Quota and period, in microseconds; "max" and -1 are no limit."""
    if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
        yield int(words[0]) / int(words[1])


def _words(path: Path, separator: str | None = None) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split(separator)
    except OSError:
        return []
