"""Which installations there are: the two upper levels of the reports folder.

In: the base, user ids. Out: ids, sorted. Rules: only folders (no links) named by a positive decimal
integer count; anything else is left alone, with a warning an hour where it is no plain file.
"""

from __future__ import annotations

import re
import time

from tixd import errors, logs
from tixd.dispatch.job import ListInstallations
from tixd.folder import Folder
from tixd.reports import ignored

#: A user or installation id as it stands in a path: no sign, no leading zero, 63 bits.
_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


def list_users(base: str, hourly: logs.Hourly) -> list[int]:
    """Ids of the users that have a folder under the base; raises a VolumeError if it has none."""
    with Folder(base, follow=True) as folder:
        found = ids_in(folder, hourly)
        if not found and folder.was_deleted():
            raise errors.Vanished(
                f"{base} was deleted, and tixd sees what is left of it, not what may be there now:"
                " restart tixd"
            )
        return found


def list_installations(job: ListInstallations, hourly: logs.Hourly) -> list[tuple[int, int]]:
    """(user id, installation id) that are worth a job; a user that cannot be listed is left out."""
    with Folder(job.base, follow=True) as folder:
        return [
            (user_id, installation_id)
            for user_id in job.user_ids
            for installation_id in _installations_of(folder, user_id, job, hourly)
        ]


def _installations_of(
    base: Folder, user_id: int, job: ListInstallations, hourly: logs.Hourly
) -> list[int]:
    try:
        with base.subfolder(str(user_id)) as folder:
            ids = ids_in(folder, hourly)
            if job.slots == 1:
                return ids
            return [i for i in ids if job.wants(user_id, i, folder.facts(str(i)).st_mtime)]
    except errors.Vanished:
        return []
    except errors.VolumeError as error:
        if hourly.due("user_skipped", str(user_id), now=time.time()):
            logs.error("user_skipped", user=user_id, reason=str(error))
        return []


def free_bytes(base: str, hourly: logs.Hourly) -> int:
    """Bytes free for tixd on the base's volume; raises a VolumeError if it cannot be listed."""
    list_users(base, hourly)
    with Folder(base, follow=True) as folder:
        return folder.free_bytes()


def ids_in(folder: Folder, hourly: logs.Hourly) -> list[int]:
    """The ids that name folders in it, in ascending order."""
    ids, others = [], []
    for entry in folder.entries():
        if entry.is_folder and _ID.fullmatch(entry.name):
            ids.append(int(entry.name))
        elif not entry.is_file:
            others.append(f"{folder.path}/{entry.name}")
    where = {"folder": folder.path}
    ignored.tell(others, _warn_of, folder.path, where, hourly, now=time.time())
    return sorted(ids)


def _warn_of(path: str) -> None:
    logs.warning("folder_ignored", name=path, reason="no id")
