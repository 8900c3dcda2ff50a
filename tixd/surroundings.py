"""What the service manager tells a process by its environment; no settings of an operator.

In: the environment, as `config` got it. Out: Surroundings. Pure.
Rules: an empty variable counts as unset; tixd must run under any service manager and under none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

#: Runtime folder of a service of this name (Filesystem Hierarchy Standard 3.0, §3.15).
SYSTEM_RUNTIME_FOLDER = "/run/tixd"

#: Runtime folders of tixd@NAME.service; nobody but root can make one there.
INSTANCE_RUNTIME_FOLDERS = "/run/tixd-*"

#: Where a user without a runtime folder has one of tixd's; anybody may have made it before. The
#: second is for a root that cannot be written to, as containers may have it.
_OWN_RUNTIME_FOLDERS = (
    "/tmp/tixd-{uid}",  # noqa: S108 - control.py checks whose it is
    "/dev/shm/tixd-{uid}",  # noqa: S108
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known, or guessed, of where this process runs.

    runtime_folders: where sockets may be, best first, only one where RUNTIME_DIRECTORY names it;
    own_runtime_folders: the last that are guessed, which tixd makes itself; journal_stream:
    "device:inode" of systemd's log; notify_socket: where systemd hears of the state ("" for the
    last two: not under systemd); instances: pattern of the folders of others to ask ("": none).
    """

    runtime_folders: tuple[str, ...]
    own_runtime_folders: tuple[str, ...]
    journal_stream: str
    notify_socket: str
    instances: str = ""

    def and_those_of(self, uid: int) -> Surroundings:
        """With the folders that a process of this user makes, where none is given."""
        own = tuple(folder.format(uid=uid) for folder in _OWN_RUNTIME_FOLDERS)
        if not set(self.own_runtime_folders) & set(self.runtime_folders):
            return self
        return replace(
            self,
            runtime_folders=tuple(dict.fromkeys(self.runtime_folders + own)),
            own_runtime_folders=tuple(dict.fromkeys(self.own_runtime_folders + own)),
        )


def read(environ: Mapping[str, str], *, uid: int) -> Surroundings:
    """The surroundings of a process of the user `uid`."""
    own = tuple(folder.format(uid=uid) for folder in _OWN_RUNTIME_FOLDERS)
    told = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    guessed = (*filter(None, [environ.get("XDG_RUNTIME_DIR")]), SYSTEM_RUNTIME_FOLDER, *own)
    return Surroundings(
        runtime_folders=(told,) if told else guessed,
        own_runtime_folders=own,
        journal_stream=environ.get("JOURNAL_STREAM", ""),
        notify_socket=environ.get("NOTIFY_SOCKET", ""),
        instances="" if told else INSTANCE_RUNTIME_FOLDERS,
    )
