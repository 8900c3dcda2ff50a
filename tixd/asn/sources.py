"""The files that an AS table is made of: opened, unpacked, read line by line.

In: paths of plain, gzip or xz files. Out: a Harvest of ranges and names. Rules: the content tells
packing and format; a few lines that nobody understands are left out, many mean that the file is
not what it seems; a file of any size, packed or not, takes bounded memory; nothing is fetched over
the network.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, BinaryIO

from tixd import errors
from tixd.asn.formats import (
    BITS,
    FORMATS,
    LONGEST_LINE,
    SHAPES,
    Format,
    Value,
    cut,
    form_of,
    is_text,
    name,
    recognised,
    span,
    value,
)
from tixd.asn.origin import LONGEST_NAME, clean
from tixd.asn.ranges import Range

#: A larger share of lines that nobody understands means another format, or a damaged file.
LARGEST_BAD_SHARE = 0.01

#: Most lines of a source, and most different values or names of all: some times what the whole
#: Internet needs.
MOST_LINES, MOST_VALUES = 10_000_000, 1_000_000

#: How much of a bad line a message shows, characters.
_SHOWN = 60

#: After so many lines the progress is told.
_LINES_BETWEEN_REPORTS = 20_000

#: Told how far the work is, and how far it has to go.
Progress = Callable[[int, int], object]


@dataclass(slots=True)
class Entries:
    """What the sources say, together: ranges by IP version, each with the number of its value.

    values: (AS number, name, country) by number; names: of AS numbers, where a range has none;
    left_out: lines that nobody understood.
    """

    ranges: dict[int, list[Range]] = field(default_factory=lambda: {4: [], 6: []})
    values: dict[Value, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    left_out: int = 0
    _numbers: dict[tuple[str, ...], int | None] = field(default_factory=dict)

    def take(self, what: str, rows: Iterable[list[str]], form: Format) -> None:
        """Add the rows of a source; `what` names it. Raises BadSource where they make no sense."""
        add = self._add_name if form is FORMATS["names"] else self._add_row
        bad, total, example = 0, 0, ""
        for fields in rows:
            total += 1
            if total > MOST_LINES:
                raise OverflowError(f"more than {MOST_LINES} lines")
            try:
                add(fields, form)
            except ValueError as error:
                bad += 1
                example = example or f"{_shown(' '.join(fields))}: {error}"
        if bad > total * LARGEST_BAD_SHARE:
            raise errors.BadSource(f"{what}: {bad} of {total} lines make no sense, as {example}")
        self.left_out += bad

    def _add_row(self, fields: list[str], form: Format) -> None:
        version, first, last = span(fields, form)
        number = self._number(tuple(f[:LONGEST_NAME] for f in fields[form.addresses :]), form)
        default_route = last - first == (1 << BITS[version]) - 1
        if number is not None and not default_route:
            self.ranges[version].append(Range(first, last, number))

    def _number(self, fields: tuple[str, ...], form: Format) -> int | None:
        """The number of a value; None: there is none. Most lines say what another one said."""
        if fields not in self._numbers:
            said = value(fields, form)
            known = None if said is None else self.values.setdefault(said, len(self.values))
            _refuse_more(len(self._numbers))
            self._numbers[fields] = known
        return self._numbers[fields]

    def _add_name(self, fields: list[str], _form: Format) -> None:
        asn, text = name(fields)
        _refuse_more(len(self.names))
        self.names.setdefault(asn, text)


def _refuse_more(count: int) -> None:
    """Raise OverflowError where there are as many values or names as may be."""
    if count >= MOST_VALUES:
        raise OverflowError(f"more than {MOST_VALUES} different values or names")


def _shown(text: str) -> str:
    """The beginning of a line, for a message."""
    return f'"{(clean(text) or "")[:_SHOWN]}"'


def harvest_file(harvest: Entries, path: str, progress: Progress) -> str:
    """Add what a file says, and return what format it has; raises BadSource.

    progress: told bytes read so far and in all.
    """
    try:
        with (
            open(path, "rb") as file,
            contextlib.closing(_unpacked(file)) as unpacked,
            io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="replace") as text,
        ):
            lines = _reported(_bounded(text), file, os.fstat(file.fileno()).st_size, progress)
            return _harvest_lines(harvest, path, filter(is_text, lines))
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "is damaged or cut short"
        raise errors.BadSource(f"{path}: {reason}") from error
    except OverflowError as error:
        raise errors.BadSource(f"{path}: {error}") from error
    except ValueError:  # by open()
        raise errors.BadSource(f"{path}: a path has no null character") from None


def _harvest_lines(harvest: Entries, path: str, lines: Iterator[str]) -> str:
    first = next(lines, None)
    if first is None:
        raise errors.BadSource(f"{path}: holds no line")
    found = recognised(first)
    if found is None and "\0" in first:
        raise errors.BadSource(
            f"{path}: is no text: an MMDB file needs no building, name it in TIX_ASN_TABLE"
        )
    if found is None:
        raise errors.BadSource(f"{path}: {_shown(first)}: no line of a known form: {SHAPES}")
    form = form_of(first)
    rest = lines if found == "header" else chain([first], lines)
    harvest.take(path, (cut(line, form) for line in rest), form)
    return found


def _bounded(text: io.TextIOBase) -> Iterator[str]:
    """The lines, of a longer one its first LONGEST_LINE characters; OverflowError: too many."""
    for _ in range(MOST_LINES):
        line = text.readline(LONGEST_LINE)
        if not line:
            return
        yield line
        while len(line) == LONGEST_LINE and not line.endswith("\n"):
            line = text.readline(LONGEST_LINE)
    if text.read(1):
        raise OverflowError(f"more than {MOST_LINES} lines")


def _unpacked(file: BinaryIO) -> Any:
    """The content of a plain or packed file, as its first bytes tell."""
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    return lzma.LZMAFile(file) if magic == b"\xfd7zXZ\x00" else file


def _reported(lines: Iterable[str], file: BinaryIO, size: int, progress: Progress) -> Iterator[str]:
    """The lines without their ends."""
    for number, line in enumerate(lines):
        if number % _LINES_BETWEEN_REPORTS == 0:
            progress(file.tell(), size)
        yield line.rstrip("\n")
    progress(size, size)
