"""The reports folder: whether installations can be listed, read and written to.

In: the settings. Out: how much room is left, whether locks reach other hosts. Rules: no report is
read through or touched; a hidden file of ours is made in a few installations and removed at once.
"""

from __future__ import annotations

import contextlib
import os

from tixd import errors
from tixd.config.processing import Settings
from tixd.diagnostics.whose import allowed, make_and_remove, me
from tixd.directory import Folder
from tixd.dispatch.mounts import lock_warning, read_mountinfo
from tixd.logs import Hourly
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
        if users := list_users(base, Hourly()):
            return f"{base}: users listed: {len(users)}, as {me()}"
        reason = f"{base}: nothing in it"
    except errors.VolumeError as error:
        reason = error.detail
    return f"{reason}, so tixd will ask its workers to look through their reports"


def _users(base: str) -> list[int]:
    try:
        with allowed(base):
            return list_users(base, Hourly())
    except errors.Vanished:
        raise errors.Unusable(
            f"{base} is not there: make it, mount it, or correct TIX_REPORTS_BASE_PATH"
        ) from None


def _try_user(base: str, user_id: int) -> bool:
    """Try one installation of a user; False where there is none, or it has gone meanwhile."""
    path = os.path.join(base, str(user_id))
    with contextlib.suppress(errors.Vanished):
        with allowed(path), Folder(path) as folder:
            ids = ids_in(folder, Hourly())
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
