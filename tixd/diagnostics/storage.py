"""Check folders and files: reports, schedule, AS table.

Rules: no report is read through or touched; what is made for a check is hidden and removed at once;
nothing is left in the schedule folder, because the service may not be able to use a folder or lock
file that another user made; its lock is released at once.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from datetime import UTC, datetime

from tixd import errors
from tixd.asn.table import Table
from tixd.config.settings import Settings
from tixd.diagnostics.host import current_user, explain_denial, make_and_remove, same_times
from tixd.directory import Folder, why_no_base, why_no_folder
from tixd.dispatch.leader import LOCK_FILE, SETTING, HostLock
from tixd.dispatch.mounts import lock_reach, read_mountinfo
from tixd.logs import RateLimiter
from tixd.reports.scan import ids_in, list_users
from tixd.reports.spool import is_report_name, named_second
from tixd.runtime.status import LEAST_FREE_BYTES, free_space

#: At most this many users are checked, one installation of each; the condenser makes all alike.
MAX_USERS = 10


def check_reports(settings: Settings) -> str:
    """Check the reports folder as a worker needs it."""
    base = settings.reports_base_path
    users = _users(base)
    with explain_denial(base), Folder(base, follow=True) as folder, same_times(folder.path):
        tried = sum(_try_user(base, user_id) for user_id in users[:MAX_USERS])
        if not tried:
            _check_depth(base, users)
            make_and_remove(folder)
        free_bytes = folder.free_bytes()
    if free_bytes < LEAST_FREE_BYTES:
        raise errors.Unusable(f"{base}: {free_bytes:,} bytes free: free some")
    where = f"in {tried} of its installations" if tried else "in it"
    found = f"a file made and removed {where}, as {current_user()}"
    parts = [found] if tried else [found, "no installation there yet"]
    return (
        f"{base}: {'; '.join([*parts, free_space(free_bytes), lock_reach(base, read_mountinfo())])}"
    )


def check_reports_of_dispatcher(settings: Settings) -> str:
    """Check the reports folder for a dispatcher, which works without; see roles/dispatcher."""
    base = settings.reports_base_path
    try:
        if users := list_users(base, RateLimiter()):
            _check_depth(base, users)
            return f"{base}: users listed: {len(users)}, as {current_user()}"
        reason = f"{base}: nothing in it"
    except errors.VolumeError as error:
        reason = error.detail
    return f"{reason}, so tixd will ask its workers to scan their reports"


def _users(base: str) -> list[int]:
    try:
        with explain_denial(base), Folder(base, follow=True) as folder, same_times(folder.path):
            return list_users(base, RateLimiter())
    except (errors.NotFound, errors.UnexpectedFileType) as error:
        raise errors.Unusable(why_no_base(base) or str(error)) from None


def _check_depth(base: str, users: list[int]) -> None:
    """Raise Unusable where reports lie in the base or in a user: the base is too deep."""
    above = os.path.dirname(os.path.abspath(base))
    parents = {base: os.path.dirname(above)}
    parents |= {os.path.join(base, str(user_id)): above for user_id in users[:MAX_USERS]}
    for path, parent in parents.items():
        if _has_reports(path):
            raise errors.Unusable(
                f"reports lie directly in {path}: TIX_REPORTS_BASE_PATH must be the folder that"
                f" holds <user>/<installation>, here probably {parent}"
            )


def _has_reports(path: str) -> bool:
    with (
        contextlib.suppress(errors.VolumeError),
        Folder(path, follow=True) as folder,
        same_times(path),
    ):
        names = (entry.name for entry in folder.scan() if entry.is_file)
        return any(named_second(name) is not None for name in names)
    return False


def _try_user(base: str, user_id: int) -> bool:
    """Check one installation of a user; False where there is none, or it vanished meanwhile."""
    path = os.path.join(base, str(user_id))
    with contextlib.suppress(errors.NotFound):
        with explain_denial(path), Folder(path) as folder, same_times(folder.path):
            ids = ids_in(folder, RateLimiter())
        if ids:
            _try_installation(os.path.join(path, str(ids[0])))
            return True
    return False


def _try_installation(path: str) -> None:
    with explain_denial(path), Folder(path) as folder, same_times(folder.path):
        make_and_remove(folder)
        names = (e.name for e in folder.entries() if e.is_file and is_report_name(e.name))
        if name := next(names, ""):
            folder.read(name, 0)  # opens it, no more


def check_table(path: str) -> str:
    """Check the AS table; raises BadTable."""
    with Table(path) as opened:
        facts = opened.facts
    built = datetime.fromtimestamp(facts.built, UTC).strftime("%Y-%m-%d")
    return f"{path}: {facts.kind} of {facts.nodes:,} nodes, built {built}"


def check_schedule(settings: Settings, *, by_root: bool = False) -> str:
    """Check the schedule folder; by_root: root starts tixd, and makes it while it is root."""
    path = settings.schedule_dir
    if not os.path.lexists(path):
        return f"{path}: not there yet; root will make it" if by_root else _can_be_made(path)
    if problem := why_no_folder(path, SETTING):
        raise errors.Unusable(problem)
    with explain_denial(path), Folder(path, follow=True) as folder:
        make_and_remove(folder)
        if not folder.exists(LOCK_FILE):
            return f"{path}: can be written to by {current_user()}; no process has led there yet"
    return f"{path}: can be written to by {current_user()}; {_leader(path)}"


def _can_be_made(path: str) -> str:
    parent = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    try:
        with same_times(parent):
            os.rmdir(tempfile.mkdtemp(prefix=".tixd.check-", dir=parent))
    except OSError as error:
        raise errors.Unusable(
            f"{path} is not there, and {current_user()} cannot make it in {parent}:"
            f" {error.strerror}: make it for that user, or name another in {SETTING}"
        ) from None
    return f"{path}: not there yet; {current_user()} can make it"


def _leader(path: str) -> str:
    try:
        with HostLock(path) as lock:
            if lock.is_free():
                return "no process leads now"
            return f"{lock.holder() or 'a process'} leads now, another would stand by"
    except errors.CannotStart as error:
        file = os.path.join(path, LOCK_FILE)
        cause = error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) else error.detail
        with explain_denial(file):
            raise errors.NotPermitted(f"{file}: {reason}") from None
