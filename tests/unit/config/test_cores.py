"""How many cores a process may use: affinity and quotas of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tixd.config import environment
from tixd.config.settings import Settings


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    environment.usable_cores.cache_clear()
    yield
    environment.usable_cores.cache_clear()


def tree(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A /proc and /sys of a process in these groups, with these files of control groups."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


V1 = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
        ("0::/", {"sys/fs/cgroup/cpu.max": "10000 100000"}, 1),
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, 8),
        ("0::/", {"sys/fs/cgroup/cpu.max": "9900000 100000"}, 8),
        ("0::/a/b", {"sys/fs/cgroup/a/cpu.max": "300000 100000"}, 3),
        ("0::/a/b", {"sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        ("0::/a/b", {f"sys/fs/cgroup/a{x}/cpu.max": f"{n}00000 100000" for x, n in
                     (("", 4), ("/b", 6))}, 4),
        ("3:cpu,cpuacct:/d/e\n2:memory:/d",
         {f"{V1}/d/e/cpu.cfs_quota_us": "250000", f"{V1}/d/e/cpu.cfs_period_us": "100000"}, 3),
        ("3:cpu:/docker/of/the/host",
         {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 1),
        ("3:cpu:/", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                     "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 8),
        ("nonsense", {"sys/fs/cgroup/cpu.max": "nonsense"}, 8),
        ("0::/", {"sys/fs/cgroup/cpu.max": "100000 0"}, 8),
    ],
)  # fmt: skip
def test_a_quota_of_a_control_group_bounds_the_cores(tmp_path, groups, files, expected):
    assert environment.usable_cores(tree(tmp_path, groups, files)) == expected


def test_workers_by_default_are_as_many_as_the_quota_has_cores(tmp_path, monkeypatch):
    root = tree(tmp_path, "0::/", {"sys/fs/cgroup/cpu.max": "150000 100000"})
    monkeypatch.setattr(environment.usable_cores.__wrapped__, "__defaults__", (root,))
    assert Settings().worker_count == 2
    assert Settings(workers=5).worker_count == 5
