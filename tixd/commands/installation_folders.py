"""How installations are as their folders say, where there is no history to ask.

Rules: nothing is locked, made or changed; what folders cannot tell is None.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from tixd import bounded, errors
from tixd.directory import Folder
from tixd.history.installations import InstallationState
from tixd.reports.quarantine import BAD_REPORTS, REASON_SUFFIX
from tixd.reports.scan import is_id
from tixd.reports.spool import is_report_name, named_second, newest_second
from tixd.results.failed_results import FailedResults
from tixd.results.journal import peek

#: Largest reason of a bad report that is read, bytes.
MAX_REASON_BYTES = 4096


def walked(base: str, user: int = 0, installation: int = 0) -> Iterator[InstallationState]:
    """Yield what the folders say, of all installations, of a user's or of one.

    Raises a VolumeError where the base cannot be listed.
    """
    with Folder(base, follow=True) as folder:
        for user_id in [user] if user else _ids(folder):
            try:
                with folder.subfolder(str(user_id)) as inner:
                    for number in [installation] if installation else _ids(inner):
                        if state := _looked_at(inner, user_id, number):
                            yield state
            except errors.NotFound:
                continue
            except errors.VolumeError as error:
                yield InstallationState(user_id, installation, trouble=error.detail)


def _ids(folder: Folder) -> list[int]:
    names = (entry.name for entry in folder.scan() if entry.is_folder)
    return sorted(int(name) for name in names if is_id(name))


def _looked_at(user: Folder, user_id: int, number: int) -> InstallationState | None:
    """Return what the folder of an installation says; None where it has just been removed."""
    try:
        with user.subfolder(str(number)) as folder:
            return look(folder, user_id, number)
    except errors.NotFound:
        return None
    except errors.VolumeError as error:
        return InstallationState(user_id, number, trouble=error.detail)


def look(folder: Folder, user: int, installation: int) -> InstallationState:
    """Return what an open folder says; raises a VolumeError."""
    names = [entry.name for entry in folder.scan() if entry.is_file and is_report_name(entry.name)]
    entry = peek(folder)
    with FailedResults(folder) as failed_results:
        failed_results.not_removed = set(entry.accepted)
        kept, _ = failed_results.counts()
        rejected = len(failed_results.rejected())
    bad = list(bad_reports(folder))
    last = bad[0] if bad else None
    return InstallationState(
        user,
        installation,
        reports=len(names),
        newest=newest_second(filter(None, map(named_second, names))),
        timestamp=entry.timestamp,
        kept=kept,
        next_try=int(entry.backoff.not_before),
        reason=entry.backoff.reason if kept else "",
        set_aside=len(bad),
        set_aside_at=int(last.at) if last else None,
        set_aside_reason=reason_of(folder, last.name) if last else None,
        rejected=rejected,
    )


class BadFile(NamedTuple):
    """A report in bad-reports, and when it was moved there (epoch seconds)."""

    name: str
    at: float


def bad_reports(folder: Folder) -> list[BadFile]:
    """List the bad reports of an open installation, those last that were moved there first."""
    found = []
    with contextlib.suppress(errors.NotFound), folder.subfolder(BAD_REPORTS) as bad:
        for entry in bad.scan():
            if entry.is_file and not entry.name.endswith(REASON_SUFFIX):
                with contextlib.suppress(errors.VolumeError):
                    found.append(BadFile(entry.name, bad.facts(entry.name).st_ctime))
    return sorted(found, key=lambda each: -each.at)


def reason_of(folder: Folder, name: str) -> str:
    """Return why a report lies in bad-reports, as written beside it; "" where nothing is."""
    with contextlib.suppress(errors.VolumeError), folder.subfolder(BAD_REPORTS) as bad:
        content, _ = bad.read(name + REASON_SUFFIX, MAX_REASON_BYTES)
        return bounded.printable(content.decode(errors="replace").partition("\n")[0])
    return ""


def installation_path(base: str, user: int, installation: int) -> str:
    """Return the folder of an installation."""
    return os.path.join(base, str(user), str(installation))
