"""What a spreadsheet makes of a CSV text."""

from __future__ import annotations

import csv
import io
import unicodedata

#: Texts that a spreadsheet computes begin so, in full width as well.
_COMPUTED = ("=", "+", "-", "@", "\t", "\r")


def formulas(text: str) -> list[str]:
    """The cells that a spreadsheet would compute; a number is none, even a negative one.

    >>> formulas("a,=1+1\\r\\n-0.01,'=1\\r\\n")
    ['=1+1']
    """
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    return [cell for cell in cells if _is_computed(cell) and not _is_number(cell)]


def _is_computed(cell: str) -> bool:
    return unicodedata.normalize("NFKC", cell).startswith(_COMPUTED)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
