"""The journal of an installation: the last window, and the deletions that must still be finished.

In: the installation's folder. Out: a Journal. File: `.tixd.json`, one JSON object.
Rules: its temporary file is made before the post and renamed after it, so that a full disk is known
in time and a kill finds either the old journal or the new one; no fsync, because a power cut may
cost a repeated post. A journal that cannot be trusted counts as absent, and never names anything
but plain report names in the folder itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import orjson

from tixd import errors, logs
from tixd.folder import TEMPORARY_SUFFIX, Folder
from tixd.results.backoff import LONGEST_REASON, Backoff, Refusal

#: Name of the journal in an installation's folder (operations.md 5.2).
FILE_NAME = ".tixd.json"

#: Version of the file's format; a file of another one counts as absent.
FORMAT = 1

#: A longer journal was not written by tixd: room for the names of over 100,000 reports.
LONGEST_BYTES = 32 * 2**20

#: A write within one page is done whole or not at all, whenever its process is killed.
PAGE_BYTES = 4096

#: Longest file name of Linux's file systems.
_LONGEST_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class Journal:
    """window: first second of the last window, timestamp: its result's; None before the first.

    names: reports that are to be deleted; backoff: pause and refusals of stored results.
    """

    window: int | None = None
    timestamp: int | None = None
    names: tuple[str, ...] = ()
    backoff: Backoff = field(default_factory=Backoff)


def load(folder: Folder) -> Journal:
    """The journal in `folder`; an empty one where it is absent or cannot be trusted (a warning).

    Raises errors.VolumeFailed where the disk is at fault.
    """
    try:
        content, _ = folder.read(FILE_NAME, LONGEST_BYTES)
        return parse(content)
    except errors.Vanished:
        return Journal()
    except (errors.WrongKind, errors.NotPermitted) as error:
        logs.warning("journal_unreadable", folder=folder.path, reason=str(error))
    except (ValueError, TypeError, KeyError) as error:
        logs.warning("journal_unreadable", folder=folder.path, reason=str(error)[:200])
    return Journal()


def prepare(folder: Folder, journal: Journal) -> None:
    """Write the temporary file; raises errors.DiskFull and its like, and then leaves none."""
    folder.write_temporary(FILE_NAME, serialise(journal))


def commit(folder: Folder) -> None:
    """Make what was prepared the journal, at once."""
    folder.rename(FILE_NAME + TEMPORARY_SUFFIX, FILE_NAME)


def abandon(folder: Folder) -> None:
    """Remove what was prepared; the journal before it stands."""
    folder.unlink(FILE_NAME + TEMPORARY_SUFFIX)


def strike_names(folder: Folder, journal: Journal) -> bool:
    """Empty the list of names in the file, which holds `journal`; False where it is too long.

    In place, in one write: blanks follow what is left, as JSON allows. Making another file and
    renaming it would cost an installation as much as reading its window (ext4).
    """
    content = serialise(journal)
    if len(content) > PAGE_BYTES:
        return False
    folder.overwrite(FILE_NAME, serialise(replace(journal, names=())).ljust(len(content)))
    return True


def save(folder: Folder, journal: Journal) -> None:
    """Prepare and commit, where nothing happens between the two."""
    prepare(folder, journal)
    commit(folder)


def serialise(journal: Journal) -> bytes:
    """The journal as the bytes of its file."""
    backoff = journal.backoff
    return orjson.dumps(
        {
            "format": FORMAT,
            "window": journal.window,
            "timestamp": journal.timestamp,
            "delete": journal.names,
            "failures": backoff.failures,
            "not_before": backoff.not_before,
            "refusals": [[r.name, r.count, r.last, r.status] for r in backoff.refusals],
            "reason": backoff.reason,
            "unanswered": backoff.unanswered,
        }
    )


def parse(content: bytes) -> Journal:
    """The journal in those bytes; ValueError, TypeError or KeyError where they hold none."""
    stored = orjson.loads(content)
    if not isinstance(stored, dict) or _count(stored["format"]) != FORMAT:
        raise ValueError("not a journal of this version")
    return Journal(
        window=_second(stored["window"]),
        timestamp=_second(stored["timestamp"]),
        names=tuple(_name(name) for name in _list(stored["delete"])),
        backoff=Backoff(
            failures=_count(stored["failures"]),
            not_before=_moment(stored["not_before"]),
            refusals=tuple(_refusal(refusal) for refusal in _list(stored["refusals"])),
            reason=_words(stored.get("reason", "")),
            unanswered=stored.get("unanswered") is True,
        ),
    )


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("a list is due")
    return value


def _refusal(value: object) -> Refusal:
    name, count, last, *status = _list(value)
    return Refusal(_name(name), _count(count), _moment(last), *map(_count, status[:1]))


def _words(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError("printable words are due")
    return value[:LONGEST_REASON]


def _second(value: object) -> int | None:
    return None if value is None else _count(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError("a count is due")
    return value


def _moment(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("epoch seconds are due")
    return float(value)


def _name(value: object) -> str:
    """A plain name of a visible .json file: nothing else is ever deleted for a journal's sake."""
    if not isinstance(value, str) or not value.isprintable() or "/" in value:
        raise ValueError("a file name is due")
    if value.startswith(".") or not value.endswith(".json"):
        raise ValueError("the name of a report is due")
    if len(value.encode()) > _LONGEST_NAME_BYTES:
        raise ValueError("a shorter file name is due")
    return value
