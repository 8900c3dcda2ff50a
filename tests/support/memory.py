"""Read how much memory a process has, from its status in /proc."""

from __future__ import annotations

import os
from pathlib import Path


def resident_bytes(pid: int | None = None) -> int:
    """The memory that the process, or this one, has in RAM now."""
    return _status_bytes(pid, "VmRSS")


def peak_bytes(pid: int | None = None) -> int:
    """The most memory that it had in RAM, since it began or since `forget_peak`."""
    return _status_bytes(pid, "VmHWM")


def forget_peak(pid: int | None = None) -> None:
    """Measure the peak from now on."""
    Path(f"/proc/{pid or os.getpid()}/clear_refs").write_text("5")


def _status_bytes(pid: int | None, name: str) -> int:
    lines = Path(f"/proc/{pid or os.getpid()}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024
