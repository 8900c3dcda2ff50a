"""Standard streams of a process that was started without some of them, as `tixd once 2>&-` is.

Rules: a closed descriptor 0, 1 or 2 would be taken by the next file or socket that is opened, and
what is printed would go there, so each is /dev/null from the beginning.
"""

from __future__ import annotations

import os
import sys

#: The highest descriptor of a standard stream.
_LAST = 2


def ensure_open() -> None:
    """Open /dev/null in place of each standard stream that is closed."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _LAST:
        os.set_inheritable(fd, True)  # noqa: FBT003 - for the worker processes too
    os.close(fd)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
