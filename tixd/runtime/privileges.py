"""Drop root privileges to the owner of the reports, and to the capabilities that are needed.

Rules: TIX_RUN_AS counts first, then the owner of the reports folder. Where several users own what
is in it, or root does, the process stays root's with few capabilities(7). The folders that tixd
writes to are handed over before, if they are root's and nothing else is in them. Python has no call
for capabilities, so libc's are called; no program that is executed later gets new rights.
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import pwd
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from tixd import errors
from tixd.config.environment import user
from tixd.runtime.ownership import is_root_controlled

#: Read, write and enter what belongs to others, whatever its mode (linux/capability.h).
DAC_OVERRIDE = 1

#: Delete in folders with the sticky bit, and set modes, as the owner may.
FOWNER = 3

#: Listen on a port below 1024.
NET_BIND_SERVICE = 10

#: Versions of capget(2) and capset(2) that know capabilities of 64 bits, in two halves.
_VERSION_3 = 0x20080522

#: A file beside the code, and there too where the code is packed into the program.
_BESIDE_THE_CODE = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "py.typed"
)

#: prctl(2): children and programs that are executed get no more than this process has.
_SET_NO_NEW_PRIVS = 38


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Half(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


def limit_capabilities(wanted: Iterable[int]) -> None:
    """Give up all other capabilities for good, children's too; raises OSError where refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    _call(libc.prctl, _SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header, halves = _Header(_VERSION_3, 0), (_Half * 2)()
    _call(libc.capget, ctypes.byref(header), halves)
    mask = sum(1 << number for number in wanted)
    for half in halves:
        half.permitted &= mask & 0xFFFFFFFF
        half.effective = half.permitted
        half.inheritable = 0
        mask >>= 32
    _call(libc.capset, ctypes.byref(header), halves)


def _call(function: ctypes._NamedFuncPointer, *arguments: object) -> None:
    if function(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


#: At most this many users' folders are checked for their owners.
MAX_FOLDERS = 1000

#: The id above it means "no change" to the kernel (setresuid(2)).
HIGHEST_ID = 2**32 - 2

#: Beginnings of names in a schedule folder that are tixd's, Celery's, or of an empty volume.
_OURS = ("tixd-", "celerybeat", "lost+found")

#: Modes of a folder into which others can have put links.
_WRITABLE_BY_OTHERS = 0o022


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, its groups (the first is its own), and why it was chosen ("": not logged)."""

    uid: int
    groups: tuple[int, ...]
    why: str

    def __str__(self) -> str:
        """Name the user as messages do."""
        return user(self.uid)


def target_identity(run_as: str, reports: str = "") -> Identity | None:
    """Return the user that a process of root changes to; None: it is not root's.

    run_as: user or user:group, by name or number; reports: the reports folder, "" for none.
    Raises ConfigError.
    """
    if os.geteuid() != 0:
        if run_as and (named := _named(run_as)).uid != os.geteuid():
            raise errors.ConfigError(
                f'TIX_RUN_AS = "{run_as}": only root can become {named}, and this was started '
                f"by uid {os.geteuid()}"
            )
        return None
    if run_as:
        return _named(run_as)
    return _owner(reports) if reports else Identity(0, (0,), "TIX_RUN_AS is not set")


def chown_to(identity: Identity, folders: Iterable[str], file: str) -> None:
    """Give the user tixd's folders, made if they are missing, and the log `file` ("": none)."""
    if identity.uid:
        for folder in folders:
            _hand_over_folder(folder, identity)
        if file:
            _hand_over_file(file, identity)


def drop_privileges(identity: Identity, kept: Iterable[int]) -> str | None:
    """Change to the user for good; root keeps only the capabilities `kept`.

    Return why root's rights were not dropped, else None. Raises CannotStart where it is denied.
    """
    if identity.uid or identity.groups != (0,):
        try:
            os.setgroups(identity.groups)
            os.setresgid(*[identity.groups[0]] * 3)
            os.setresuid(*[identity.uid] * 3)
        except OSError as error:
            raise _not_allowed(identity, error) from None
    try:
        limit_capabilities(() if identity.uid else kept)
    except OSError as error:
        return None if identity.uid else str(error.strerror)
    return None


def check(identity: Identity) -> None:
    """Check that the user may read the program, which workers run too; raises CannotStart."""
    if not identity.uid:
        return
    before = os.getgroups()
    try:
        os.setgroups(identity.groups)
        os.setegid(identity.groups[0])
        os.seteuid(identity.uid)
        needed = (sys.executable, _BESIDE_THE_CODE)
        missing = [path for path in needed if not os.access(path, os.R_OK, effective_ids=True)]
    except OSError as error:
        raise _not_allowed(identity, error) from None
    finally:
        os.seteuid(0)
        os.setegid(0)
        with contextlib.suppress(OSError):  # where it was not allowed before either
            os.setgroups(before)
    if missing:
        raise errors.CannotStart(
            f"root started tixd, which is to run as {identity}, {identity.why}; that user may not "
            f"read {missing[0]}: install tixd where everybody can read it, or set TIX_RUN_AS=root"
        )


def _not_allowed(identity: Identity, error: OSError) -> errors.CannotStart:
    return errors.CannotStart(
        f"root may not become {identity}, {identity.why}, here ({error.strerror}): start tixd as "
        "that user, or give it CAP_SETUID and CAP_SETGID"
    )


# --- which user ----------------------------------------------------------------------------------


def _named(words: str) -> Identity:
    """Return the identity that TIX_RUN_AS names."""
    name, _, group = words.partition(":")
    try:
        uid = _number(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
        gids = (_gid(group),) if group else _groups(uid, uid)
    except KeyError:
        raise errors.ConfigError(
            f'TIX_RUN_AS = "{words}": there is no such user or group here; '
            "give user or user:group, by name or number"
        ) from None
    return Identity(uid, gids, "TIX_RUN_AS")


def _gid(group: str) -> int:
    return _number(group) if group.isdecimal() else grp.getgrnam(group).gr_gid


def _number(text: str) -> int:
    """Return an id; raises KeyError where the kernel does not accept it."""
    if len(text) > len(str(HIGHEST_ID)) or int(text) > HIGHEST_ID:
        raise KeyError
    return int(text)


def _groups(uid: int, unknown: int) -> tuple[int, ...]:
    """Return the groups of a user; `unknown` alone where this machine does not know it."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return (unknown,)
    own = entry.pw_gid
    return (own, *sorted(set(os.getgrouplist(entry.pw_name, own)) - {own}))


def _owner(reports: str) -> Identity:
    """Return the owner of the reports folder, or root where its folders have several owners."""
    try:
        facts = os.stat(reports)
    except OSError:  # reported where the folder is needed
        return Identity(0, (0,), "")
    if any(uid != facts.st_uid for uid in _owners(reports)):
        return Identity(0, (0,), f"what is in {reports} belongs to several users")
    groups = _groups(facts.st_uid, facts.st_gid or facts.st_uid)
    return Identity(facts.st_uid, groups, f"owner of {reports}")


def _owners(reports: str) -> Iterator[int]:
    """Yield the owners of users' folders; none where root may not list them (some NFS)."""
    with contextlib.suppress(OSError), os.scandir(reports) as found:
        users = (entry for entry in found if entry.name.isdecimal())
        for entry in islice(users, MAX_FOLDERS):
            with contextlib.suppress(FileNotFoundError):
                yield entry.stat(follow_symlinks=False).st_uid


# --- folders and files ---------------------------------------------------------------------------


def _hand_over_folder(path: str, identity: Identity) -> None:
    """Give the folder, made if it is missing, and tixd's files in it to the identity.

    A folder that is not root's alone, or holds anything else, stays as it is.
    """
    if not is_root_controlled(path, there=False):
        return
    with contextlib.suppress(OSError):
        os.makedirs(path, 0o700, exist_ok=True)
        if not is_root_controlled(path):
            return
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            facts, names = os.fstat(fd), os.listdir(fd)
            others = facts.st_uid != 0 or facts.st_mode & _WRITABLE_BY_OTHERS
            if not others and all(name.startswith(_OURS) or ".sock" in name for name in names):
                for name in names:
                    _give(name, identity, dir_fd=fd)
                os.fchown(fd, identity.uid, identity.groups[0])
        finally:
            os.close(fd)


def _hand_over_file(path: str, identity: Identity) -> None:
    """Make the log file if it is missing, and give it to the identity if it is root's.

    Do nothing where another user could redirect root by a link.
    """
    if not is_root_controlled(os.path.dirname(os.path.abspath(path))):
        return
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(path, flags | os.O_CLOEXEC, 0o640)
        try:
            _give(fd, identity)
        finally:
            os.close(fd)


def _give(what: str | int, identity: Identity, dir_fd: int | None = None) -> None:
    """Change the owner of a file of root that has no other hard link."""
    if isinstance(what, int):
        facts = os.fstat(what)
    else:
        facts = os.stat(what, dir_fd=dir_fd, follow_symlinks=False)
    if facts.st_uid == 0 and facts.st_nlink == 1 and stat.S_ISREG(facts.st_mode):
        os.chown(what, identity.uid, identity.groups[0], dir_fd=dir_fd)
