"""Write numbers, times and cells of tables as people and programs read them."""

from __future__ import annotations

import functools
from datetime import UTC, datetime

#: First characters of a text that spreadsheets take for a formula (OWASP, CSV injection): in East
#: Asia also the full-width forms of the first four.
_FORMULA = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")


def moment(epoch_second: float) -> str:
    """Return a time to the second, in UTC.

    >>> moment(0)
    '1970-01-01 00:00:00 UTC'
    """
    return _written(epoch_second, "%Y-%m-%d %H:%M:%S UTC")


def minute(epoch_second: float) -> str:
    """Return a time to the minute, where a heading says that it is UTC.

    >>> minute(0)
    '1970-01-01 00:00'
    """
    return _written(epoch_second, "%Y-%m-%d %H:%M")


@functools.lru_cache(maxsize=4096)
def iso_time(epoch_second: float) -> str:
    """Return a time to the second as programs read it.

    >>> iso_time(0)
    '1970-01-01T00:00:00Z'
    """
    return _written(epoch_second, "%Y-%m-%dT%H:%M:%SZ")


def _written(epoch_second: float, form: str) -> str:
    """Return a time in this form; "-" where no calendar has it.

    >>> _written(1e12, "%Y"), _written(1e300, "%Y")
    ('-', '-')
    """
    try:
        return datetime.fromtimestamp(epoch_second, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return "-"


def number(value: float | None, digits: int) -> str:
    """Return a number with this many decimals; "-" where it is undefined.

    >>> number(1.25, 1), number(-0.04, 1), number(None, 1)
    ('1.2', '0.0', '-')
    """
    return "-" if value is None else f"{value:z.{digits}f}"


def csv_cell(cell: str | float | None) -> str | float | None:
    """Return the cell; a text that a spreadsheet would compute begins with an apostrophe.

    >>> csv_cell("=1+1"), csv_cell("\uff1d1+1"), csv_cell("fine"), csv_cell(-0.5)
    ("'=1+1", "'\uff1d1+1", 'fine', -0.5)
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
