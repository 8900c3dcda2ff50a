"""List users and installations, the two upper levels of the reports folder, and decide who is due.

Rules: only folders (no links) named by a positive decimal integer count; anything else is ignored,
with a warning an hour where it is not a plain file. An installation with kept results is always
due, whatever its time, so that they go out within a period of the tix-api's recovery.
"""

from __future__ import annotations

import contextlib
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from tixd import errors, logs
from tixd.directory import Folder, why_no_base
from tixd.jobs import ListInstallations
from tixd.reports.file_warnings import FileWarnings
from tixd.reports.model import LOCK_FILE

#: A user or installation id as it stands in a path: no sign, no leading zero, 63 bits.
_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)

#: Why a folder is ignored.
_NO_ID = "not a folder whose name is a number"

#: What an operator does where the folder is gone; it is probed again by roles/processing.py.
_COMES_BACK = "tried again every 5 s; mount or restore it, no restart needed"

#: Whether an installation, by its name in the folder of its user, has kept results.
HasKept = Callable[[Folder, str], bool]

#: At most this many users, and folders of each, are tried to read the volume's clock.
MAX_CLOCK_PROBES = 5


def list_users(base: str, limiter: logs.RateLimiter) -> list[int]:
    """List the ids of the users that have a folder under the base.

    Raises a VolumeError where the base cannot be listed; ReportsGone where it is not there, or was
    deleted under a mount of it.
    """
    try:
        opened = Folder(base, follow=True)
    except errors.NotFound:
        raise errors.ReportsGone(f"the reports folder {base} is gone; {_COMES_BACK}") from None
    except errors.UnexpectedFileType as error:
        raise errors.ReportsGone(why_no_base(base) or error.detail) from None
    with opened as folder:
        found = ids_in(folder, limiter)
        if not found and folder.was_deleted():
            raise errors.ReportsGone(
                f"the reports folder {base} was deleted, and tixd sees what is left of it, not what"
                " may be there now: restart tixd"
            )
        return found


def list_installations(
    job: ListInstallations,
    limiter: logs.RateLimiter,
    has_kept: HasKept = lambda _user, _installation: False,
) -> list[tuple[int, int]]:
    """List (user id, installation id) of the job's users, where the installation is due.

    has_kept: whether an installation, in the folder of its user, has kept results. A user whose
    folder cannot be listed is omitted, with an error in the log.
    """
    with Folder(job.base, follow=True) as folder:
        job = _on_the_volume(job, folder)
        return [
            (user_id, installation_id)
            for user_id in job.user_ids
            for installation_id in _installations_of(folder, user_id, job, limiter, has_kept)
        ]


def _installations_of(
    base: Folder,
    user_id: int,
    job: ListInstallations,
    limiter: logs.RateLimiter,
    has_kept: HasKept,
) -> list[int]:
    try:
        with base.subfolder(str(user_id)) as folder:
            ids = ids_in(folder, limiter)
            if job.slots == 1:
                return ids
            return [n for n in ids if _is_due(folder, user_id, n, job) or has_kept(folder, str(n))]
    except errors.NotFound:
        return []
    except errors.VolumeError as error:
        reason, now = str(error), time.time()
        limiter.log(logs.error, "user_skipped", str(user_id), now=now, user=user_id, reason=reason)
        return []


def is_installation_due(
    job: ListInstallations, user_id: int, installation_id: int, changed: float
) -> bool:
    """Return whether an installation whose folder changed at epoch second `changed` is due.

    Only the arguments decide, so that a restart and another host decide alike.
    """
    if job.slots == 1 or changed > job.changed_since:
        return True
    return zlib.crc32(b"%d/%d" % (user_id, installation_id)) % job.slots == job.slot


def _is_due(folder: Folder, user_id: int, number: int, job: ListInstallations) -> bool:
    """Return whether it is due; True where its time cannot be read: the job reports why."""
    try:
        return is_installation_due(job, user_id, number, folder.facts(str(number)).st_mtime)
    except errors.NotFound:
        return False
    except errors.VolumeError:
        return True


def _on_the_volume(job: ListInstallations, base: Folder) -> ListInstallations:
    """Return the job with its time, which is the host's, moved to the volume's clock.

    The clock is read from the lock file of an installation; where none is found soon, the two
    clocks are taken as equal.
    """
    for user_id in job.user_ids[:MAX_CLOCK_PROBES]:
        with contextlib.suppress(errors.VolumeError), base.subfolder(str(user_id)) as user:
            for entry in islice(user.scan(), MAX_CLOCK_PROBES):
                with contextlib.suppress(errors.VolumeError), user.subfolder(entry.name) as inside:
                    ahead = inside.touch(LOCK_FILE) - time.time()
                    return replace(job, changed_since=job.changed_since + ahead)
    return job


def free_bytes(base: str, limiter: logs.RateLimiter) -> int:
    """Return the bytes free on the base's volume; raises a VolumeError if it cannot be listed."""
    list_users(base, limiter)
    with Folder(base, follow=True) as folder:
        return folder.free_bytes()


def _is_of_the_volume(name: str) -> bool:
    """Return whether file systems and their servers make such folders, as .snapshot, @eaDir."""
    return name.startswith((".", "@")) or name == "lost+found"


def is_id(name: str) -> bool:
    """Return whether the name of a folder is the id of a user or an installation.

    >>> is_id("7"), is_id("0"), is_id("007"), is_id("9" * 200)
    (True, False, False, False)
    """
    return bool(_ID.fullmatch(name))


def ids_in(folder: Folder, limiter: logs.RateLimiter) -> list[int]:
    """List the ids that name folders in it, in ascending order."""
    ids = []
    warnings = FileWarnings(folder.path, {"folder": folder.path}, limiter, now=time.time())
    for entry in folder.scan():
        if entry.is_folder and is_id(entry.name):
            ids.append(int(entry.name))
        elif not entry.is_file and not _is_of_the_volume(entry.name):
            path = f"{folder.path}/{entry.name}"
            warnings.warn("folder_ignored", path, name=path, reason=_NO_ID)
    warnings.close()
    return sorted(ids)
