"""An installation's failed-results: kept results, which the tix-api does not have yet.

Rules: a result is safe once `add` returns (temporary file, fsync, rename, fsync of the folder); a
kept result is never overwritten; other names, temporary files, links and folders are ignored; the
folder is created with the first result.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import Self

from tixd import bounded, errors
from tixd.directory import TEMPORARY_SUFFIX, Entry, Folder
from tixd.results.journal_format import MAX_LEFT
from tixd.results.payload import WindowResult, failed_report, parse_failed_report

#: Folder, in the installation's own, where results wait.
FOLDER_NAME = "failed-results"

#: Folder in that one for rejected results.
REJECTED_NAME = "rejected"

#: Ending of the file with the reason, beside a rejected result.
REASON_SUFFIX = ".reason"

#: Longest reason that is shown, characters.
MAX_REASON_CHARACTERS = 200

#: A larger file is not a kept result; one that tixd writes has about 300 bytes.
MAX_BYTES = 64 * 2**10

#: failed-report-<timestamp>.json, and with a suffix where that name was taken.
_NAME = re.compile(r"failed-report-([0-9]{1,10})(?:-([0-9]{1,9}))?\.json")


class FailedResults:
    """The failed-results of one open installation folder; use as a context manager."""

    def __init__(self, installation: Folder) -> None:
        self._installation = installation
        self._folder: Folder | None = None
        #: Results that the tix-api has and that could not be removed: they are not posted again.
        self.not_removed: set[str] = set()
        #: Results that `oldest` skipped, because this process may not read them.
        self.not_permitted: list[str] = []
        #: How many `oldest` found, None before.
        self.listed: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def add(self, result: WindowResult) -> str:
        """Keep `result` for later; returns its name. It survives a kill and a power cut.

        Raises errors.DiskFull, ReadOnlyVolume, NotPermitted, ..., or BadFailedResult for a result
        that could not be read again: then nothing is written.
        """
        content = failed_report(result)
        parse_failed_report(content)  # raises where it could not be read again
        folder = self._open_or_make()
        suffix = 0
        while True:
            name = _name(result.summary.timestamp, suffix)
            if not folder.exists(name):
                folder.write(name, content, durable=True)
                return name
            if _content(folder, name) == content:
                folder.sync()  # its writer may have been killed before that
                return name
            suffix += 1

    def oldest(self, limit: int) -> list[str]:
        """Return at most `limit` names, by timestamp and suffix; lists the folder once.

        Those that may not be read are skipped, so that they hide no others. Temporary files of a
        killed worker are removed, and results that could not be removed before.
        """
        folder = self._open_existing()
        if folder is None:
            self.listed = 0
            return []
        entries = folder.entries()
        for entry in entries:
            if entry.is_file and entry.name.endswith(TEMPORARY_SUFFIX) and _NAME.match(entry.name):
                with contextlib.suppress(errors.VolumeError):
                    folder.unlink(entry.name)
        for name in [*self.not_removed]:
            self.remove(name)
        if len(self.not_removed) > MAX_LEFT:
            raise errors.NotDeleted(f"{folder.path}: {len(self.not_removed)} accepted results")
        waiting = [found for found in _stored(entries) if found[2] not in self.not_removed]
        self.listed = len(waiting)
        return self._readable(folder, waiting, limit)

    def _readable(
        self, folder: Folder, waiting: list[tuple[int, int, str]], most: int
    ) -> list[str]:
        """Return the names of the oldest that may be read, at most `most`."""
        heapq.heapify(waiting)
        names: list[str] = []
        self.not_permitted.clear()
        while waiting and len(names) < most:
            name = heapq.heappop(waiting)[2]
            if os.access(name, os.R_OK, dir_fd=folder.fd, effective_ids=True):
                names.append(name)
            else:
                self.not_permitted.append(name)
        return names

    def counts(self) -> tuple[int, int]:
        """Return how many results are kept, and the timestamp of the oldest (0: none)."""
        folder = self._open_existing()
        stored = _stored(folder.entries()) if folder else ()
        timestamps = [second for second, _, name in stored if name not in self.not_removed]
        return len(timestamps), min(timestamps, default=0)

    def rejected(self) -> list[str]:
        """Return the names of the results in failed-results/rejected."""
        folder = self._open_existing()
        if folder is None:
            return []
        try:
            rejected = folder.subfolder(REJECTED_NAME)
        except errors.NotFound:
            return []
        with rejected:
            return sorted(name for _, _, name in _stored(rejected.entries()))

    def why_rejected(self, name: str) -> str:
        """Return the first line of why a result was rejected, as written beside it, or ""."""
        try:
            with self._required().subfolder(REJECTED_NAME) as rejected:
                content, _ = rejected.read(name + REASON_SUFFIX, MAX_BYTES)
        except errors.VolumeError:
            return ""
        first = content.decode(errors="replace").partition("\n")[0]
        return bounded.printable(first, "")[:MAX_REASON_CHARACTERS]

    def restore(self) -> int:
        """Keep rejected results again, overwriting nothing; returns how many there were."""
        names = self.rejected()
        if not names:
            return 0
        folder = self._required()
        with folder.subfolder(REJECTED_NAME) as rejected:
            for name in names:
                rejected.rename(name, _free_name(folder, name), to=folder)
                rejected.unlink(name + REASON_SUFFIX)
            folder.sync()
        return len(names)

    def is_writable(self) -> bool:
        """Return whether an accepted result can be removed: else it would be posted for ever."""
        folder = self._open_existing()
        return folder is None or _is_usable(folder)

    def load(self, name: str) -> WindowResult:
        """Read the kept result `name`.

        Raises errors.BadFailedResult where it is not one, NotFound where it was removed.
        """
        try:
            content = self._required().load(name, MAX_BYTES)
        except errors.TooLong as error:
            raise errors.BadFailedResult(error.detail) from error
        return parse_failed_report(content)

    def remove(self, name: str) -> None:
        """Delete `name`, which the tix-api has now; where that fails it joins `not_removed`."""
        try:
            self._required().unlink(name)
        except errors.VolumeError:
            self.not_removed.add(name)
        else:
            self.not_removed.discard(name)

    def reject(self, name: str, *reasons: str) -> None:
        """Move `name` to failed-results/rejected, where nothing is overwritten either.

        A file with the reasons is written beside it; on a full disk it is moved without that.
        """
        folder = self._required()
        with folder.subfolder(REJECTED_NAME, create=True) as rejected:
            new_name = _free_name(rejected, name)
            lines = "".join(f"{reason}\n" for reason in reasons if reason)
            if lines:
                with contextlib.suppress(errors.DiskFull):
                    rejected.write(new_name + REASON_SUFFIX, lines.encode(errors="replace"))
            folder.rename(name, new_name, to=rejected)

    def _open_existing(self) -> Folder | None:
        """Return the folder, opened once; None where there is none."""
        if self._folder is None:
            try:
                self._folder = self._installation.subfolder(FOLDER_NAME)
            except errors.NotFound:
                return None
        return self._folder

    def _open_or_make(self) -> Folder:
        """Return the folder, made where it is missing, so that it survives a power cut."""
        folder = self._open_existing()
        if folder is None:
            folder = self._folder = self._installation.subfolder(FOLDER_NAME, create=True)
            self._installation.sync()
        return folder

    def _required(self) -> Folder:
        folder = self._open_existing()
        if folder is None:
            raise errors.NotFound(f"{self._installation.path}/{FOLDER_NAME}")
        return folder


def has_kept(user: Folder, installation: str) -> bool:
    """Return whether an installation in the user's folder has kept results; True if unreadable."""
    try:
        with Folder(f"{installation}/{FOLDER_NAME}", within=user) as folder:
            return any(True for _ in _stored(folder.scan()))
    except (errors.NotFound, errors.UnexpectedFileType):
        return False
    except errors.VolumeError:
        return True


def _stored(entries: Iterable[Entry]) -> Iterator[tuple[int, int, str]]:
    """Return timestamp, suffix and name of every kept result among the entries, unsorted."""
    names = (entry.name for entry in entries if entry.is_file)
    found = ((match, match[0]) for name in names if (match := _NAME.fullmatch(name)))
    return ((int(match[1]), int(match[2] or 0), name) for match, name in found)


def _free_name(folder: Folder, name: str) -> str:
    """Return the name of a kept result, with the next suffix that is free in the folder."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise errors.InternalError(f"{name} is not the name of a kept result")
    timestamp, suffix = int(match[1]), int(match[2] or 0)
    while folder.exists(free := _name(timestamp, suffix)):
        suffix += 1
    return free


def _name(timestamp: int, suffix: int) -> str:
    return (
        f"failed-report-{timestamp}-{suffix}.json" if suffix else f"failed-report-{timestamp}.json"
    )


def _content(folder: Folder, name: str) -> bytes | None:
    """Return the content of the regular file `name`; None where it is not one or unreadable."""
    try:
        if not stat.S_ISREG(folder.facts(name).st_mode):
            return None
        return folder.load(name, MAX_BYTES)
    except (errors.NotPermitted, errors.NotFound, errors.UnexpectedFileType, errors.TooLong):
        return None


def _is_usable(folder: Folder) -> bool:
    """Return whether this process can move and delete files there, also by a capability."""
    rights = os.W_OK | os.X_OK
    return os.access(".", rights, dir_fd=folder.fd, effective_ids=True)
