"""Signals in the moments in which a process cannot listen to them yet, or does so no longer.

In: nothing. Out: a start that ends quietly or not at all, and an end whose exit code no signal
changes. Rules: SIGHUP, SIGUSR1 and SIGUSR2 are for services: those that come early wait until the
service listens; a command is ended by SIGHUP, because its terminal has gone, and tidies up after
SIGINT.

What a process owes as the first one of a container (number 1), beside its own work.

In: nothing. Out: an end at SIGTERM and SIGINT from the first moment on; no zombies. Rules: the
kernel keeps from process 1 every signal that it has no handler for, SIGTERM too; a process whose
parent has ended becomes a child of process 1, and stays a zombie until that one asks how it ended.
In any other process nothing is done.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection
from types import FrameType

#: The first process of a container, or of a machine.
FIRST = 1

#: Exit codes of processes that a signal has ended begin here, as shells and containers say it.
ENDED_BY_SIGNAL = 128


def end_at_signals() -> None:
    """Let SIGTERM and SIGINT end this process, as they end others, until a service listens."""
    if os.getpid() == FIRST:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(ENDED_BY_SIGNAL + number)


def reap_orphans(own: Collection[int] = ()) -> None:
    """Ask how those ended that others have left to process 1; not of its `own`, others do that.

    The kernel names the eldest first: those behind a dead one of its `own` have their turn at the
    next call, when that one has been asked.
    """
    while os.getpid() == FIRST and (pid := _ended_child()) and pid not in own:
        os.waitpid(pid, 0)


def _ended_child() -> int:
    """A child that has ended, and still can be asked how; 0: there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return found.si_pid if found else 0


#: What is asked of a service, and would end it while it does not listen.
_REQUESTS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def begin() -> None:
    """The first moment: whether this is a service or a command is not known yet."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _REQUESTS)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # waits for a service while it is blocked
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # an end without a traceback
    end_at_signals()


def is_command() -> None:
    """This is no service."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _REQUESTS)


def listens() -> None:
    """A service has handlers from now on: what waits comes."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _REQUESTS)


def leave_to_main_thread() -> None:
    """Block every signal in this thread, which is not the main one.

    Else the kernel may hand it one after `has_ended`, while the thread is ending.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def has_ended() -> None:
    """Let no signal change the exit code any more, while the loop still has its handlers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*_REQUESTS, signal.SIGTERM, signal.SIGINT))
