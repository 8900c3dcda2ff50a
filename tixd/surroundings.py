"""What the service manager tells a process by its environment; no settings of an operator.

In: the environment, as `config` got it. Out: Surroundings. Pure.
Rules: an empty variable counts as unset; what is malformed or meant for another process counts so
too, because tixd must run under any service manager and under none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Runtime folder of a service of this name (Filesystem Hierarchy Standard 3.0, §3.15).
SYSTEM_RUNTIME_FOLDER = "/run/tixd"

#: Where a user without a runtime folder has one of tixd's; anybody may have made it before.
_OWN_RUNTIME_FOLDER = "/tmp/tixd-{uid}"  # noqa: S108 - control.py checks whose it is

#: Microseconds of a second.
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known, or guessed, of where this process runs.

    runtime_folders: where sockets may be, best first, only one where RUNTIME_DIRECTORY names it;
    own_runtime_folder: the last that is guessed, which tixd makes itself; journal_stream:
    "device:inode" of systemd's log; notify_socket: where systemd hears of the state ("" for the
    last two: not under systemd); watchdog_seconds: within which systemd wants a sign of life, None
    where it wants none.
    """

    runtime_folders: tuple[str, ...]
    own_runtime_folder: str
    journal_stream: str
    notify_socket: str
    watchdog_seconds: float | None


def read(environ: Mapping[str, str], *, uid: int, pid: int) -> Surroundings:
    """The surroundings of the process `pid` of the user `uid`."""
    own = _OWN_RUNTIME_FOLDER.format(uid=uid)
    told = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    guessed = (*filter(None, [environ.get("XDG_RUNTIME_DIR")]), SYSTEM_RUNTIME_FOLDER, own)
    return Surroundings(
        runtime_folders=(told,) if told else guessed,
        own_runtime_folder=own,
        journal_stream=environ.get("JOURNAL_STREAM", ""),
        notify_socket=environ.get("NOTIFY_SOCKET", ""),
        watchdog_seconds=_watchdog_seconds(environ, pid),
    )


def _watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """As sd_watchdog_enabled(3): not ours where WATCHDOG_PID names another process."""
    text = environ.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        return None
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return int(text) / _MICROSECONDS
