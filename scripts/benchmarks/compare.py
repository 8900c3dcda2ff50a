"""Another checkout's tixd and this one's in turn, measured by the benchmark of this one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.yardstick import Row

#: Rounds, of which the median of each figure counts.
ROUNDS = 3

_ROOT = Path(__file__).parents[2]

#: The first number of a figure, and its unit where that may differ.
_NUMBER = re.compile(r"([\d.,]+)(?: (us|ms))?")
_UNITS = {"us": 1e-6, "ms": 1e-3}

#: Headings of a comparison's table.
HEADINGS = ("there", "here", "here / there")


def compare(tree: Path, words: list[str]) -> list[Row]:
    """Rows of the figure there, the figure here, and this as a multiple of that.

    words: parts and options for either.
    """
    pairs = [(_measured(tree, words), _measured(_ROOT, words)) for _ in range(ROUNDS)]
    there, here = (zip(*rounds, strict=True) for rounds in zip(*pairs, strict=True))
    return [ratio(median(old), median(new)) for old, new in zip(there, here, strict=True)]


def _measured(tree: Path, words: list[str]) -> list[Row]:
    """The benchmark's rows with the tixd of that tree."""
    command = [sys.executable, str(_ROOT / "scripts" / "bench.py"), "--json", *words]
    environment = os.environ | {"PYTHONPATH": str(tree.resolve())}
    output = subprocess.check_output(command, env=environment)
    return [Row(**row) for row in json.loads(output)]


def ratio(there: Row, here: Row) -> Row:
    """A row of both figures, and of the second as a multiple of the first."""
    old, new = _number(there), _number(here)
    times = f"{new / old:.2f}" if old and new else ""
    return Row(here.what, there.figure, here.figure, times)


def median(rows: Iterable[Row]) -> Row:
    """The row whose figure is in the middle."""
    ordered = sorted(rows, key=_number)
    return ordered[len(ordered) // 2]


def _number(row: Row) -> float:
    """The first number of the figure, times in seconds; 0: it has none."""
    found = _NUMBER.match(row.figure)
    return float(found[1].replace(",", "")) * _UNITS.get(found[2], 1.0) if found else 0.0
