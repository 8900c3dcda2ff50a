"""Write numbers, times and cells of tables as people and programs read them."""

from __future__ import annotations

import functools
from datetime import UTC, datetime

#: First characters of a text that spreadsheets take for a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def moment(epoch_second: float) -> str:
    """Return a time to the second, in UTC.

    >>> moment(0)
    '1970-01-01 00:00:00 UTC'
    """
    return datetime.fromtimestamp(epoch_second, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def minute(epoch_second: float) -> str:
    """Return a time to the minute, where a heading says that it is UTC.

    >>> minute(0)
    '1970-01-01 00:00'
    """
    return datetime.fromtimestamp(epoch_second, UTC).strftime("%Y-%m-%d %H:%M")


@functools.lru_cache(maxsize=4096)
def iso_time(epoch_second: float) -> str:
    """Return a time to the second as programs read it.

    >>> iso_time(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(epoch_second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def number(value: float | None, digits: int) -> str:
    """Return a number with this many decimals; "-" where it is undefined.

    >>> number(1.25, 1), number(-0.04, 1), number(None, 1)
    ('1.2', '0.0', '-')
    """
    return "-" if value is None else f"{value:z.{digits}f}"


def csv_cell(cell: str | float | None) -> str | float | None:
    """Return the cell; a text that a spreadsheet would compute begins with an apostrophe.

    >>> csv_cell("=1+1"), csv_cell("fine"), csv_cell(-0.5)
    ("'=1+1", 'fine', -0.5)
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
