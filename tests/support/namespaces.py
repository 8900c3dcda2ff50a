"""What one does inside a network namespace: start programs there, open sockets from here."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

#: Says to setns(2) that it is a network namespace (linux/sched.h).
CLONE_NEWNET = 0x40000000

Result = TypeVar("Result")


def command(netns: str | None, *words: str) -> list[str]:
    """The command that runs `words` in a namespace, as the very process that is started."""
    return ["ip", "netns", "exec", netns, *words] if netns else list(words)


def inside(netns: str | None, call: Callable[[], Result]) -> Result:
    """Call something in a namespace; a socket that it opens stays there, whoever uses it."""
    if netns is None:
        return call()
    with ThreadPoolExecutor(1) as thread:  # a namespace is a thread's own
        return thread.submit(_call_in, netns, call).result()


def _call_in(netns: str, call: Callable[[], Result]) -> Result:
    file = os.open(f"/run/netns/{netns}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(file, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {netns}")
    finally:
        os.close(file)
    return call()
