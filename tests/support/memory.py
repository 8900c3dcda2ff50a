"""Measure memory: of a process, of what Python allocates in a block, and of a whole program.

`python -m tests.support.memory PROGRAM ARGUMENT...` runs a program and logs, as a JSON line, how
much the largest of its processes took; a process of its own, because what is started from a test
begins with the test's own peak.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
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


if __name__ == "__main__":
    code = subprocess.run(sys.argv[1:]).returncode
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    sys.stderr.write(json.dumps({"event": "peak_memory", "kib": peak_kib}) + "\n")
    sys.exit(code)


@dataclass
class Peak:
    """The largest number of bytes that were held at once, beyond those held before."""

    bytes: int = 0


@contextlib.contextmanager
def peak_allocation() -> Iterator[Peak]:
    """Measure the block; the figure is known when it has ended."""
    peak = Peak()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield peak
        peak.bytes = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
