"""The reports of one installation during a job: list, order, read, quarantine.

Rules: only regular files whose names end in .json are ever opened; a bad report that is younger
than SETTLED_SECONDS may still be incomplete, so reading ends before it, for an hour at most; an
older one is quarantined, and the others are processed.

An error of one file is a warning, and the file is skipped like a bad one, but stays where it is. It
is an error of the file only if, after it, another report could be read from the volume and the file
failed once more; otherwise it is an error of the volume: it ends the job, and nothing is moved or
deleted. A file that is not found ends the job too, unless it is listed again: then its entry is
damaged, which is an error of the file. Cleaning up (expiry, leftovers, quarantine) never ends a
job.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from tixd import errors, logs
from tixd.config.settings import Settings
from tixd.directory import TEMPORARY_SUFFIX, Folder
from tixd.reports.ages import Ages
from tixd.reports.decode import MAX_SECOND, decode_many
from tixd.reports.file_warnings import FileWarnings
from tixd.reports.model import Installation, Report
from tixd.reports.quarantine import BAD_REPORTS, expire, quarantine

#: Largest report that is read; a real one has 8 kB.
MAX_REPORT_BYTES = 1024 * 1024

#: How many files are read and decoded at a time: a window and a half of an ordinary client.
BATCH_FILES = 32

#: A batch ends after the file with which it has more bytes than this.
BATCH_BYTES = 2 * 2**20

#: Reports that had to be read to be sorted stay decoded up to this size, bytes.
_DECODED_BYTES = 4 * 2**20

#: When a file cannot be read, at most this many others are tried, to see whether any can be.
_MAX_PROBED_FILES = 16

#: Longest time for these tries.
_PROBE_SECONDS = 10.0

_NAMED_SECOND = re.compile(r"tix-report-([0-9]{1,19})\.json", re.ASCII)

#: How the names of tixd's own files in an installation begin.
_OWN_PREFIX = ".tixd."

#: Folders of an installation that tixd makes.
_OWN_FOLDERS = frozenset({"failed-results", BAD_REPORTS})


def named_second(name: str) -> int | None:
    """Return the epoch second in `tix-report-<second>.json`; None for other names."""
    match = _NAMED_SECOND.fullmatch(name)
    return int(match[1]) if match else None


def newest_second(seconds: Iterable[int]) -> int | None:
    """Return the latest; a name may have any number, and one that no report can have is left out.

    >>> newest_second([1700000000, 1700000000000]), newest_second([])
    (1700000000, None)
    """
    return max((second for second in seconds if second <= MAX_SECOND), default=None)


def is_report_name(name: str) -> bool:
    """Return whether a file may be a report: its name is visible, printable, ends in .json."""
    return name.endswith(".json") and name.isprintable() and not name.startswith(".")


@contextlib.contextmanager
def opened(base: str, user_id: int, installation_id: int) -> Iterator[Folder]:
    """Open an installation's folder from the reports base, without following any link."""
    with (
        Folder(base, follow=True) as reports,
        reports.subfolder(str(user_id)) as user,
        user.subfolder(str(installation_id)) as folder,
    ):
        yield folder


class _File(NamedTuple):
    """A report as it was read; facts: None where an error hides them.

    known: what it is, decoded or an error, where its content is not needed for that.
    """

    content: bytes
    facts: os.stat_result | None
    known: Report | errors.VolumeError | None = None


class Spool:
    """The reports of one installation during one job.

    has_more: reading ended because the job's time limit was reached; newest: second of the latest
    report that was listed; bad_reason: why the last one was moved to bad-reports.
    """

    def __init__(
        self,
        folder: Folder,
        installation: Installation,
        settings: Settings,
        tally: Counter[str],
        *,
        now: float,
        limiter: logs.RateLimiter,
        ages: Ages,
        reading: Callable[[Sequence[str]], None],
        may_continue: Callable[[], bool] = lambda: True,
        batch_files: int = BATCH_FILES,
    ) -> None:
        """Make it; nothing is read yet.

        reading: called with the names of the files that are read next; may_continue: False ends the
        reading after a quarantine.
        """
        self._folder = folder
        self._installation = installation
        self._settings = settings
        self._tally = tally
        self._now = now
        self._limiter = limiter
        self._ages = ages
        self._reading = reading
        self._may_continue = may_continue
        self._batch_files = batch_files
        self._warnings = FileWarnings(installation.path, installation.labels, limiter, now=now)
        #: Every report that was listed, and those that are still to be read, in order.
        self._names: tuple[str, ...] = ()
        #: The second in the name of each, None where there is none.
        self._seconds: dict[str, int | None] = {}
        self._waiting: deque[str] = deque()
        #: Reports that have been read and not been excluded, in order.
        self._ahead: list[Report] = []
        #: Reports that were read only because their names do not contain their second.
        self._decoded: dict[str, Report] = {}
        self._excluded: set[str] = set()
        self._has_ended = False
        self.has_more = False
        self.newest: int | None = None
        self.bad_reason = ""

    def list_reports(self) -> None:
        """List and sort what is there now; reports that arrive later belong to a later job."""
        names, leftovers, has_bad = self._scan()
        self._sweep(leftovers)
        if has_bad:
            self._expire()
        self._names = tuple(names)
        self._waiting = deque(self._in_order(names))

    def reports(self) -> Iterator[Report]:
        """Yield the remaining reports, in order; files are read on demand."""
        at = 0
        while at < len(self._ahead) or self._read_batch():
            yield self._ahead[at]
            at += 1

    def exclude(self, names: Iterable[str]) -> None:
        """Exclude these reports: their result is safe, whether they are deleted or not."""
        self._excluded.update(names)
        self._ahead = [r for r in self._ahead if r.name not in self._excluded]

    def count_left(self) -> int:
        """Count the reports that were listed and have neither a result nor been moved."""
        return sum(name not in self._excluded for name in self._names)

    def quarantine(self, name: str, reason: str) -> None:
        """Move a report to bad-reports; where that fails it stays and is skipped."""
        try:
            if self._folder.exists(name):  # a worker may have been killed right after this move
                quarantine(self._folder, name, reason)
                self._tally["reports_bad"] += 1
                self._excluded.add(name)
                self.bad_reason = reason
                self._warn("report_quarantined", name, reason)
        except errors.NotFound:
            return
        except errors.VolumeError as error:
            self._warn("report_not_quarantined", name, f"{reason}; {error.detail}")

    @property
    def held_bytes(self) -> int:
        """Size of the observations that are read and not excluded."""
        return sum(r.observations.nbytes for r in (*self._ahead, *self._decoded.values()))

    def close(self) -> None:
        """Log what was only counted."""
        self._warnings.close()

    # --- listing ---------------------------------------------------------------------------------

    def _scan(self) -> tuple[list[str], list[str], bool]:
        """Names that may be reports; leftovers; whether there is bad-reports. Warns of others."""
        names, leftovers, has_bad = [], [], False
        for entry in self._folder.scan():
            if entry.is_file and is_report_name(entry.name):
                if entry.name not in self._excluded:
                    names.append(entry.name)
            elif entry.is_file and entry.name.startswith(_OWN_PREFIX):
                if entry.name.endswith(TEMPORARY_SUFFIX):
                    leftovers.append(entry.name)
            elif entry.name not in _OWN_FOLDERS:
                reason = "not a visible regular file whose name ends in .json"
                self._warn("file_ignored", entry.name, reason)
            else:
                has_bad = has_bad or (entry.is_folder and entry.name == BAD_REPORTS)
        return names, leftovers, has_bad

    def _in_order(self, names: Iterable[str]) -> list[str]:
        """Return the names by (epoch second of the first observation, bytes of the name)."""
        seconds = self._seconds = {name: named_second(name) for name in names}
        unknown = [name for name, second in seconds.items() if second is None]
        firsts = dict(self._first_seconds(unknown))
        if self._has_ended:
            return []
        keys = [
            (second if second is not None else firsts.get(name), name.encode(), name)
            for name, second in seconds.items()
        ]
        ordered = sorted(key for key in keys if key[0] is not None)
        self.newest = newest_second(filter(None, (second for second, _, _ in ordered)))
        return [name for _, _, name in ordered]

    def _first_seconds(self, names: Iterable[str]) -> Iterator[tuple[str, int]]:
        """Read the reports whose names do not contain their second, for their first one."""
        waiting, decoded_bytes = deque(names), 0
        while waiting and not self._must_end():
            for report in self._usable(waiting):
                decoded_bytes += report.observations.nbytes
                if decoded_bytes <= _DECODED_BYTES:
                    self._decoded[report.name] = report
                yield report.name, report.first

    # --- cleaning up -----------------------------------------------------------------------------

    def _sweep(self, names: Iterable[str]) -> None:
        """Remove temporary files of a killed worker."""
        for name in names:
            try:
                self._folder.unlink(name)
            except errors.VolumeError as error:
                self._warn("leftover_not_removed", name, error.detail)

    def _expire(self) -> None:
        """Delete bad reports that are too old or too many."""
        settings, failure = self._settings, None
        try:
            expired, failure = expire(
                self._folder,
                keep_days=settings.bad_reports_keep_days,
                keep_files=settings.bad_reports_keep_files,
                now=min(self._ages.moments(self._folder), default=None),
            )
            self._tally["bad_reports_expired"] += expired
        except errors.VolumeError as error:
            failure = error
        if failure:
            self._warn("bad_reports_not_deleted", BAD_REPORTS, failure.detail)

    # --- reading ---------------------------------------------------------------------------------

    def _read_batch(self) -> bool:
        """Read on until at least one more report is ahead; False when there are none."""
        before = len(self._ahead)
        while self._waiting and len(self._ahead) == before and not self._must_end():
            self._ahead.extend(self._usable(self._waiting))
        return len(self._ahead) > before

    def _must_end(self) -> bool:
        """Return whether reading ends: it has, or the job's time is over after a quarantine."""
        if not self._has_ended and self._tally["reports_bad"] and not self._may_continue():
            self._has_ended = self.has_more = True
        return self._has_ended

    def _usable(self, waiting: deque[str]) -> Iterator[Report]:
        """Return the good reports among the next files; ends before a bad one that is young."""
        files = self._read_files(waiting)
        contents = [(name, file.content) for name, file in files.items() if not file.known]
        decoded = iter(decode_many(contents))
        for name, file in files.items():
            report = file.known or next(decoded)
            if isinstance(report, Report):
                self._ages.is_finished(self._folder, name)
                self._check(report)
                yield report
            elif not self._quarantine_or_skip(name, file, report):
                self._has_ended = True
                return

    def _read_files(self, waiting: deque[str]) -> dict[str, _File]:
        """Take the next files off `waiting` and read them, as many as make a batch."""
        names = [waiting[i] for i in range(min(self._batch_files, len(waiting)))]
        self._reading([name for name in names if name not in self._decoded])
        read: dict[str, _File] = {}
        total_bytes = 0
        for name in names:
            if total_bytes > BATCH_BYTES:
                break
            known = self._decoded.pop(waiting.popleft(), None)
            read[name] = file = _File(b"", None, known) if known else self._read(name)
            total_bytes += len(file.content)
        return read

    def _read(self, name: str) -> _File:
        """Return the file; raises VolumeError where the volume fails or the file has vanished."""
        error = None
        for _ in range(2):
            try:
                return _File(*self._folder.read(name, MAX_REPORT_BYTES))
            except (errors.NoMemory, errors.NoDescriptors):
                raise
            except errors.VolumeError as found:
                is_new = error is None or isinstance(found, errors.NotFound)
                if is_new and not self._is_fault_of_file(name, found):
                    raise
                error = found
        return _File(b"", _facts(self._folder, name), error)

    def _is_fault_of_file(self, name: str, error: errors.VolumeError) -> bool:
        """Return whether the error is of this file, not of the volume, nor of a deleted file."""
        if isinstance(error, errors.NotFound) and name not in {e.name for e in self._folder.scan()}:
            return False
        of_files = (errors.NotPermitted, errors.UnexpectedFileType)
        return isinstance(error, of_files) or self._volume_answers(name)

    def _volume_answers(self, failed: str) -> bool:
        """Return whether another report can be read from the volume, or there is none."""
        tried, ends = 0, time.monotonic() + _PROBE_SECONDS
        for name in self._names:
            with contextlib.suppress(errors.NotFound):
                if name != failed and self._folder.answers(name):
                    return True
                tried += name != failed
            if tried == _MAX_PROBED_FILES or time.monotonic() > ends:
                break
        return not tried

    def _quarantine_or_skip(
        self, name: str, file: _File, fault: errors.BadReport | errors.VolumeError
    ) -> bool:
        """Quarantine a bad report, or warn why it stays; False where it is too young for both."""
        if not self._ages.is_settled(self._folder, name, file.facts):
            return self._is_given_up(name, fault.detail)
        self._ages.is_finished(self._folder, name)
        if isinstance(fault, errors.VolumeError):
            self._tally["reports_unreadable"] += 1
            denied = isinstance(fault, errors.NotPermitted)
            self._warn(
                "report_not_permitted" if denied else "report_unreadable", name, fault.detail
            )
            return True
        size_bytes = file.facts.st_size if file.facts else 0
        too_large = f"{name}: {size_bytes} bytes are more than {MAX_REPORT_BYTES}"
        self.quarantine(name, too_large if size_bytes > MAX_REPORT_BYTES else fault.detail)
        return True

    def _is_given_up(self, name: str, reason: str) -> bool:
        """Return whether a file that still changes has been waited for long enough."""
        if not self._ages.was_awaited(self._folder, name):
            labels = self._installation.labels
            logs.debug("report_unfinished", **labels, file=name, reason=reason)
            return False
        self._warn("report_unfinished", name, reason)
        return True

    # --- warnings --------------------------------------------------------------------------------

    def _check(self, report: Report) -> None:
        """Warn of ids or a name that contradict the content; the folder and the name count."""
        ids = (report.user_id, report.installation_id)
        if ids != (self._installation.user_id, self._installation.installation_id):
            self._warn_of_one("report_ids_differ", report.name, f"says user, installation {ids}")
        second = self._seconds[report.name]
        if second is not None and second != report.first:
            self._warn_of_one("report_name_differs", report.name, f"begins at {report.first}")

    def _warn_of_one(self, event: str, name: str, reason: str) -> None:
        self._limiter.log(
            logs.warning,
            event,
            self._installation.path,
            now=self._now,
            **self._installation.labels,
            file=name,
            reason=reason,
        )

    def _warn(self, event: str, name: str, reason: str) -> None:
        self._warnings.warn(event, name, file=name, reason=reason)


def _facts(folder: Folder, name: str) -> os.stat_result | None:
    with contextlib.suppress(errors.VolumeError):
        return folder.facts(name)
    return None
