"""The bad-reports folder of one installation: what cannot be used is kept there for a while.

In: an open installation folder and the name of a bad report. Out: the file in `bad-reports/` with
a `.reason` beside it. Rules: operations.md §5.3; nothing there is ever read as a report again.
"""

from __future__ import annotations

import contextlib
from itertools import count

from tixd import errors
from tixd.folder import Folder

#: Folder, in the installation's own, that holds what was set aside.
BAD_REPORTS = "bad-reports"

#: Ending of the file that says why.
REASON_SUFFIX = ".reason"

#: Seconds of a day.
_DAY_SECONDS = 86_400.0


def set_aside(folder: Folder, name: str, reason: str) -> None:
    """Move the report `name` of `folder` to bad-reports and say there why.

    The reason is written first, so a file without one never appears; on a full disk the move goes
    on without it.
    """
    with folder.subfolder(BAD_REPORTS, create=True) as bad:
        kept = _free_name(bad, name)
        with contextlib.suppress(errors.DiskFull):
            bad.write(kept + REASON_SUFFIX, reason.encode() + b"\n")
        folder.rename(name, kept, to=bad)


def _free_name(bad: Folder, name: str) -> str:
    """The name itself, or with the first number that makes it new."""
    stem = name.removesuffix(".json")
    numbered = (f"{stem}-{number}.json" for number in count(1))
    candidate = name
    while bad.exists(candidate):
        candidate = next(numbered)
    return candidate


def expire(folder: Folder, *, keep_days: float, keep_files: int, now: float) -> int:
    """Delete what is older than `keep_days` or beyond the newest `keep_files`; returns how many.

    The age counts from the move (the file's change time), not from the measurement.
    """
    with folder.subfolder(BAD_REPORTS) as bad:
        names = [e.name for e in bad.entries() if e.is_file]
        kept = [n for n in names if not n.endswith(REASON_SUFFIX)]
        newest = sorted(((bad.facts(n).st_ctime, n) for n in kept), reverse=True)
        oldest_second = now - keep_days * _DAY_SECONDS
        expired = [n for i, (t, n) in enumerate(newest) if i >= keep_files or t < oldest_second]
        for name in expired:
            bad.unlink(name)
            bad.unlink(name + REASON_SUFFIX)
    return len(expired)
