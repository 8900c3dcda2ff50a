"""Mask signals while a process cannot handle them yet, or no longer; the duties of process 1.

What each signal does to a service: service.py, section "signals". Rules: a start ends quietly or
not at all, and no signal changes the exit code after the end. SIGHUP, SIGUSR1 and SIGUSR2 are for
services: early ones wait until the service listens; a command ends by SIGHUP, because its terminal
has gone, and tidies up after SIGINT. The kernel keeps from process 1 every signal without a
handler, SIGTERM too; a process whose parent has ended becomes its child, and stays a zombie until
process 1 asks how it ended.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection
from types import FrameType

#: The first process of a container, or of a machine.
FIRST_PID = 1

#: The exit code of a process that a signal ends is this and the signal's number.
ENDED_BY_SIGNAL = 128


def end_at_signals() -> None:
    """Let SIGTERM and SIGINT end process 1 as they end others, until a service listens."""
    if os.getpid() == FIRST_PID:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(ENDED_BY_SIGNAL + number)


def reap_orphans(own: Collection[int] = ()) -> None:
    """Reap the processes that others have left to process 1; its `own` are reaped elsewhere.

    The kernel names the oldest first: those behind a dead one of its `own` wait for the next call.
    """
    while os.getpid() == FIRST_PID and (pid := _ended_child()) and pid not in own:
        os.waitpid(pid, 0)


def _ended_child() -> int:
    """Return a child that has ended and was not reaped; 0: there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return found.si_pid if found else 0


#: Requests to a service, which would end it while it does not listen.
_REQUESTS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def begin() -> None:
    """Prepare for signals before it is known whether this is a service or a command."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _REQUESTS)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # waits for a service while it is blocked
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # an end without a traceback
    end_at_signals()


def is_command() -> None:
    """Take signals as a command does."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _REQUESTS)


def listens() -> None:
    """Let the signals come that have waited, because the service has handlers now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _REQUESTS)


def leave_to_main_thread() -> None:
    """Block every signal in this thread, which is not the main one.

    Else the kernel may hand it one after `has_ended`, while the thread is ending.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def has_ended() -> None:
    """Let no signal change the exit code any more, while the loop still has its handlers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*_REQUESTS, signal.SIGTERM, signal.SIGINT))
