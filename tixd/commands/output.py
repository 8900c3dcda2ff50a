"""Print the output of commands: counts, tables, ages, progress.

Rules: on a terminal a table may be folded or coloured; elsewhere it has one line a row, as wide as
it needs. rich is imported where it is needed, because it takes long.
"""

from __future__ import annotations

import csv
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tixd.config.fields import duration_seconds
from tixd.display import csv_cell

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Name of a count -> words, in the order in which they are shown.
WORDS = {
    "windows_posted": "windows analysed and posted",
    "windows_stored": "windows analysed, results kept",
    "windows_without_short": "windows without a short packet, no result",
    "windows_clock_set": "windows in which a clock was set",
    "windows_clock_not_credible": "windows whose clocks do not fit together",
    "results_reposted": "kept results posted",
    "results_refused": "tries of kept results that the tix-api refused",
    "results_rejected": "kept results rejected: tixd failed list shows them",
    "results_waiting": "results that had been kept before and still are",
    "reports_deleted": "reports deleted",
    "reports_discarded_source": "reports discarded: the source address changed",
    "reports_discarded_gap": "reports discarded: a gap, too little before it",
    "reports_discarded_crowded": "reports discarded: too many in too short a time",
    "reports_bad": "bad reports set aside in bad-reports",
    "reports_unreadable": "reports that cannot be read, passed over, see the log",
    "bad_reports_expired": "bad reports deleted: too old, or too many",
    "observations_duplicate": "observations that came twice, counted once",
    "journals_without_room": "windows without a journal: disk full",
    "reports_not_deleted": "deletions of finished reports that failed",
    "jobs_locked": "installations busy in another process",
    "jobs_vanished": "installations whose files vanished meanwhile",
    "jobs_failed": "installations skipped, see the log",
    "jobs_given_up": "installations given up: they crashed workers, see the log",
    "jobs_waiting": "installations that wait: they crashed workers",
    "worker_restarts_exit": "workers replaced: exited unexpectedly",
    "worker_restarts_signal": "workers replaced: ended by a signal",
    "worker_restarts_exception": "jobs retried: unexpected error, see the log",
    "worker_restarts_memory": "jobs retried: out of memory",
    "worker_restarts_time": "workers replaced: time limit exceeded",
    "jobs_not_finished": "installations left unfinished: stopped",
    "jobs_not_begun": "installations not looked at, or not again: stopped",
    "cycles": "scans completed",
    "cycles_failed": "scans that could not list the reports, see the log",
    "cycles_skipped": "cycles skipped: a scan was still running",
    "installations_skipped": "installations skipped: their job was still open",
    "messages_for_users": "cycles that asked the workers to scan the reports",
    "messages_fanned_out": "such messages turned into jobs here",
    "messages_expired": "messages dropped: expired",
    "messages_dead": "messages that are not jobs, now in tixd.dead",
}

#: The same for the collector.
COLLECTOR_WORDS = {
    "Records": "records accepted by all outputs",
    "RecordErrors": "records failed or unknown",
    "Requests": "requests, including pings",
    "RequestErrors": "requests not answered 200",
}

#: A label or a number at the beginning of a line, with the blanks around it.
_LABEL = re.compile(r" +\S+(?: table)? +")

#: Width of a table that is not shown on a terminal: none of its lines is folded.
PLAIN_COLUMNS = 10_000

#: A text has a column of its own where this much room is left for it.
MIN_TEXT_COLUMNS = 40

Command = TypeVar("Command", bound=Callable[..., Any])


def as_seconds(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Read the value of an option, a duration above zero: 30m, 2h, 1h30m; None: not given."""
    if value is None:
        return None
    try:
        seconds = duration_seconds(value)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise click.BadParameter(f"{value!r} is not a duration such as 30m, 2h or 1h30m")
    return seconds


def format_option(words: str, *more: str) -> Callable[[Command], Command]:
    """Add the option --format to a command that shows a table to people and JSON to programs.

    more: further formats, as "csv".
    """
    return click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json", *more]),
        default="table",
        show_default=True,
        help=words,
    )


def count_line(count: int, words: str) -> str:
    """Return a line of a summary.

    >>> count_line(12345, "reports deleted")
    '   12,345  reports deleted'
    """
    return f"{count:>9,}  {words}"


def count_lines(counts: Mapping[str, int], words: Mapping[str, str]) -> Iterator[str]:
    """Return a line for each count that is not zero."""
    return (count_line(counts[name], words[name]) for name in words if counts.get(name))


def terminal_columns() -> int:
    """Return how wide the terminal is; more than any line where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PLAIN_COLUMNS


def fold(
    lines: Iterable[str], columns: int | None = None, indent: int | None = None
) -> Iterator[str]:
    """Yield the lines, on a terminal folded between words; the rest of a line is indented.

    columns: the width; None: that of the terminal, without one no line is folded. indent: of the
    rest; None: to behind the label, if there is one.

    >>> list(fold(["  volume   answered 5 s ago"], 24))
    ['  volume   answered 5 s', '           ago']
    """
    columns = columns or terminal_columns()
    for line in lines:
        label = _LABEL.match(line)
        rest = " " * (indent or (label.end() if label else 2))
        if len(rest) + max(map(len, line.split()), default=0) > columns:
            rest = ""  # else its longest word would not fit
        yield from textwrap.wrap(
            line,
            columns,
            subsequent_indent=rest,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of words in columns, two blanks between them; no line is folded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        print("  ".join(map(str.ljust, cells, widths)).rstrip())


def print_rows(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of words; the last column is a text that breaks between words.

    headings: of several lines where they hold line breaks. The first column is set left, the
    others right; a text for which a terminal has no room beside them stands below.
    """
    lines = [heading.split("\n") for heading in headings[:-1]]
    columns = zip(lines, zip(*rows, strict=True), strict=False)
    widths = [max(map(len, (*heading, *cells))) for heading, cells in columns]
    indent = sum(widths) + 2 * len(widths)
    room = terminal_columns() - indent
    beside = room >= MIN_TEXT_COLUMNS
    height = max(map(len, lines))
    for at in range(height):
        words = [
            line[at - height + len(line)] if at >= height - len(line) else "" for line in lines
        ]
        text = headings[-1] if room > len(headings[-1]) and at == height - 1 else ""
        print(f"{_aligned(words, widths)}  {text}".rstrip())
    for *cells, text in rows:
        at_side = beside or len(text) <= room
        first, *others = wrapped(text, room if at_side else terminal_columns() - 4)
        line = _aligned(cells, widths)
        print(f"{line}  {first}".rstrip() if at_side else line.rstrip())
        for more in others if at_side else (first, *others):
            print(" " * (indent if at_side else 4) + more)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = map(str.rjust, cells, widths)
    return "  ".join([cells[0].ljust(len(first)), *others])


def wrapped(text: str, columns: int) -> list[str]:
    """Return the lines of a text that breaks between words; one empty line where it is empty."""
    if len(text) <= columns:
        return [text]
    return textwrap.wrap(text, columns, break_long_words=False, break_on_hyphens=False)


def print_csv(headings: Sequence[str], rows: Iterable[Iterable[str | float | None]]) -> None:
    """Print rows as CSV (RFC 4180) below a line of headings; None is an empty cell."""
    writer = csv.writer(sys.stdout)
    writer.writerow(headings)
    writer.writerows([csv_cell(cell) for cell in row] for row in rows)


def console() -> Console:
    """Return the console for tables: as wide as the terminal, else as wide as they need."""
    from rich.console import Console  # noqa: PLC0415

    found = Console(highlight=False, soft_wrap=True)
    if not found.is_terminal:
        found.width = PLAIN_COLUMNS
    return found


def number_table(words: Iterable[str], numbers: Iterable[str]) -> Table:
    """Make a table without lines: columns of words, then columns of numbers, by their headings."""
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in words:
        table.add_column(heading, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def print_table(console: Console, table: Table) -> None:
    """Print a table of numbers, none of which is cut where the terminal is too narrow."""
    console.width = max(console.width, table_columns(console, table))
    console.print(table)


def table_columns(console: Console, table: Table) -> int:
    """Return how many columns a table needs so that nothing of it is cut or folded."""
    from rich.measure import Measurement  # noqa: PLC0415

    widest = console.options.update(max_width=PLAIN_COLUMNS)
    return Measurement.get(console, widest, table).maximum


def print_sections(console: Console, table: Table, titles: Mapping[int, Sequence[str]]) -> None:
    """Print a table whose rows take a line each, with lines of text between them.

    titles: lines above a row, by its number from 0; a long one breaks between words.
    """
    columns = console.width
    with console.capture() as capture:
        print_table(console, table)
    lines = capture.get().splitlines()
    heading = len(lines) - table.row_count
    for number, line in enumerate(lines):
        for title in titles.get(number - heading, ()):
            print_text(title, columns)
        click.echo(line.rstrip())


def print_entries(entries: Iterable[tuple[str, str]]) -> None:
    """Print words with their meanings below; a terminal breaks a meaning between words."""
    columns = terminal_columns()
    for word, meaning in entries:
        print(word)
        print(textwrap.fill(meaning, columns, initial_indent="    ", subsequent_indent="    "))


def print_note(text: str) -> None:
    """Print a line on standard error; on a terminal it breaks between words."""
    columns = shutil.get_terminal_size().columns if sys.stderr.isatty() else PLAIN_COLUMNS
    print_text(text, columns, err=True)


def print_text(text: str, columns: int, *, err: bool = False) -> None:
    """Print a text that breaks between words where it is longer than `columns`."""
    for line in fold([text], columns):
        click.echo(line, err=err)


@contextmanager
def progress_bar(what: str, *, share: bool = False) -> Iterator[Callable[[int, int], object]]:
    """Show a bar on a terminal, on standard error; yield a function of (done, total).

    share: show per cent instead of the two numbers.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich import progress  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    columns = (
        progress.TextColumn(what, markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn() if share else progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
