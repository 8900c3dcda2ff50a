"""How installations are: read from the history, or from the reports folder where there is none.

Rules: nothing is locked, made or changed; what one source cannot tell is None.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tixd import bounded, errors
from tixd.directory import Folder
from tixd.reports.quarantine import BAD_REPORTS, REASON_SUFFIX
from tixd.reports.spool import is_report_name, named_second
from tixd.results.failed_results import FailedResults
from tixd.results.journal import peek

#: Largest reason of a bad report that is read, bytes.
MAX_REASON_BYTES = 4096

#: At most this many bad reports of an installation are named.
MAX_BAD_NAMED = 5


class InstallationState(NamedTuple):
    """An installation; times are epoch seconds, and None where they are not known.

    seen_at: its last job; reports: how many wait; newest: the latest report; result_at, timestamp:
    when the last result was made, and the end of its window; posted_at: the last post; outcome,
    words: what became of that result, and why; kept: results that wait until next_try (0: the next
    visit) because of `reason`; rejected: results that the tix-api refused for good; set_aside: how
    many reports were set aside, with when and why the last one was; trouble: why the last job could
    do nothing.
    """

    user: int
    installation: int
    seen_at: int | None = None
    reports: int | None = None
    newest: int | None = None
    result_at: int | None = None
    timestamp: int | None = None
    posted_at: int | None = None
    outcome: str | None = None
    words: str | None = None
    kept: int | None = None
    next_try: int | None = None
    reason: str | None = None
    set_aside: int = 0
    set_aside_at: int | None = None
    set_aside_reason: str | None = None
    trouble: str | None = None
    rejected: int | None = None


#: What the history knows of them.
_KNOWN = [name for name in InstallationState._fields if name != "rejected"]


def recorded(
    history: sqlite3.Connection, user: int = 0, installation: int = 0
) -> list[InstallationState]:
    """Return what the history knows, of all, of a user or of one installation, in their order."""
    where = [f"{name} = {number:d}" for name, number in _named(user, installation)]
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    found = history.execute(
        f"SELECT {', '.join(_KNOWN)} FROM installations {condition} ORDER BY user, installation"
    )
    found.row_factory = None
    return [InstallationState(*row) for row in found.fetchall()]


def _named(user: int, installation: int) -> Iterator[tuple[str, int]]:
    if user:
        yield "user", user
    if installation:
        yield "installation", installation


def events(history: sqlite3.Connection, user: int, installation: int, most: int) -> list[Any]:
    """Return the last results of one installation, the newest first: rows of the view `results`."""
    return history.execute(
        "WITH RECURSIVE hours (hour) AS (SELECT max(hour) FROM result_rows UNION ALL"
        " SELECT hour - 1 FROM hours WHERE hour > (SELECT min(hour) FROM result_rows))"
        " SELECT results.* FROM hours CROSS JOIN results"
        " ON results.hour = hours.hour AND user = ? AND installation = ?"
        " ORDER BY hours.hour DESC, timestamp DESC LIMIT ?",
        [user, installation, most],
    ).fetchall()


def facts(history: sqlite3.Connection) -> Mapping[str, str]:
    """Return what the tixd that writes the history has noted of itself."""
    return dict(history.execute("SELECT name, value FROM facts").fetchall())


# --- the reports folder --------------------------------------------------------------------------


def walked(base: str, user: int = 0, installation: int = 0) -> Iterator[InstallationState]:
    """Yield what the folders say, of all installations, of a user's or of one.

    Raises a VolumeError where the base cannot be listed.
    """
    with Folder(base, follow=True) as folder:
        for user_id in [user] if user else _ids(folder):
            try:
                with folder.subfolder(str(user_id)) as inner:
                    for number in [installation] if installation else _ids(inner):
                        yield _looked_at(inner, user_id, number)
            except errors.NotFound:
                continue
            except errors.VolumeError as error:
                yield InstallationState(user_id, installation, trouble=error.detail)


def _ids(folder: Folder) -> list[int]:
    names = (entry.name for entry in folder.scan() if entry.is_folder)
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def _looked_at(user: Folder, user_id: int, number: int) -> InstallationState:
    try:
        with user.subfolder(str(number)) as folder:
            return look(folder, user_id, number)
    except errors.NotFound:
        raise
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
        newest=max((second for name in names if (second := named_second(name))), default=None),
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


def path_of(base: str, user: int, installation: int) -> str:
    """Return the folder of an installation."""
    return os.path.join(base, str(user), str(installation))
