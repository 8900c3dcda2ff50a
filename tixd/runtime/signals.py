"""Signals in the moments in which a process cannot listen to them yet, or does so no longer.

In: nothing. Out: a start that ends quietly or not at all, and an end whose exit code no signal
changes. Rules: SIGHUP, SIGUSR1 and SIGUSR2 are for services: those that come early wait until the
service listens; a command is ended by SIGHUP, because its terminal has gone, and tidies up after
SIGINT.
"""

from __future__ import annotations

import signal

from tixd import first_process

#: What is asked of a service, and would end it while it does not listen.
_REQUESTS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def begin() -> None:
    """The first moment: whether this is a service or a command is not known yet."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _REQUESTS)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # waits for a service while it is blocked
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # an end without a traceback
    first_process.end_at_signals()


def is_command() -> None:
    """This is no service."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _REQUESTS)


def listens() -> None:
    """A service has handlers from now on: what waits comes."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _REQUESTS)


def has_ended() -> None:
    """All is done: what comes now is too late to change how this process ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*_REQUESTS, signal.SIGTERM, signal.SIGINT))
