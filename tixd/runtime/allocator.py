"""How the C library keeps memory that is free again.

glibc gives a block of its own back to the system at once. But it takes the size of each such block
that is freed for usual, up to 32 MiB, and carves blocks of that size out of its heap from then on,
where they stay with the process (mallopt(3), M_MMAP_THRESHOLD).
"""

from __future__ import annotations

import contextlib
import ctypes

#: Blocks from this size on are always given back, bytes: those of ordinary requests are smaller.
LARGE_BYTES = 2**20

#: The number of the parameter in malloc.h.
_M_MMAP_THRESHOLD = -3


def give_large_blocks_back() -> None:
    """Let no burst of large blocks make this process larger for good, if it has glibc."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
