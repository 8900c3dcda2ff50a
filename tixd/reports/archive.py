"""Reports in a folder, a tree of folders or a .tar.gz archive, read only.

Each folder that holds reports counts as one installation, at any depth; archives in a tree are read
as well. Rules: nothing is locked, created or written, and nothing of an archive is unpacked: the
names in it are labels. Only regular files are read, whose names may be a report's, or that state
the truth of an experiment, up to MAX_REPORT_BYTES; no link is followed; hidden folders, bad-reports
and failed-results are skipped.
"""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tixd import bounded, errors
from tixd.directory import Entry, Folder
from tixd.reports.decode import decode
from tixd.reports.model import Report
from tixd.reports.spool import MAX_REPORT_BYTES, is_report_name, named_second

#: Folders of an installation that hold no reports.
_NO_REPORTS = frozenset({"bad-reports", "failed-results"})

#: What states the truth of the experiment whose folder it lies in.
DESCRIPTION = "description.yml"

#: How the names of archives end that are looked for in a tree.
ARCHIVES = (".tar.gz", ".tgz")

#: What other files begin with, at which byte, what they are called, and what unpacks them.
_OTHER_KINDS = (
    (0, b"PK", "a zip archive", "unzip -d DIR"),
    (0, b"\xfd7zXZ\0", "an xz archive", "tar -C DIR -xf"),
    (0, b"BZh", "a bzip2 archive", "tar -C DIR -xf"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", "tar -C DIR -xf"),
    (0, b"7z\xbc\xaf", "a 7z archive", "7z x -oDIR"),
    (257, b"ustar", "a tar archive without gzip", "tar -C DIR -xf"),
)

#: Complaints about one folder that are listed; more are only counted.
MAX_COMPLAINTS = 5

#: Most bytes of the headers of one member of an archive: a name of MAX_NAME_BYTES, and more.
MAX_HEADER_BYTES = 64 * 1024

#: Longest name of a member, as files have it (PATH_MAX).
MAX_NAME_BYTES = 4096

#: Most bytes of an archive's reports, which are in memory together: a quarter of a million reports.
MAX_HELD_BYTES = 1 << 30

#: Memory of a report or a folder beside its content, bytes.
_HELD_BESIDES_BYTES = 1000

#: What reading a damaged archive may raise (ValueError: numbers and texts in its headers).
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, RecursionError)


@dataclass(slots=True)
class Found:
    """A folder with files named like reports, or an archive in a tree that is damaged.

    path, top: labels, fit to be shown, of the folder, and of the tree or archive that it lies in;
    description: what the nearest description.yml above it holds; None without one.
    """

    path: str
    top: str = ""
    description: bytes | None = None
    damaged: bool = False
    complaints: list[str] = field(default_factory=list)
    left_out: int = 0
    _by_name: dict[str, Report] = field(default_factory=dict)

    def add(self, name: str, content: bytes) -> None:
        """Decode and add a report; of equal names the last one counts, as in an archive."""
        try:
            self._by_name[name] = decode(name, content)
        except errors.BadReport as error:
            self.exclude(error.detail)

    def exclude(self, reason: str) -> None:
        """Count a file that is not used; `reason` names the file."""
        self.left_out += 1
        if self.left_out <= MAX_COMPLAINTS:
            self.complaints.append(bounded.printable(reason))

    def reports(self) -> list[Report]:
        """Return the usable reports, by the second in the name, else of the first observation."""
        return sorted(self._by_name.values(), key=_place)


def installations(path: str) -> Iterator[Found]:
    """Find every folder in `path` that holds files named like reports, in the order of their names.

    Raises VolumeError where the folder `path` cannot be read. Raises BadArchive where the file
    `path` is not a .tar.gz, or is damaged; what was found before the damage comes first.
    """
    return _in_tree(path) if os.path.isdir(path) else _in_archive(path)


def _place(report: Report) -> tuple[int, bytes]:
    """By the second in the name, or else of the first observation; then by the name's bytes."""
    second = named_second(report.name)
    return report.first if second is None else second, os.fsencode(report.name)


def _counting(name: str) -> tuple[int, str]:
    """Sorts 2 before 10, and words after numbers."""
    return (len(name) if name.isdecimal() else 2**31, name)


def _is_skipped(folder: str) -> bool:
    return folder in _NO_REPORTS or (folder.startswith(".") and folder not in (".", ".."))


# --- folders -------------------------------------------------------------------------------------


def _in_tree(top: str) -> Iterator[Found]:
    waiting: list[tuple[str, bytes | None]] = [(top, None)]
    while waiting:
        path, description = waiting.pop()
        if path.endswith(ARCHIVES) and not os.path.isdir(path):
            yield from _archive_of_tree(path, description)
            continue
        found = Found(bounded.printable(path), bounded.printable(top), description)
        try:
            with Folder(path, follow=path == top) as folder:
                inner = _read_folder(folder, found)
        except errors.VolumeError as error:
            if path == top:
                raise
            found.exclude(error.detail)
            inner = []
        if found.left_out or found.reports():
            yield found
        waiting += [(os.path.join(path, name), found.description) for name in reversed(inner)]


def _archive_of_tree(path: str, description: bytes | None) -> Iterator[Found]:
    """Find what an archive holds; damage is a complaint, so that the others are read."""
    try:
        for found in _in_archive(path):
            found.description = found.description or description
            yield found
    except errors.BadArchive as error:
        damaged = Found(bounded.printable(path), damaged=True)
        damaged.exclude(str(error).removeprefix(f"{damaged.path}: "))
        yield damaged


def _read_folder(folder: Folder, found: Found) -> list[str]:
    """Add the folder's reports; returns the names of folders and archives in it, in order."""
    entries = sorted(folder.entries(), key=lambda entry: _counting(entry.name))
    inner = []
    for entry in entries:
        if entry.is_file and entry.name == DESCRIPTION:
            found.description = _content(folder, entry.name, found)
        elif entry.is_file and is_report_name(entry.name):
            _read_file(folder, entry.name, found)
        elif _leads_on(entry):
            inner.append(entry.name)
    return inner


def _leads_on(entry: Entry) -> bool:
    """Return whether reports may lie in it."""
    if entry.is_folder:
        return not _is_skipped(entry.name)
    return entry.is_file and entry.name.endswith(ARCHIVES)


def _read_file(folder: Folder, name: str, found: Found) -> None:
    content = _content(folder, name, found)
    if content is not None:
        found.add(name, content)


def _content(folder: Folder, name: str, found: Found) -> bytes | None:
    """Return what a file holds; None, with a complaint, where it cannot be read or is too large."""
    try:
        content, facts = folder.read(name, MAX_REPORT_BYTES)
    except errors.VolumeError as error:
        found.exclude(error.detail)
        return None
    if facts.st_size > MAX_REPORT_BYTES:
        found.exclude(_too_large(name, facts.st_size))
        return None
    return content


def _too_large(name: str, size_bytes: int) -> str:
    return f"{name}: {size_bytes} bytes are more than {MAX_REPORT_BYTES}"


# --- archives ------------------------------------------------------------------------------------


class _Gzip(gzip.GzipFile):
    """Reads no more than is allowed: headers may claim gigabytes that compress to nothing."""

    allowed_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= self.allowed_bytes:
            raise tarfile.ReadError("a header is too large")
        self.allowed_bytes -= size
        return super().read(size)


class _Tar(tarfile.TarFile):
    """Has its members set to nothing after each: there may be millions."""

    members: list[tarfile.TarInfo]


def _in_archive(path: str) -> Iterator[Found]:
    """Decode all reports, as members come in any order, before the first folder is yielded."""
    _refuse_other_kinds(path)
    by_folder: dict[tuple[str, ...], Found] = {}
    descriptions: dict[tuple[str, ...], bytes] = {}
    damage: Exception | None = None
    try:
        with _Gzip(path) as content:
            content.allowed_bytes = MAX_HEADER_BYTES
            with _Tar.open(fileobj=content, mode="r:") as archive:
                _read_members(archive, content, path, by_folder, descriptions)
    except _DAMAGED as error:
        damage = error
    for folder in sorted(by_folder, key=lambda parts: [_counting(part) for part in parts]):
        above = (folder[:depth] for depth in range(len(folder), -1, -1))
        stated = (descriptions[each] for each in above if each in descriptions)
        by_folder[folder].description = next(stated, None)
        yield by_folder[folder]
    if damage:
        raise errors.BadArchive(bounded.printable(f"{path}: {_reason(damage)}")) from damage


def _refuse_other_kinds(path: str) -> None:
    """Raise NotAnArchive, with what to name instead, for a file that is known to be none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return  # told where it is read
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return
        begin = file.read(512)
    shown = bounded.printable(path)
    if begin.lstrip()[:1] == b"{":
        folder = bounded.printable(os.path.dirname(path) or ".")
        raise errors.NotAnArchive(
            f"{shown}: is a single report, and a window takes about 18: name its folder, {folder}"
        )
    for place, magic, kind, command in _OTHER_KINDS:
        if begin.startswith(magic, place):
            raise errors.NotAnArchive(
                f"{shown}: is {kind}, and only .tar.gz is read: unpack it ({command} {shown}) and"
                " name DIR"
            )


def _reason(damage: Exception) -> str:
    """Return what is wrong with an archive."""
    if isinstance(damage, tarfile.TarError):
        return str(damage)
    return getattr(damage, "strerror", None) or "is not gzip, or is damaged or cut short"


def _read_members(
    archive: _Tar,
    content: _Gzip,
    path: str,
    by_folder: dict[tuple[str, ...], Found],
    descriptions: dict[tuple[str, ...], bytes],
) -> None:
    """Add the reports in the archive; raises tarfile.ReadError where they are too many."""
    held_bytes = 0
    for member in _members(archive, content):
        *folders, name = [part for part in member.name.split("/") if part not in ("", ".")] or [""]
        is_description = name == DESCRIPTION and member.size <= MAX_REPORT_BYTES
        if not (is_description or is_report_name(name)) or any(map(_is_skipped, folders)):
            continue
        held_bytes += min(member.size, MAX_REPORT_BYTES) + len(member.name) + _HELD_BESIDES_BYTES
        if held_bytes > MAX_HELD_BYTES:
            held = f"reports of more than {MAX_HELD_BYTES} bytes"
            raise tarfile.ReadError(f"{held}: unpack it, and name the folder")
        content.allowed_bytes = 2 * MAX_REPORT_BYTES  # tarfile may read a little more than it needs
        if is_description:
            descriptions[tuple(folders)] = _bytes_of(archive, member)
            continue
        label = bounded.printable("/".join([path, *folders]))
        found = by_folder.setdefault(tuple(folders), Found(label, bounded.printable(path)))
        _read_member(archive, member, name, found)


def _members(archive: _Tar, content: _Gzip) -> Iterator[tarfile.TarInfo]:
    """Return the regular files in the archive, one after the other; none is remembered."""
    end = -1
    while member := _next(archive, content):
        if member.size < 0 or archive.offset <= end:
            raise tarfile.ReadError("a header leads backwards")
        end = archive.offset
        if member.isreg() and len(member.name) <= MAX_NAME_BYTES:
            yield member


def _next(archive: _Tar, content: _Gzip) -> tarfile.TarInfo | None:
    """Return the next member; free the memory of those before it."""
    archive.members = []
    archive.pax_headers = {}
    content.allowed_bytes = MAX_HEADER_BYTES
    return archive.next()


def _read_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, name: str, found: Found
) -> None:
    if member.size > MAX_REPORT_BYTES:
        found.exclude(_too_large(name, member.size))
    else:
        found.add(name, _bytes_of(archive, member))


def _bytes_of(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(member)
    return content.read() if content else b""
