"""The ledger of a run: what must come out of it, where it is now, and what is missing.

Windows expected = those at the tix-api + those in failed-results + those that the reports still on
disk give, at every pause; and all of them at the tix-api in the end. Duplicates are counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.support.log_events import heard
from tests.support.made import lively
from tests.support.program import until
from tests.support.stand_in_api import StandInApi
from tixd import errors
from tixd.analysis.observations import SHORT
from tixd.directory import Folder
from tixd.reports.archive import installations
from tixd.reports.model import LOCK_FILE, Report
from tixd.reports.window import windows
from tixd.results.journal import Journal, peek
from tixd.results.journal_format import JournalEntry
from tixd.results.payload import parse_failed_report

#: user, installation, timestamp of the result
Key = tuple[int, int, int]


class Ledger:
    """Begun before the run: what lies under `base` then is what must reach `api`."""

    def __init__(self, base: Path, api: StandInApi) -> None:
        self._base, self._api = base, api
        self.expected = frozenset(on_disk(base)) | frozenset(kept(base))

    @property
    def duplicates(self) -> int:
        """How many posts the tix-api kept more than once."""
        posted = at_api(self._api)
        return len(posted) - len(set(posted))

    def balance(self) -> None:
        """Fail where a window is lost, or one has come up that was not due."""
        # In the order in which windows move on, so that one that does meanwhile is found twice.
        found = {*on_disk(self._base), *kept(self._base), *at_api(self._api)}
        assert (self.expected - found, found - self.expected) == (set(), set()), "lost, unexpected"

    def settled(self) -> None:
        """Fail where not everything is at the tix-api, or anything half-done lies about."""
        assert set(at_api(self._api)) == self.expected
        assert kept(self._base) == []
        assert temporary_files(self._base) == []


def at_api(api: StandInApi) -> list[Key]:
    """What the tix-api has taken, in the order in which it came."""
    return [(p.user, p.installation, p.body["timestamp"]) for p in api.accepted]


def kept(base: Path) -> list[Key]:
    """What waits in failed-results, each a valid file, those that were refused too.

    What is posted while this looks is not among it.
    """
    found = []
    for path in sorted(base.glob("*/*/failed-results/**/*.json")):
        user, installation = path.relative_to(base).parts[:2]
        with contextlib.suppress(FileNotFoundError):
            result = parse_failed_report(path.read_bytes())
            found.append((int(user), int(installation), result.summary.timestamp))
    return found


def on_disk(base: Path) -> Iterator[Key]:
    """What the reports that are left would give, but for those that a journal has given up."""
    for folder in base.glob("*/*"):
        user, installation = folder.parent.name, folder.name
        if user.isdecimal() and installation.isdecimal() and folder.is_dir():
            yield from ((int(user), int(installation), last) for last in timestamps(folder))


def timestamps(folder: Path) -> Iterator[int]:
    """The results' timestamps of the windows in an installation's folder, in order."""
    while True:
        given_up, names = _state(folder)
        own = [found for found in installations(str(folder)) if found.path == str(folder)]
        reports = [r for found in own for r in found.reports() if r.name not in given_up]
        if _state(folder) == (given_up, names):  # or a worker has given up some meanwhile
            break
    yield from (last for window in windows(reports) if (last := _last(window)) is not None)


def _state(folder: Path) -> tuple[set[str], list[str]]:
    """What the journal has given up, and then which reports are there."""
    return set(journal(folder).names), reports_left(folder)


def reports_left(folder: Path) -> list[str]:
    """The names of the report files in an installation's folder."""
    return sorted(path.name for path in folder.glob("[!.]*.json"))


def temporary_files(base: Path) -> list[str]:
    """Files that somebody has begun to write and not finished."""
    return sorted(str(path.relative_to(base)) for path in base.rglob("*.tmp"))


def set_back_pauses(base: Path) -> None:
    """Let every pause pass, as an operator can; a worker that has an installation ends first."""
    for path in base.glob(f"*/*/{LOCK_FILE}"):
        until(lambda folder=path.parent: _set_back(folder))
        lively(path.parent)


def journal(folder: Path) -> JournalEntry:
    """What the journal of an installation says; fails where it cannot be trusted."""
    with heard() as log, Folder(str(folder)) as opened:
        found = peek(opened)
    assert log.events == []
    return found


def _set_back(path: Path) -> bool:
    """Whether the installation is free, and its pause ended."""
    try:
        with Folder(str(path)) as folder, Journal(folder) as file:
            backoff = replace(file.entry.backoff, not_before=0.0)
            file.write_now(replace(file.entry, backoff=backoff))
    except errors.Locked:
        return False
    return True


def _last(window: tuple[Report, ...]) -> int | None:
    """Last second of a short packet in the window; None: there is none, and no result."""
    short = [r.observations[r.observations["kind"] == SHORT]["second"] for r in window]
    return max((int(seconds.max()) for seconds in short if len(seconds)), default=None)
