"""`tixd analyze --truth`: estimates of usage beside what a line really carried.

Rules: estimates are limited to 0..1, as they are posted; a window whose ten minutes the schedule
covers by less than half lies outside the experiment, and is only counted.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import get_args

import click
from rich.console import Console
from rich.table import Table

from tixd import bounded, display, errors
from tixd.analysis.observations import MEANINGFUL_SECONDS
from tixd.analysis.summary import Estimator, Summary
from tixd.commands import output
from tixd.commands.window_tables import UNTIL, WAYS, Form, print_forms, table_of, until
from tixd.commands.window_values import Analysed
from tixd.config import values
from tixd.reports.archive import DESCRIPTION, Found
from tixd.results.payload import posted_usage
from tixd.simulation.evaluation import (
    MAX_BYTES,
    Agreement,
    Truth,
    agreement,
    covered,
    expected,
    read,
)

#: The word of --truth that stands for the description in the archive or folder.
INSIDE = "inside"

#: No truth is known of a window of whose last ten minutes the schedule covers a smaller share.
LEAST_COVERED = 0.5

#: The estimators, in the order in which they stand beside the truth.
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)

#: Columns of a direction of a window.
_HEADINGS = ("truth", "mode", "error", "rel.", "probes", "error", "rel.")

#: Explain the columns.
_NOTES = (
    "truth: usage that description.yml states, a mean over the whole window, which ends with the"
    " ten minutes. mode, probes: usage by the two estimators, 0 to 1. error: estimate - truth."
    " rel.: |error| / truth.",
    "What each word means: tixd explain",
)

_parsed = functools.lru_cache(maxsize=64)(read)


class TruthSource:
    """Where the truth of windows comes from: nowhere, a file, or what lies above the reports."""

    def __init__(self, word: str | None) -> None:
        """Read the file that `word` names; end the command where it states nothing."""
        self.wanted = word is not None
        self._stated = None if word in (None, INSIDE) else read_truth(Path(word))

    def of(self, found: Found) -> Truth | None:
        """Return the truth of an installation; raises errors.BadDescription where there is none."""
        if not self.wanted or self._stated:
            return self._stated
        if found.description is None:
            raise errors.BadDescription(
                f"{found.top}: holds no {DESCRIPTION} above the reports: name one with --truth FILE"
            )
        try:
            return _parsed(found.description)
        except errors.BadDescription as error:
            raise errors.BadDescription(f"{found.top}: {DESCRIPTION}: {error.detail}") from None


def read_truth(path: Path) -> Truth:
    """Read what the file states; where it states nothing, say so and end the command."""
    try:
        return read(values.regular_file(path, MAX_BYTES))
    except (errors.BadDescription, ValueError) as error:
        reason: object = error
    except OSError as error:
        reason = f"{error.strerror}: name a file, or the word {INSIDE}"
    click.echo(f"tixd analyze: {bounded.printable(str(path))}: {reason}", err=True)
    sys.exit(1)


def truth_of(
    summary: Summary | None, first: int, truth: Truth | None
) -> tuple[float | None, float | None]:
    """Return the true usage up and down of a window; None where it is unknown."""
    if summary is None or truth is None:
        return None, None
    last = summary.timestamp
    up, down = (
        expected(schedule, first, last)
        if covered(schedule, last - MEANINGFUL_SECONDS, last) >= LEAST_COVERED
        else None
        for schedule in (truth.upstream, truth.downstream)
    )
    return up, down


@dataclass(frozen=True, slots=True)
class Compared:
    """An estimate of usage as posted, estimate - truth, and |estimate - truth| / truth.

    Each is None where it is undefined.
    """

    estimate: float | None
    error: float | None
    relative: float | None


def compared(window: Analysed, way: int) -> list[Compared]:
    """Compare usage by mode and by delayed probes with the truth of a direction, which is known."""
    truth = window.truth[way] or 0.0
    found = []
    for estimate in _estimates(window, way):
        error = None if estimate is None else estimate - truth
        relative = abs(error) / truth if error is not None and truth > 0 else None
        found.append(Compared(estimate, error, relative))
    return found


def _estimates(window: Analysed, way: int) -> tuple[float | None, float | None]:
    """Return usage by mode and by delayed probes, as posted."""
    usage, other = (
        posted_usage(found) for found in (window.ways[way].usage, window.ways[way].usage_alt)
    )
    return (usage, other) if window.estimator == "mode" else (other, usage)


def agreements(windows: Sequence[Analysed]) -> list[tuple[int, Estimator, Agreement]]:
    """Return direction, 0 up and 1 down, estimator, and its agreement with the truth."""
    found = []
    for way, number in product((0, 1), range(2)):
        pairs = [
            (estimate, truth)
            for window in windows
            if (truth := window.truth[way]) is not None
            and (estimate := _estimates(window, way)[number]) is not None
        ]
        if pairs:
            found.append((way, ESTIMATORS[number], agreement(pairs)))
    return found


def outside_line(windows: Sequence[Analysed]) -> str | None:
    """Say how many windows lie outside the experiment; None where none does."""
    count = sum(window.truth == (None, None) for window in windows)
    if not count:
        return None
    lie = "lies" if count == 1 else "lie"
    return (
        f"{count} of {len(windows)} windows {lie} outside the experiment: its schedule covers less"
        " than half of the ten minutes"
    )


# --- tables --------------------------------------------------------------------------------------


def show(console: Console, windows: Sequence[Analysed]) -> None:
    """Show the windows whose truth is known, a row for each direction, and the agreement below."""
    known = [window for window in windows if window.truth != (None, None)]
    if not known:
        return
    if console.is_terminal:
        headings = ["<\nway", *_HEADINGS]
        forms = [Form(headings, _rows, named) for named in (True, False)]
        columns = console.width
        print_forms(console, known, forms)
        click.echo()
        output.print_table(console, _agreement_table(known))
        for note in (UNTIL, *_NOTES):
            output.print_text(note, columns)
    else:
        names = ["<installation", "<until (UTC)", "<way"]
        rows = [[window.path, until(window), *cells] for window in known for cells in _rows(window)]
        output.print_table(console, table_of([*names, *_HEADINGS], rows))
        output.print_table(console, _agreement_table(known))


def _rows(window: Analysed) -> list[list[str]]:
    """Return a row for each direction whose truth is known."""
    rows = []
    for way, truth in enumerate(window.truth):
        if truth is None:
            continue
        cells = [WAYS[way], _number(truth)]
        for found in compared(window, way):
            cells += map(_number, (found.estimate, found.error, found.relative))
        rows.append(cells)
    return rows


def _agreement_table(windows: Sequence[Analysed]) -> Table:
    headings = ("<in all", "<estimator", "windows", "error", "bias", "rel.", "corr.")
    rows = []
    for way, estimator, found in agreements(windows):
        numbers = (found.error, found.bias, found.relative, found.correlation)
        rows.append([WAYS[way], estimator, str(found.windows), *map(_number, numbers)])
    return table_of(headings, rows)


def _number(value: float | None) -> str:
    return display.number(value, 3)
