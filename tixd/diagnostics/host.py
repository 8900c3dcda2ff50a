"""Check what the host provides: addresses, control socket, log, history; explain missing rights.

Rules: an address or a socket that the same role uses is fine; no file is made; folders keep
their times.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import http.client
import os
import stat
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from tixd import errors
from tixd.config.environment import Environment, user
from tixd.directory import Folder, why_no_folder
from tixd.runtime import control
from tixd.runtime.http_server import bind_address
from tixd.runtime.ownership import is_root_controlled

#: How long the process behind the address, or the role's socket, may take to answer.
ANSWER_SECONDS = 3.0


def current_user() -> str:
    """Name the user of this process."""
    return user(os.geteuid())


@contextlib.contextmanager
def explain_denial(path: str) -> Iterator[None]:
    """Raise Unusable where a right is missing at `path`: who owns it, who tried, what to do."""
    try:
        yield
    except errors.NotPermitted as error:
        owner, facts = _ownership(path)
        me = current_user()
        raise errors.Unusable(
            f"{error.detail}, tried as {me}; {path} is {facts}:"
            f" run tixd as {owner} (TIX_RUN_AS, or tixd-setup), or give {me} the right"
        ) from None


@contextlib.contextmanager
def same_times(path: str) -> Iterator[None]:
    """Give a folder its times back after the block: cycles look at them.

    What others made there meanwhile makes the folder new. Of another user's folder the times cannot
    be given back.
    """
    try:
        quiet = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOATIME)
    except OSError:  # another user's, or not there
        yield
        return
    try:
        before, names = os.fstat(quiet), set(os.listdir(quiet))
        yield
        with contextlib.suppress(OSError):
            os.utime(quiet, ns=(before.st_atime_ns, before.st_mtime_ns))
            if set(os.listdir(quiet)) != names:
                os.utime(quiet)
    finally:
        os.close(quiet)


def make_and_remove(folder: Folder) -> None:
    """Make a file and remove it, under a name that all of tixd ignores; raises VolumeError."""
    with same_times(folder.path):
        folder.unlink(folder.write_temporary(f".tixd.check-{uuid4()}", b"x", durable=True))


def _ownership(path: str) -> tuple[str, str]:
    """Return the owner, and mode, owner and group in words."""
    try:
        facts = os.stat(path)
    except OSError:
        return "its owner", "of a folder that cannot be listed either"
    owner, mode = user(facts.st_uid), stat.filemode(facts.st_mode)[1:]
    try:
        group = grp.getgrgid(facts.st_gid).gr_name
    except KeyError:
        group = str(facts.st_gid)
    return owner, f"{mode}, of {owner} and group {group}"


def check_http_address(
    address: str,
    setting: str,
    environment: Environment,
    role: str,
    reports: str = "",
    *,
    shared: bool = False,
) -> str:
    """Check the address, which `setting` names; shared: other collectors may have it too.

    A process that has it is fine where it is the one that would be started: of the same role, with
    the same reports folder.
    """
    if address == "off":
        return "off: no /healthz, /readyz and /metrics"
    taken = " without reusePort, or by another user" if shared else ""
    try:
        sockets = asyncio.run(bind_address(address, when_taken=taken, shared=shared))
    except errors.CannotStart as error:
        if not shared and _tixd_answers(address):
            return _owner_of(address, setting, environment, role, reports)
        detail = error.detail.removeprefix("HTTP address ")
        remedy = "end what has it, or correct" if "in use" in detail else "correct"
        raise errors.Unusable(f"{detail}: {remedy} {setting}") from None
    for sock in sockets:
        sock.close()
    if shared and _tixd_answers(address):
        return f"{address} is shared with a running tixd"
    return f"{address} is free"


def _owner_of(address: str, setting: str, environment: Environment, role: str, reports: str) -> str:
    """Say that the role that runs here has the address; raises Unusable where another one has."""
    port = address.rpartition(":")[2]
    has_it = "a tixd that does not answer this user"
    for found in _roles(environment):
        if any(one.endswith(f":{port}") for one in found.get("listens", "").split(", ")):
            has_it = f"the {found['role']} of {found['reports'] or 'this host'}, pid {found['pid']}"
            if (found["role"], found["reports"]) == (role, reports):
                return f"{address}: {has_it}, answers there"
    raise errors.Unusable(
        f"{address}: {has_it}, has it: name another in {setting}, or end that process"
    )


def check_control_socket(environment: Environment, role: str) -> str:
    """Try to make a control socket in the runtime folder."""
    try:
        with contextlib.ExitStack() as kept:
            for path in environment.runtime_folders:
                kept.enter_context(same_times(path))
            folder = control.try_socket(environment, role)
    except OSError as error:
        raise errors.Unusable(
            f"no control socket can be made: {error.strerror or error}: tixd status and tixd health"
            " need a folder of this user in RUNTIME_DIRECTORY or XDG_RUNTIME_DIR"
        ) from None
    return f"can be made in {folder}; {_running(environment, role)}"


def check_log_file(path: str, *, by_root: bool) -> str:
    """Try to write to it; by_root: root starts tixd, and hands it over where it is root's."""
    folder = os.path.dirname(os.path.abspath(path))
    if by_root and os.path.isdir(folder) and is_root_controlled(folder):
        return f"{path}: root {'hands it over' if os.path.exists(path) else 'makes it'}"
    return _try_file(path, "TIX_LOG_FILE or -l", "/var/log")


def check_history(path: str, setting: str) -> str:
    """Try to write to the history, which `setting` names, and to the log that SQLite needs."""
    _try_file(f"{path}-wal", setting, "/var/lib")
    return _try_file(path, setting, "/var/lib")


def _try_file(path: str, setting: str, place: str) -> str:
    """Say that a file can be written to or made; place: where a service has folders for it."""
    folder = os.path.dirname(os.path.abspath(path))
    if problem := why_no_folder(folder, setting):
        raise errors.Unusable(f"the folder {problem}")
    there = os.path.exists(path)
    if os.access(path if there else folder, os.W_OK, effective_ids=True):
        return f"{path}: can be {'written to' if there else 'made'} by {current_user()}"
    what = path if there else f"{path} is not there, and {folder}"
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise errors.Unusable(
            f"{what} is read-only here, for a service by its sandbox: name a file in {place}/tixd,"
            f" of an instance in {place}/tixd-NAME, with {setting}"
        )
    raise errors.Unusable(
        f"{what} cannot be written to by {current_user()}: give that user the right,"
        f" or name another file with {setting}"
    )


def _running(environment: Environment, role: str) -> str:
    for found in _roles(environment, role):
        return f"a {role} runs here, pid {found['pid']}"
    return f"no {role} runs here"


def _roles(environment: Environment, role: str = "") -> list[Any]:
    """Return the status of the roles that run here and answer."""
    with contextlib.suppress(errors.OperatorError):
        return control.ask_all(environment, role, "GET /status", ANSWER_SECONDS)
    return []


def _tixd_answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    there = host.strip("[]") or "localhost"
    connection = http.client.HTTPConnection(there, int(port), timeout=ANSWER_SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request("HEAD", "/healthz")
            return connection.getresponse().headers.get("Server") == "tixd"
        except (OSError, http.client.HTTPException):
            return False
