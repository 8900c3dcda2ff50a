"""The board of a worker process: shared memory that says which job it computes, and in which phase.

The worker writes; the parent reads when it wants to know. Nothing is sent, and the last entry
outlives the worker. The memory is anonymous: it ends with the last process that has it.

Rules: entries go into two halves in turn, each with a sequence number and a CRC-32. The newest
valid one counts, so nobody reads half an entry, and a worker that is killed while it writes leaves
the entry before. Whatever is not valid is no entry.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
import zlib
from dataclasses import dataclass, replace
from multiprocessing import reduction
from typing import Any

from tixd.errors import BadMessage
from tixd.jobs import Phase
from tixd.pool.codec import decode, encode

#: Size of a half: its header, and a phase with about 2,000 names of reports as they usually are.
HALF_BYTES = 64 * 1024

#: Where the halves begin.
_HALVES = (0, HALF_BYTES)

#: Sequence number, job, nanoseconds, length of the phase, CRC-32 of all that and of the phase. Of
#: two headers the greater one is the newer one.
_HEADER = struct.Struct(">QQQII")

#: Longest phase.
MAX_PHASE_BYTES = HALF_BYTES - _HEADER.size

#: Tries to read while the worker overtakes the reader.
MAX_READS = 10

#: Flag of memfd_create(2) that vm.memfd_noexec=2 demands; kernels before 6.3 do not know it.
_MFD_NOEXEC_SEAL = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """What a worker process does.

    sequence: how many entries it has written; job: number of the job that it computes, 0 while it
    waits; since: monotonic seconds when this began; phase: None until the job has reported one.
    """

    sequence: int
    job: int
    since: float
    phase: Phase | None


class Board:
    """The parent's side; passed to a process that is being spawned, it arrives as its Writer."""

    def __init__(self) -> None:
        """Allocate the memory; raises OSError."""
        self._header = b""
        self._entry: Entry | None = None
        self._fd = _anonymous_memory()
        try:
            # Whole, now: later, lack of memory would end the worker that writes.
            os.posix_fallocate(self._fd, 0, 2 * HALF_BYTES)
            self._memory = mmap.mmap(self._fd, 2 * HALF_BYTES, access=mmap.ACCESS_READ)
        except OSError:
            os.close(self._fd)
            raise

    def __reduce__(self) -> tuple[type[Writer], tuple[Any]]:
        return Writer, (reduction.DupFd(self._fd),)

    def read(self) -> Entry | None:
        """Return the newest entry, or None; after close() what was the newest one then."""
        if not self._memory.closed:
            tries = (self._newest() for _ in range(MAX_READS))
            self._entry = next(filter(None, tries), None)
        return self._entry

    def close(self) -> None:
        """Release the memory."""
        self.read()
        self._memory.close()
        os.close(self._fd)

    def _newest(self) -> Entry | None:
        """Return the newest valid entry; None also where both were overwritten meanwhile."""
        headers = ((self._memory[at : at + _HEADER.size], at) for at in _HALVES)
        for header, at in sorted(headers, reverse=True):
            if header == self._header and self._entry:
                return self._entry
            if entry := self._decoded(header, at + _HEADER.size):
                self._header = header
                return entry
        return None

    def _decoded(self, header: bytes, at: int) -> Entry | None:
        sequence, job, since_ns, length, crc = _HEADER.unpack(header)
        content = self._memory[at : at + min(length, MAX_PHASE_BYTES)]
        if _crc(header[:-4], content) != crc:
            return None
        try:
            phase = decode(content) if content else None
        except BadMessage:
            return None
        if not isinstance(phase, Phase | None):
            return None
        return Entry(sequence, job, since_ns / 1e9, phase)


class Writer:
    """The worker's side; an entry takes about 3 us."""

    def __init__(self, memory: Any) -> None:
        """`memory` is the descriptor, as multiprocessing passes it."""
        fd = memory.detach()
        self._memory = mmap.mmap(fd, 2 * HALF_BYTES)
        os.close(fd)
        self._sequence = 0
        self._job = 0
        #: The last phase of the current job.
        self.phase: Phase | None = None

    def begin(self, job: int, phase: Phase | None = None) -> None:
        """Write that the worker computes this job from now on, which has got to that phase."""
        self._job = job
        self._write(phase)

    def report(self, phase: Phase) -> None:
        """Write which phase of it begins."""
        self._write(phase)

    def rest(self) -> None:
        """Write that it waits, unless that is written."""
        if self._job:
            self._job = 0
            self._write(None)

    def _write(self, phase: Phase | None) -> None:
        self.phase = phase
        self._sequence += 1
        content = _encoded(phase) if phase else b""
        header = _HEADER.pack(self._sequence, self._job, time.monotonic_ns(), len(content), 0)[:-4]
        entry = header + _crc(header, content).to_bytes(4) + content
        at = _HALVES[self._sequence % 2]
        self._memory[at : at + len(entry)] = entry


def _anonymous_memory() -> int:
    """Return the descriptor of a file in memory that has no name and no bytes yet."""
    try:
        return os.memfd_create("tixd-board", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    except OSError:
        return os.memfd_create("tixd-board")


def _encoded(phase: Phase) -> bytes:
    """Return the bytes of a phase, with the first half of its names, and so on, until they fit."""
    while len(content := encode(phase)) > MAX_PHASE_BYTES:
        phase = replace(phase, names=phase.names[: len(phase.names) // 2])
    return content


def _crc(header: bytes, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(header))
