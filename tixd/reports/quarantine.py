"""The bad-reports folder of an installation: reports that cannot be used, until they expire.

When: spool.py (`_quarantine_or_skip`) moves what cannot be read or decoded; pool/failures.py
decides on reports over which three workers crashed. Each file has a `.reason` beside it; nothing
there is ever read as a report again.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
from itertools import count

from tixd import errors
from tixd.directory import TEMPORARY_SUFFIX, Folder

#: Folder, in the installation's own, that holds quarantined reports.
BAD_REPORTS = "bad-reports"

#: Ending of the file with the reason.
REASON_SUFFIX = ".reason"

#: Longest name of a report there, bytes: its reason must find room beside it while it is written.
MAX_NAME_BYTES = 255 - len(REASON_SUFFIX) - len(TEMPORARY_SUFFIX)

#: At most this many files are deleted in a job, so that it takes no longer than a window.
MAX_EXPIRED = 5000

#: Seconds of a day.
_DAY_SECONDS = 86_400.0


def quarantine(folder: Folder, name: str, reason: str) -> None:
    """Move the report `name` of `folder` to bad-reports and say there why.

    The reason is written first, so a file without one never appears; where it cannot be written,
    as on a full disk, the report is moved without it. Raises a VolumeError where the move fails.
    """
    with folder.subfolder(BAD_REPORTS, create=True) as bad:
        kept = _free_name(bad, name)
        with contextlib.suppress(errors.VolumeError):
            bad.write(kept + REASON_SUFFIX, reason.encode() + b"\n")
        folder.rename(name, kept, to=bad)


def _free_name(bad: Folder, name: str) -> str:
    """Return the name itself, or with the first number that makes it new; a long one is cut."""
    stem = name.removesuffix(".json")
    for number in count():
        ending = f"-{number}.json" if number else ".json"
        if not bad.exists(candidate := _cut(stem, MAX_NAME_BYTES - len(ending)) + ending):
            return candidate
    raise AssertionError


def _cut(stem: str, most_bytes: int) -> str:
    """Return the stem in at most this many bytes; a hash keeps stems that are cut different.

    >>> _cut("tix-report-7", 200), _cut("ä" * 20, 20)
    ('tix-report-7', 'äääää-31cb6628')
    """
    content = stem.encode()
    if len(content) <= most_bytes:
        return stem
    mark = "-" + hashlib.blake2b(content, digest_size=4).hexdigest()
    return content[: most_bytes - len(mark)].decode(errors="ignore") + mark


def expire(
    folder: Folder, *, keep_days: float, keep_files: int, now: float | None
) -> tuple[int, errors.VolumeError | None]:
    """Delete what is older than `keep_days` or beyond the newest `keep_files`.

    The age counts from the move (the file's change time), not from the measurement; now: by the
    volume's clock, None where that is unknown. At most MAX_EXPIRED go at a time. Returns how many
    were deleted, and why another one could not be.
    """
    oldest = float("-inf") if now is None else now - keep_days * _DAY_SECONDS
    deleted, failure = 0, None
    with folder.subfolder(BAD_REPORTS) as bad:
        for name in _expired(bad, keep_files, oldest):
            try:
                deleted += bad.unlink(name)
                bad.unlink(name + REASON_SUFFIX)
            except errors.VolumeError as error:
                failure = error
    return deleted, failure


def _expired(bad: Folder, keep_files: int, oldest: float) -> list[str]:
    """Return the names of reports to delete; at most keep_files that stay are in memory."""
    newest: list[tuple[float, str]] = []
    expired: list[str] = []
    for entry in bad.scan():
        if not entry.is_file or entry.name.endswith(REASON_SUFFIX):
            continue
        with contextlib.suppress(errors.VolumeError):  # its age is unknown: it stays
            heapq.heappush(newest, (bad.facts(entry.name).st_ctime, entry.name))
        while newest and (newest[0][0] < oldest or len(newest) > keep_files):
            expired.append(heapq.heappop(newest)[1])
        if len(expired) >= MAX_EXPIRED:
            break
    return expired
