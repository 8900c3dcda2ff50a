"""Lack of memory, which is never the input's fault.

In: an exception. Out: whether it comes of lack of memory, threads or processes. Rules: a crash
(SIGSEGV, SIGABRT, an exit code) does not tell that it came of it. So a job that is repeated after
such a death first proves, before each phase, that there is room for the largest window.
"""

from __future__ import annotations

import errno
import mmap

#: Address space that is free before each phase of a repeated job. The largest window takes 25 MB
#: (measured with 117,000 observations), its largest report 16 MB.
RESERVE_BYTES = 64 * 2**20

#: Numbers of an OSError that mean lack of memory, processes or descriptors.
_NUMBERS = frozenset({errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE})

#: What RuntimeError and ImportError say of it: threading, the dynamic linker.
_WORDS = ("can't start new thread", "failed to map segment", "cannot allocate memory")


def is_lack(error: BaseException | None) -> bool:
    """Whether the exception, or one that led to it, comes of lack of memory and the like.

    >>> is_lack(MemoryError()), is_lack(RuntimeError("can't start new thread")), is_lack(KeyError())
    (True, True, False)
    """
    while error:
        if isinstance(error, MemoryError):  # numpy's is one of these
            return True
        if isinstance(error, OSError) and error.errno in _NUMBERS:
            return True
        words = str(error).lower() if isinstance(error, RuntimeError | ImportError) else ""
        if any(word in words for word in _WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def prove_room() -> None:
    """Raise MemoryError where the process cannot have RESERVE_BYTES more; takes none of them."""
    try:
        mmap.mmap(-1, RESERVE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        raise MemoryError(f"less than {RESERVE_BYTES >> 20} MiB to be had") from error
