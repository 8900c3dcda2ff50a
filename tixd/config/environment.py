"""Read what the service manager, Kubernetes and the kernel tell a process of where it runs.

Rules: none of it is a setting of an operator; an empty variable counts as unset; tixd must run
under any service manager and under none.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import pwd
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

#: Runtime folder of a service of this name (Filesystem Hierarchy Standard 3.0, §3.15).
SYSTEM_RUNTIME_FOLDER = "/run/tixd"

#: Runtime folders of tixd@NAME.service; only root can make one there.
INSTANCE_RUNTIME_FOLDERS = "/run/tixd-*"

#: Fallback runtime folders, in places that are writable for all users. The second is for
#: containers whose root is read-only.
_OWN_RUNTIME_FOLDERS = (
    "/tmp/tixd-{uid}",  # noqa: S108 - control.py checks whose it is
    "/dev/shm/tixd-{uid}",  # noqa: S108
)

#: What Kubernetes and docker call variables of a service or linked container, behind its name, and
#: what their values begin with where the name alone could be a setting's.
_LINKED = re.compile(
    r".+(_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?"
    r"|_ENV_[A-Za-z0-9_]+)",
    re.ASCII,
)
_LINKED_VALUES = {"_PORT": ("tcp://", "udp://", "sctp://"), "_NAME": ("/",)}

#: Longest name of a variable that they make: that of a service has 63 characters at most.
_MAX_NAME_CHARACTERS = 300

#: At most this many names of variables are listed.
_MAX_NAMES = 3

#: Where the kernel shows processes and control groups.
_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Environment:
    """What is known, or guessed, of where this process runs.

    runtime_folders: where sockets may be, best first, only one where RUNTIME_DIRECTORY names it;
    own_runtime_folders: the last that are guessed, which tixd makes itself; journal_stream:
    "device:inode" of systemd's log; notify_socket: where systemd receives the state ("" for
    the last two: not under systemd); instances: pattern of the folders of others to ask ("": none);
    state_folder: where systemd lets a service keep what lasts ("": not said).
    """

    runtime_folders: tuple[str, ...]
    own_runtime_folders: tuple[str, ...]
    journal_stream: str
    notify_socket: str
    instances: str = ""
    state_folder: str = ""

    def with_folders_of(self, uid: int) -> Environment:
        """Add the folders that a process of this user makes, where none is given."""
        own = tuple(folder.format(uid=uid) for folder in _OWN_RUNTIME_FOLDERS)
        if not set(self.own_runtime_folders) & set(self.runtime_folders):
            return self
        return replace(
            self,
            runtime_folders=tuple(dict.fromkeys(self.runtime_folders + own)),
            own_runtime_folders=tuple(dict.fromkeys(self.own_runtime_folders + own)),
        )


def read(environ: Mapping[str, str], *, uid: int) -> Environment:
    """Read the environment of a process of the user `uid`."""
    own = tuple(folder.format(uid=uid) for folder in _OWN_RUNTIME_FOLDERS)
    given = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    guessed = (*filter(None, [environ.get("XDG_RUNTIME_DIR")]), SYSTEM_RUNTIME_FOLDER, *own)
    return Environment(
        runtime_folders=(given,) if given else guessed,
        own_runtime_folders=own,
        journal_stream=environ.get("JOURNAL_STREAM", ""),
        notify_socket=environ.get("NOTIFY_SOCKET", ""),
        instances="" if given else INSTANCE_RUNTIME_FOLDERS,
        state_folder=environ.get("STATE_DIRECTORY", "").split(":")[0],
    )


def without_links(
    environ: Mapping[str, str], prefix: str
) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Drop the service links of this prefix; returns the others and the warning about these."""
    links = service_links(environ, prefix)
    if not links:
        return environ, ()
    left = {name: text for name, text in environ.items() if name not in links}
    return left, (about_links(links),)


def service_links(environ: Mapping[str, str], prefix: str) -> frozenset[str]:
    """Find variables with this prefix that are no settings, but tell where a service is.

    Kubernetes makes them for each service of the namespace, docker for each link.

    >>> sorted(service_links({"TIX_API_PORT": "tcp://10.0.0.7:80", "TIX_API_HOST": "x"}, "TIX_"))
    ['TIX_API_PORT']
    """
    return frozenset(
        name
        for name, text in environ.items()
        if name.startswith(prefix)
        and len(name) <= _MAX_NAME_CHARACTERS
        and (
            _LINKED.fullmatch(name)
            or any(
                name.endswith(end) and text.startswith(_LINKED_VALUES[end])
                for end in _LINKED_VALUES
            )
        )
    )


def about_links(names: frozenset[str]) -> str:
    """Return the warning about such variables, in one line however many they are."""
    first, more = sorted(names)[:_MAX_NAMES], len(names) - _MAX_NAMES
    shown = ", ".join(name[:100] for name in first) + (f" and {more} more" if more > 0 else "")
    return (
        f"environment {shown}: made by Kubernetes or docker for a service of that name, ignored; "
        "enableServiceLinks: false in the pod leaves them out"
    )


def user(uid: int) -> str:
    """Return a user as messages name it."""
    with contextlib.suppress(KeyError):
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    return f"uid {uid}"


@functools.cache
def usable_cores(root: Path = _ROOT) -> int:
    """Count the cores that affinity and CPU quota allow, at least 1.

    A quota on any control group above counts (v1 and v2); half a core is rounded up; what cannot be
    read is no limit. root: where /proc and /sys are.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = min(_quotas(root), default=float(allowed))
    return max(1, min(allowed, math.ceil(quota)))


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quotas that apply, in cores."""
    mounts = root / "sys/fs/cgroup"
    for line in _words(root / "proc/self/cgroup", "\n"):
        _, controllers, path = (*line.split(":", 2), "", "", "")[:3]
        groups = PurePosixPath("/", path)
        for group in (groups, *groups.parents):
            below = str(group).lstrip("/")
            if not controllers:  # version 2
                yield from _limit(_words(mounts / below / "cpu.max"))
            elif "cpu" in controllers.split(","):
                for name in dict.fromkeys((controllers, "cpu")):
                    folder = mounts / name / below
                    quota = _words(folder / "cpu.cfs_quota_us")
                    yield from _limit(quota + _words(folder / "cpu.cfs_period_us"))


def _limit(words: list[str]) -> Iterator[float]:
    """Yield the cores of quota and period, in microseconds; "max" and -1 are no limit."""
    if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
        yield int(words[0]) / int(words[1])


def _words(path: Path, separator: str | None = None) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split(separator)
    except OSError:
        return []
