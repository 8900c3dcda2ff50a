"""The program; worker processes import this module again, so it imports nothing of tixd at its top.

Rules: a descriptor 0, 1 or 2 that is closed, as in `tixd once 2>&-`, would be taken by the next
file or socket, and what is printed would go there, so each is /dev/null from the beginning.
"""

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


def main() -> None:
    """Run `tixd` and end the process with its exit code."""
    from tixd.runtime import signal_masks  # noqa: PLC0415 - see above

    ensure_open()
    signal_masks.begin()
    from tixd import cli  # noqa: PLC0415 - takes its time, in which signals may come

    cli.run()


if __name__ == "__main__":
    main()
