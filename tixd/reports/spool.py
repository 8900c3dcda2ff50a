"""The reports folder of one installation: list, order, read, set aside, delete.

In: an open folder. Out: Reports in order, as many as are asked for. Rules: only regular files whose
names end in .json are ever opened; a bad report that is younger than SETTLED_SECONDS may still be
being written, so reading ends before it; an older one is set aside and its neighbours go on.
`reports/` is the only package that lists, reads, moves or deletes reports.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from tixd import errors, logs
from tixd.folder import TEMPORARY_SUFFIX, Entry, Folder
from tixd.reports import ignored
from tixd.reports.aside import BAD_REPORTS, expire, set_aside
from tixd.reports.decode import decode_many
from tixd.reports.model import Installation, Report
from tixd.settings import Settings

#: Largest report that is read; a real one has 8 kB.
MAX_REPORT_BYTES = 1024 * 1024

#: How long a report that cannot be used may still be on its way (the condenser writes in place).
SETTLED_SECONDS = 60.0

#: How many files are read and decoded at a time: a window and a half of an ordinary client.
BATCH_FILES = 32

#: How many reports that had to be opened to be sorted are kept decoded.
_KEPT_REPORTS = 256

_NAMED_SECOND = re.compile(r"tix-report-([0-9]{1,19})\.json", re.ASCII)

#: Folders of an installation that tixd makes; its own files are called .tixd.…
_OWN_PREFIX = ".tixd."
_OWN_FOLDERS = frozenset({"failed-results", BAD_REPORTS})


def named_second(name: str) -> int | None:
    """The epoch second in `tix-report-<second>.json`; None for other names."""
    match = _NAMED_SECOND.fullmatch(name)
    return int(match[1]) if match else None


def is_report_name(name: str) -> bool:
    """Whether a file of this name may be a report: visible, printable UTF-8, ending in .json."""
    return name.endswith(".json") and name.isprintable() and not name.startswith(".")


@contextlib.contextmanager
def opened(installation: Installation, settings: Settings) -> Iterator[Folder]:
    """The installation's folder, reached from the reports base without following any link."""
    with (
        Folder(settings.reports_base_path, follow=True) as base,
        base.subfolder(str(installation.user_id)) as user,
        user.subfolder(str(installation.installation_id)) as folder,
    ):
        yield folder


class Spool:
    """The reports of one installation during one job."""

    def __init__(
        self,
        folder: Folder,
        installation: Installation,
        settings: Settings,
        tally: Counter[str],
        *,
        now: float,
        hourly: logs.Hourly,
        reading: Callable[[Sequence[str]], None],
        batch_files: int = BATCH_FILES,
    ) -> None:
        self._folder = folder
        self._installation = installation
        self._tally = tally
        self._now = now
        self._hourly = hourly
        self._reading = reading
        self._batch_files = batch_files
        self._ahead: list[Report] = []
        self._left_out: set[str] = set()
        self._opened: dict[str, Report] = {}
        self._ended = False
        self._warned: set[str] = set()
        self._settings = settings
        self._waiting: deque[str] = deque()

    def take_stock(self) -> None:
        """List and sort what is there now; reports that arrive later belong to a later job."""
        entries = [e for e in self._folder.entries() if e.name not in self._left_out]
        self._sweep(entries)
        self._expire(entries)
        self._waiting = deque(self._in_order(self._report_names(entries)))

    def reports(self) -> Iterator[Report]:
        """The reports that are left, in order; files are read as they are asked for."""
        at = 0
        while at < len(self._ahead) or self._read_batch():
            yield self._ahead[at]
            at += 1

    def leave_out(self, names: Iterable[str]) -> None:
        """Read these reports no more: their result is safe, deleted or not."""
        self._left_out.update(names)
        self._ahead = [r for r in self._ahead if r.name not in self._left_out]

    def set_aside(self, name: str, reason: str) -> None:
        """Move a report to bad-reports; where that cannot be done it is left and passed over."""
        if not self._folder.exists(name):  # whoever had this job before was killed after it
            return
        try:
            set_aside(self._folder, name, reason)
        except (errors.DiskFull, errors.NotPermitted, errors.WrongKind) as error:
            self._warn_hourly("report_not_set_aside", name, f"{reason}; {error.detail}")
            return
        self._tally["reports_bad"] += 1
        logs.warning("report_set_aside", **self._installation.labels, file=name, reason=reason)

    # --- listing ---------------------------------------------------------------------------------

    def _report_names(self, entries: Sequence[Entry]) -> list[str]:
        """Names that may be reports; others are told of."""
        names = [e.name for e in entries if e.is_file and is_report_name(e.name)]
        others = {e.name for e in entries} - {*names, *_OWN_FOLDERS}
        odd = (name for name in sorted(others) if not name.startswith(_OWN_PREFIX))
        place, labels = self._installation.path, self._installation.labels
        ignored.tell(odd, self._warn_of, place, labels, self._hourly, now=self._now)
        return names

    def _in_order(self, names: Iterable[str]) -> list[str]:
        """The names by (epoch second of the first observation, bytes of the name)."""
        seconds = {name: named_second(name) for name in names}
        unknown = [name for name, second in seconds.items() if second is None]
        firsts = dict(self._first_seconds(unknown))
        if self._ended:
            return []
        keys = [
            (second if second is not None else firsts.get(name), name.encode(), name)
            for name, second in seconds.items()
        ]
        return [name for second, _, name in sorted(k for k in keys if k[0] is not None)]

    def _first_seconds(self, names: Sequence[str]) -> Iterator[tuple[str, int]]:
        """Open the reports whose names do not tell their place, and ask them."""
        for start in range(0, len(names), self._batch_files):
            if self._ended:
                return
            for report in self._usable(names[start : start + self._batch_files]):
                if len(self._opened) < _KEPT_REPORTS:
                    self._opened[report.name] = report
                yield report.name, report.first

    def _sweep(self, entries: Iterable[Entry]) -> None:
        """Remove what a killed worker had begun to write here; nobody is writing it now."""
        for entry in entries:
            if entry.name.startswith(_OWN_PREFIX) and entry.name.endswith(TEMPORARY_SUFFIX):
                try:
                    self._folder.unlink(entry.name)
                except errors.VolumeError as error:
                    self._warn_hourly("leftover_not_removed", entry.name, str(error))

    def _expire(self, entries: Iterable[Entry]) -> None:
        """Let bad reports go whose time has come."""
        if any(e.name == BAD_REPORTS and e.is_folder for e in entries):
            self._tally["bad_reports_expired"] += expire(
                self._folder,
                keep_days=self._settings.bad_reports_keep_days,
                keep_files=self._settings.bad_reports_keep_files,
                now=self._now,
            )

    # --- reading ---------------------------------------------------------------------------------

    def _read_batch(self) -> bool:
        """Read on until at least one more report is ahead; False when there are none."""
        before = len(self._ahead)
        while self._waiting and not self._ended and len(self._ahead) == before:
            many = min(self._batch_files, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(many)]
            self._ahead.extend(self._usable(batch))
        return len(self._ahead) > before

    def _usable(self, names: Sequence[str]) -> Iterator[Report]:
        """The good reports among the files; ends before a bad one that is young."""
        known = {name: self._opened.pop(name) for name in names if name in self._opened}
        self._reading([name for name in names if name not in known])
        files, changed = [], {}
        for name in names:
            found = None if name in known else self._read(name)
            if found:
                files.append((name, found[0]))
                changed[name] = found[1]
        decoded = dict(zip((n for n, _ in files), decode_many(files), strict=True)) | known
        for name in names:
            report = decoded.get(name)
            if isinstance(report, Report):
                self._check(report)
                yield report
            elif report and not self._dispose(name, report, changed[name]):
                self._ended = True
                return

    def _read(self, name: str) -> tuple[bytes, float] | None:
        """Content of the file and when it last changed; None where it must be left alone."""
        try:
            content, facts = self._folder.read(name, MAX_REPORT_BYTES)
        except errors.NotPermitted as error:
            self._warn_hourly("report_not_permitted", name, error.detail)
            return None
        return content, facts.st_mtime

    def _dispose(self, name: str, bad: errors.BadReport, changed: float) -> bool:
        """Set a bad report aside, or return False where it may still be being written."""
        if abs(self._now - changed) < SETTLED_SECONDS:
            logs.debug(
                "report_unfinished", **self._installation.labels, file=name, reason=bad.detail
            )
            return False
        size_bytes = self._folder.facts(name).st_size
        too_large = f"{name}: {size_bytes} bytes are more than {MAX_REPORT_BYTES}"
        self.set_aside(name, too_large if size_bytes > MAX_REPORT_BYTES else bad.detail)
        return True

    # --- saying ----------------------------------------------------------------------------------

    def _check(self, report: Report) -> None:
        """Warn, once a job, of ids or a name that contradict the content; folder and name win."""
        ids = (report.user_id, report.installation_id)
        if ids != (self._installation.user_id, self._installation.installation_id):
            self._warn_once("report_ids_differ", report.name, f"says user, installation {ids}")
        second = named_second(report.name)
        if second is not None and second != report.first:
            self._warn_once("report_name_differs", report.name, f"begins at {report.first}")

    def _warn_of(self, name: str) -> None:
        reason = "not a visible regular file whose name ends in .json"
        logs.warning("file_ignored", **self._installation.labels, file=name, reason=reason)

    def _warn_once(self, event: str, name: str, reason: str) -> None:
        if event not in self._warned:
            self._warned.add(event)
            logs.warning(event, **self._installation.labels, file=name, reason=reason)

    def _warn_hourly(self, event: str, name: str, reason: str) -> None:
        if self._hourly.due(event, self._installation.path, name, now=self._now):
            logs.warning(event, **self._installation.labels, file=name, reason=reason)
