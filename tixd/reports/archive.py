"""Reports as somebody kept them, read only: a folder, a tree of folders, or a .tar.gz archive.

In: a path. Out: the folders in it that hold reports, each taken as one installation at whatever
depth, with its reports in order and a sentence about each file that was left out.
Rules: nothing is locked, made or written, and nothing of an archive is unpacked: the names in it
are labels. Only regular files are read, whose names may be a report's, up to MAX_REPORT_BYTES; no
link is followed; hidden folders, bad-reports and failed-results are passed over.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tixd import errors
from tixd.folder import Folder
from tixd.reports.decode import decode
from tixd.reports.model import Report
from tixd.reports.spool import MAX_REPORT_BYTES, is_report_name, named_second

#: Folders of an installation that hold what is no report.
_NO_REPORTS = frozenset({"bad-reports", "failed-results"})
#: How many complaints about one folder are kept; what is more is only counted.
MAX_COMPLAINTS = 5
#: What reading a damaged archive may raise (ValueError: numbers and texts in its headers).
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, RecursionError)


@dataclass(slots=True)
class Found:
    """A folder with files named like reports; `path` is its label, fit to be shown."""

    path: str
    complaints: list[str] = field(default_factory=list)
    left_out: int = 0
    _by_name: dict[str, Report] = field(default_factory=dict)

    def add(self, name: str, content: bytes) -> None:
        """Take one more report; of equal names the last one counts, as in an archive."""
        try:
            self._by_name[name] = decode(name, content)
        except errors.BadReport as error:
            self.leave_out(error.detail)

    def leave_out(self, reason: str) -> None:
        """Count a file that is not used; `reason` names it."""
        self.left_out += 1
        if self.left_out <= MAX_COMPLAINTS:
            self.complaints.append(printable(reason))

    def reports(self) -> list[Report]:
        """The usable reports in the order of processor.md 2."""
        return sorted(self._by_name.values(), key=_place)


def printable(text: str) -> str:
    """`text` with whatever is not printable escaped, so that a name cannot drive a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def installations(path: str) -> Iterator[Found]:
    """Every folder in `path` that holds files named like reports, in the order of their names.

    Raises VolumeError where the folder `path` cannot be read. Raises BadArchive where a file is no
    .tar.gz or is damaged; what was found before the damage comes first.
    """
    return _in_tree(path) if os.path.isdir(path) else _in_archive(path)


def _place(report: Report) -> tuple[int, bytes]:
    """By the second in the name, or else of the first observation; then by the name's bytes."""
    second = named_second(report.name)
    return report.first if second is None else second, os.fsencode(report.name)


def _counting(name: str) -> tuple[int, str]:
    """Sorts 2 before 10, and words after numbers."""
    return (len(name) if name.isdecimal() else 2**31, name)


def _passed_over(folder: str) -> bool:
    return folder in _NO_REPORTS or (folder.startswith(".") and folder not in (".", ".."))


# --- folders -------------------------------------------------------------------------------------


def _in_tree(top: str) -> Iterator[Found]:
    waiting = [top]
    while waiting:
        path = waiting.pop()
        found = Found(printable(path))
        try:
            with Folder(path, follow=path == top) as folder:
                inner = _read_folder(folder, found)
        except errors.VolumeError as error:
            if path == top:
                raise
            found.leave_out(error.detail)
            inner = []
        if found.left_out or found.reports():
            yield found
        waiting += [os.path.join(path, name) for name in reversed(inner)]


def _read_folder(folder: Folder, found: Found) -> list[str]:
    """Take the folder's reports; returns the names of the folders in it, in order."""
    entries = sorted(folder.entries(), key=lambda entry: _counting(entry.name))
    for entry in entries:
        if entry.is_file and is_report_name(entry.name):
            _read_file(folder, entry.name, found)
    return [entry.name for entry in entries if entry.is_folder and not _passed_over(entry.name)]


def _read_file(folder: Folder, name: str, found: Found) -> None:
    try:
        content, facts = folder.read(name, MAX_REPORT_BYTES)
    except errors.VolumeError as error:
        found.leave_out(error.detail)
        return
    if facts.st_size > MAX_REPORT_BYTES:
        found.leave_out(_too_large(name, facts.st_size))
    else:
        found.add(name, content)


def _too_large(name: str, size_bytes: int) -> str:
    return f"{name}: {size_bytes} bytes are more than {MAX_REPORT_BYTES}"


# --- archives ------------------------------------------------------------------------------------


class _Sparing(gzip.GzipFile):
    """Refuses to read much at once: a header may claim gigabytes that compress to nothing."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= 2 * MAX_REPORT_BYTES:
            raise tarfile.ReadError("a header is too large")
        return super().read(size)


class _Streamed(tarfile.TarFile):
    """Can be made to forget the members it has passed, of which there may be millions."""

    members: list[tarfile.TarInfo]


def _in_archive(path: str) -> Iterator[Found]:
    """Members come in any order, so all reports are held, decoded, before the first is yielded."""
    by_folder: dict[tuple[str, ...], Found] = {}
    damage: Exception | None = None
    try:
        with _Sparing(path) as content, _Streamed.open(fileobj=content, mode="r:") as archive:
            for member in _members(archive):
                _read_member(archive, member, path, by_folder)
    except _DAMAGED as error:
        damage = error
    for folder in sorted(by_folder, key=lambda parts: [_counting(part) for part in parts]):
        yield by_folder[folder]
    if damage:
        raise errors.BadArchive(printable(f"{path}: {damage}")) from damage


def _members(archive: _Streamed) -> Iterator[tarfile.TarInfo]:
    """The regular files in the archive, one after the other; none is remembered."""
    end = -1
    while member := archive.next():
        if member.size < 0 or archive.offset <= end:
            raise tarfile.ReadError("a header leads backwards")
        end = archive.offset
        archive.members = []
        if member.isreg():
            yield member


def _read_member(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    path: str,
    by_folder: dict[tuple[str, ...], Found],
) -> None:
    """Take the member if it may be a report."""
    *folder, name = [part for part in member.name.split("/") if part not in ("", ".")] or [""]
    if not is_report_name(name) or any(map(_passed_over, folder)):
        return
    label = printable("/".join([path, *folder]))
    found = by_folder.setdefault(tuple(folder), Found(label))
    if member.size > MAX_REPORT_BYTES:
        found.leave_out(_too_large(name, member.size))
    elif content := archive.extractfile(member):
        found.add(name, content.read())
