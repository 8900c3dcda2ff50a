"""The files that an AS table is made of: opened, unpacked, read line by line.

In: paths of plain, gzip or xz files. Out: a Harvest of ranges and names. Rules: the content tells
packing and format; a few lines that nobody understands are left out, many mean that the file is
not what it seems; nothing is fetched over the network.
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
from typing import Any, BinaryIO

from tixd import errors
from tixd.localisation.formats import (
    BITS,
    FORMATS,
    Format,
    Value,
    cut,
    is_text,
    name,
    recognised,
    span,
    value,
)
from tixd.localisation.ranges import Range

#: A larger share of lines that nobody understands means another format, or a damaged file.
LARGEST_BAD_SHARE = 0.01

#: After so many lines the progress is told.
_LINES_BETWEEN_REPORTS = 20_000

#: Told how far the work is, and how far it has to go.
Progress = Callable[[int, int], object]


@dataclass(slots=True)
class Harvest:
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
            try:
                add(fields, form)
            except ValueError as error:
                bad += 1
                example = example or f"{' '.join(fields)[:60]!r}: {error}"
        if bad > total * LARGEST_BAD_SHARE:
            raise errors.BadSource(f"{what}: {bad} of {total} lines make no sense, as {example}")
        self.left_out += bad

    def _add_row(self, fields: list[str], form: Format) -> None:
        version, first, last = span(fields, form)
        number = self._number(tuple(fields[form.addresses :]), form)
        default_route = last - first == (1 << BITS[version]) - 1
        if number is not None and not default_route:
            self.ranges[version].append(Range(first, last, number))

    def _number(self, fields: tuple[str, ...], form: Format) -> int | None:
        """The number of a value; None: there is none. Most lines say what another one said."""
        if fields not in self._numbers:
            said = value(fields, form)
            known = None if said is None else self.values.setdefault(said, len(self.values))
            self._numbers[fields] = known
        return self._numbers[fields]

    def _add_name(self, fields: list[str], _form: Format) -> None:
        asn, text = name(fields)
        self.names.setdefault(asn, text)


def harvest_file(harvest: Harvest, path: str, progress: Progress) -> str:
    """Add what a file says, and return what format it has; raises BadSource.

    progress: told bytes read so far and in all.
    """
    try:
        with (
            open(path, "rb") as file,
            contextlib.closing(_unpacked(file)) as unpacked,
            io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="replace") as text,
        ):
            lines = _reported(text, file, os.fstat(file.fileno()).st_size, progress)
            return _harvest_lines(harvest, path, filter(is_text, lines))
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise errors.BadSource(f"{path}: {error}") from error


def _harvest_lines(harvest: Harvest, path: str, lines: Iterator[str]) -> str:
    first = next(lines, None)
    found = recognised(first) if first is not None else None
    if first is None or found is None:
        shown = "no line" if first is None else repr(first[:60])
        raise errors.BadSource(f"{path}: {shown}: neither prefixes, ranges nor names")
    form = FORMATS[found]
    harvest.take(path, (cut(line, form) for line in _chained(first, lines)), form)
    return found


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


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
