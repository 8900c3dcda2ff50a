"""The reports folder: whether installations can be listed, read and written to.

In: the settings. Out: how much room is left, whether locks reach other hosts. Rules: no report is
read through or touched; a hidden file of ours is made in a few installations and removed at once.

The AS table: whether it can be used, and how old it is.

The schedule folder: whether it can be used, and who leads now.

In: the settings. Out: who leads. Rules: nothing is left there, because a folder or lock file that
somebody else made could be one that the service may not use; the lock is let go at once.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from datetime import UTC, datetime

from tixd import errors
from tixd.asn.table import Table
from tixd.config.settings import Settings
from tixd.diagnostics.host import allowed, make_and_remove, me
from tixd.directory import Folder
from tixd.dispatch.leader import LOCK_FILE, HostLock
from tixd.dispatch.mounts import lock_warning, read_mountinfo
from tixd.logs import RateLimiter
from tixd.reports.scan import ids_in, list_users
from tixd.reports.spool import is_report_name
from tixd.runtime.status import LEAST_FREE_BYTES, free_space

#: Users of whom one installation each is tried; the condenser makes all of them alike.
MOST_USERS = 10


def reports(settings: Settings) -> str:
    """Try it as a worker needs it."""
    base = settings.reports_base_path
    users = _users(base)
    tried = sum(_try_user(base, user_id) for user_id in users[:MOST_USERS])
    with allowed(base), Folder(base, follow=True) as folder:
        if not tried:
            make_and_remove(folder)
        free_bytes = folder.free_bytes()
    if free_bytes < LEAST_FREE_BYTES:
        raise errors.Unusable(f"{base}: {free_bytes:,} bytes free: free some")
    where = f"in {tried} of its installations" if tried else "in it; it has no installation yet"
    warning = lock_warning(base, read_mountinfo())
    return (
        f"{base}: a file made and removed {where}, as {me()};"
        f" {free_space(free_bytes)}; {warning or 'locks reach other hosts'}"
    )


def reports_of_dispatcher(settings: Settings) -> str:
    """Try it as a dispatcher needs it, which works without; see roles/dispatcher."""
    base = settings.reports_base_path
    try:
        if users := list_users(base, RateLimiter()):
            return f"{base}: users listed: {len(users)}, as {me()}"
        reason = f"{base}: nothing in it"
    except errors.VolumeError as error:
        reason = error.detail
    return f"{reason}, so tixd will ask its workers to look through their reports"


def _users(base: str) -> list[int]:
    try:
        with allowed(base):
            return list_users(base, RateLimiter())
    except errors.NotFound:
        raise errors.Unusable(
            f"{base} is not there: make it, mount it, or correct TIX_REPORTS_BASE_PATH"
        ) from None


def _try_user(base: str, user_id: int) -> bool:
    """Try one installation of a user; False where there is none, or it has gone meanwhile."""
    path = os.path.join(base, str(user_id))
    with contextlib.suppress(errors.NotFound):
        with allowed(path), Folder(path) as folder:
            ids = ids_in(folder, RateLimiter())
        if ids:
            _try_installation(os.path.join(path, str(ids[0])))
            return True
    return False


def _try_installation(path: str) -> None:
    with allowed(path), Folder(path) as folder:
        make_and_remove(folder)
        names = (e.name for e in folder.entries() if e.is_file and is_report_name(e.name))
        if name := next(names, ""):
            folder.read(name, 0)  # opens it, no more


def table(path: str) -> str:
    """Try it; raises BadTable."""
    with Table(path) as opened:
        facts = opened.facts
    built = datetime.fromtimestamp(facts.built, UTC).strftime("%Y-%m-%d")
    return f"{path}: {facts.kind} of {facts.nodes:,} nodes, built {built}"


def schedule(settings: Settings, *, by_root: bool = False) -> str:
    """Try it; by_root: tixd is started by root, and makes the folder before it is somebody else."""
    path = settings.schedule_dir
    if not os.path.lexists(path):
        return f"{path}: not there yet; root will make it" if by_root else _can_be_made(path)
    with allowed(path), Folder(path, follow=True) as folder:
        make_and_remove(folder)
        if not folder.exists(LOCK_FILE):
            return f"{path}: can be written to by {me()}; nobody has led there yet"
    return f"{path}: can be written to by {me()}; {_leader(path)}"


def _can_be_made(path: str) -> str:
    parent = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".tixd.check-", dir=parent))
    except OSError as error:
        raise errors.Unusable(
            f"{path} is not there, and {me()} cannot make it in {parent}: {error.strerror}:"
            " make it for that user, or name another in CELERY_BEAT_SCHEDULE_DIR"
        ) from None
    return f"{path}: not there yet; {me()} can make it"


def _leader(path: str) -> str:
    try:
        with HostLock(path) as lock:
            if lock.is_free():
                return "nobody leads now"
            return f"{lock.holder() or 'somebody'} leads now, another would stand by"
    except errors.CannotStart as error:
        file = os.path.join(path, LOCK_FILE)
        with allowed(file):
            raise errors.NotPermitted(f"{file}: {error.detail}") from None
