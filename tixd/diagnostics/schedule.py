"""The schedule folder: whether it can be used, and who leads now.

In: the settings. Out: who leads. Rules: nothing is left there, because a folder or lock file that
somebody else made could be one that the service may not use; the lock is let go at once.
"""

from __future__ import annotations

import os
import tempfile

from tixd import errors
from tixd.config.processing import Settings
from tixd.diagnostics.whose import allowed, make_and_remove, me
from tixd.directory import Folder
from tixd.dispatch.host_leader import LOCK_FILE, Leadership


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
        with Leadership(path) as leadership:
            if leadership.is_free():
                return "nobody leads now"
            return f"{leadership.leader() or 'somebody'} leads now, another would stand by"
    except errors.CannotStart as error:
        file = os.path.join(path, LOCK_FILE)
        with allowed(file):
            raise errors.NotPermitted(f"{file}: {error.detail}") from None
