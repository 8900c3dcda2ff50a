"""Read the files that an AS table is made of: plain, gzip or xz.

Compression and format are recognised by content. A few bad lines are skipped; many mean another
format or a damaged file. A file of any size, compressed or not, takes bounded memory.
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
from typing import Any, BinaryIO, NamedTuple

from tixd import errors
from tixd.asn.formats import (
    BITS,
    FORMATS,
    MAX_LINE_CHARACTERS,
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
from tixd.asn.origin import MAX_NAME_CHARACTERS, clean

#: A larger share of bad lines means another format, or a damaged file.
LARGEST_BAD_SHARE = 0.01

#: Most lines of a source: several times what the whole Internet needs.
MAX_LINES = 10_000_000

#: Most different values, or names, of all sources: the same.
MAX_VALUES = 1_000_000

#: Longest part of a bad line in a message, characters.
_SHOWN = 60

#: Lines between two reports of progress.
_LINES_BETWEEN_REPORTS = 20_000

#: Called with the work done so far, and the total.
Progress = Callable[[int, int], object]


class Range(NamedTuple):
    """Addresses from `first` to `last`, both included, and the number of their value."""

    first: int
    last: int
    value: int


@dataclass(slots=True)
class Entries:
    """The content of all sources: ranges by IP version, each with the number of its value.

    values: (AS number, name, country) by number; names: of AS numbers, where a range has none;
    left_out: bad lines.
    """

    ranges: dict[int, list[Range]] = field(default_factory=lambda: {4: [], 6: []})
    values: dict[Value, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    left_out: int = 0
    _numbers: dict[tuple[str, ...], int | None] = field(default_factory=dict)

    def add(self, what: str, rows: Iterable[list[str]], form: Format) -> None:
        """Add the rows of a source; `what` names it. Raises BadSource where many are bad."""
        add_row = self._add_name if form is FORMATS["names"] else self._add_range
        bad, total, example = 0, 0, ""
        for fields in rows:
            total += 1
            if total > MAX_LINES:
                raise OverflowError(f"more than {MAX_LINES} lines")
            try:
                add_row(fields, form)
            except ValueError as error:
                bad += 1
                example = example or f"{_shown(' '.join(fields))}: {error}"
        if bad > total * LARGEST_BAD_SHARE:
            raise errors.BadSource(f"{what}: {bad} of {total} lines cannot be parsed, as {example}")
        self.left_out += bad

    def _add_range(self, fields: list[str], form: Format) -> None:
        version, first, last = span(fields, form)
        number = self._number(
            tuple(f[:MAX_NAME_CHARACTERS] for f in fields[form.addresses :]), form
        )
        default_route = last - first == (1 << BITS[version]) - 1
        if number is not None and not default_route:
            self.ranges[version].append(Range(first, last, number))

    def _number(self, fields: tuple[str, ...], form: Format) -> int | None:
        """Return the number of a value; None: no AS. Most lines repeat the value of another."""
        if fields not in self._numbers:
            parsed = value(fields, form)
            known = None if parsed is None else self.values.setdefault(parsed, len(self.values))
            _refuse_more(len(self._numbers))
            self._numbers[fields] = known
        return self._numbers[fields]

    def _add_name(self, fields: list[str], _form: Format) -> None:
        asn, text = name(fields)
        _refuse_more(len(self.names))
        self.names.setdefault(asn, text)


def _refuse_more(count: int) -> None:
    """Raise OverflowError where there are as many values or names as allowed."""
    if count >= MAX_VALUES:
        raise OverflowError(f"more than {MAX_VALUES} different values or names")


def _shown(text: str) -> str:
    """Quote the beginning of a line, for a message."""
    return f'"{(clean(text) or "")[:_SHOWN]}"'


def read_file(entries: Entries, path: str, progress: Progress) -> str:
    """Add what a file holds and return its format; raises BadSource.

    progress: called with the bytes read so far and in all.
    """
    try:
        with (
            open(path, "rb") as file,
            contextlib.closing(_unpacked(file)) as unpacked,
            io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="replace") as text,
        ):
            lines = _reported(_bounded(text), file, os.fstat(file.fileno()).st_size, progress)
            return _read_lines(entries, path, filter(is_text, lines))
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "is damaged or truncated"
        raise errors.BadSource(f"{path}: {reason}") from error
    except OverflowError as error:
        raise errors.BadSource(f"{path}: {error}") from error
    except ValueError:  # by open()
        raise errors.BadSource(f"{path}: a path cannot contain a null character") from None


def _read_lines(entries: Entries, path: str, lines: Iterator[str]) -> str:
    first = next(lines, None)
    if first is None:
        raise errors.BadSource(f"{path}: holds no line")
    found = recognised(first)
    if found is None and "\0" in first:
        raise errors.BadSource(
            f"{path}: is not text: an MMDB file needs no building, name it in TIX_ASN_TABLE"
        )
    if found is None:
        raise errors.BadSource(f"{path}: {_shown(first)}: not a line of a known format: {SHAPES}")
    form = form_of(first)
    rest = lines if found == "header" else chain([first], lines)
    entries.add(path, (cut(line, form) for line in rest), form)
    return found


def _bounded(text: io.TextIOBase) -> Iterator[str]:
    """Cut lines after MAX_LINE_CHARACTERS characters; raises OverflowError for too many."""
    for _ in range(MAX_LINES):
        line = text.readline(MAX_LINE_CHARACTERS)
        if not line:
            return
        yield line
        while len(line) == MAX_LINE_CHARACTERS and not line.endswith("\n"):
            line = text.readline(MAX_LINE_CHARACTERS)
    if text.read(1):
        raise OverflowError(f"more than {MAX_LINES} lines")


def _unpacked(file: BinaryIO) -> Any:
    """Open the content of a plain or compressed file, by its first bytes."""
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    return lzma.LZMAFile(file) if magic == b"\xfd7zXZ\x00" else file


def _reported(lines: Iterable[str], file: BinaryIO, size: int, progress: Progress) -> Iterator[str]:
    """Strip the ends of lines and report progress."""
    for number, line in enumerate(lines):
        if number % _LINES_BETWEEN_REPORTS == 0:
            progress(file.tell(), size)
        yield line.rstrip("\n")
    progress(size, size)
