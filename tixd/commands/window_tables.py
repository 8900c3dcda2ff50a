"""Show windows in one table, in the form that the terminal has room for.

Rules: one heading; what rows have in common (folder or archive, source with its AS, day) stands
once above them; nothing is cut. In a pipe or a file each row has all of it in one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tixd import display
from tixd.commands import output
from tixd.commands.window_values import SURE, Analysed, Group, outside, way_values

#: Terminals from here on show all values of a window in one line.
WIDE_COLUMNS = 120

#: Marks behind values: outside their range, two halves that differ, two estimators that differ.
OUTSIDE, UNSTEADY, DISPUTED = "!", "~", "?"

#: The two directions in the order of their results.
WAYS = ("up", "down")

#: Values of a direction: their names, and their headings.
_VALUES = ("usage", "quality", "hurst.rs", "hurst.wavelet")
VALUE_HEADINGS = ("usage", "qual.", "H R/S", "H wav.")

#: Says when, at the end of every table on a terminal.
UNTIL = (
    "until: the second of a window's last packet, which is the timestamp of its result. The values"
    " are of the ten minutes up to it."
)


@dataclass(frozen=True, slots=True)
class Style:
    """What is shown of usage: as computed or as posted; the other estimator's too; its width."""

    raw: bool = False
    both: bool = False
    widths: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """A way to lay windows out.

    headings: of the columns behind folder and time, "<" first where they are words; cells: the rows
    that a window has, with a cell for each heading; named: whether the folder has a column, else
    it stands above the rows.
    """

    headings: Sequence[str]
    cells: Callable[[Analysed], list[list[str]]]
    named: bool = True


def print_forms(console: Console, windows: Sequence[Analysed], forms: Iterable[Form]) -> Form:
    """Print windows in the first form that the terminal has room for, or the last; return it."""
    for form in forms:
        table, titles = _laid_out(windows, form)
        if output.table_columns(console, table) <= console.width:
            break
    output.print_sections(console, table, titles)
    return form


def _laid_out(windows: Sequence[Analysed], form: Form) -> tuple[Table, dict[int, list[str]]]:
    """Return the table of a form, and the titles between its rows."""
    rows: list[list[str]] = []
    titles: dict[int, list[str]] = {}
    before: tuple[str, ...] = ("", "", "")
    for window in windows:
        shared = _shared(window, named=form.named)
        top, line, _ = shared
        if top != before[0]:
            titles[len(rows)] = [top, line]
        elif line != before[1]:
            titles[len(rows)] = [line]
        name = [window.name if shared != before else ""] * form.named
        time = until(window)[-5:]
        for number, cells in enumerate(form.cells(window)):
            first = [*name, time] if number == 0 else [""] * (len(name) + 1)
            rows.append([*first, *cells])
        before = shared
    folder = ["<\nfolder"] * form.named
    return table_of([*folder, "10 min\nuntil", *form.headings], rows), titles


def _shared(window: Analysed, *, named: bool) -> tuple[str, str, str]:
    """Return what stands above the rows that have it in common, and the folder."""
    day = display.minute(window.summary.timestamp if window.summary else window.first)[:10]
    place = f", {window.origin}" if window.origin else ""
    line = f"{day} (UTC), from {window.source}{place}"
    return window.top, line if named else f"{window.name}: {line}", window.name


def table_of(headings: Iterable[str], rows: Sequence[list[str]]) -> Table:
    """Make a table; a heading with "<" first is of words, any other of numbers."""
    table = output.number_table((), ())
    for heading in headings:
        justify: Any = "left" if heading.startswith("<") else "right"
        table.add_column(heading.removeprefix("<"), justify=justify, no_wrap=True)
    columns = [_with_room_for_marks(column) for column in zip(*rows, strict=True)]
    for cells in zip(*columns, strict=True):
        table.add_row(*map(Text, cells))
    return table


def _with_room_for_marks(cells: Sequence[str]) -> list[str]:
    """Put blanks behind numbers without marks, so that all stand below each other."""
    marks = [len(cell) - len(cell.rstrip(OUTSIDE + UNSTEADY + DISPUTED)) for cell in cells]
    most = max(marks)
    return [cell + " " * (most - own) for cell, own in zip(cells, marks, strict=True)]


def until(window: Analysed) -> str:
    """Return the minute of a window's timestamp; "-" where it has no short packet."""
    return display.minute(window.summary.timestamp) if window.summary else "-"


# --- windows -------------------------------------------------------------------------------------


def show_windows(
    console: Console, windows: Sequence[Analysed], *, raw: bool = False, both: bool = False
) -> None:
    """Show windows; raw: usage as computed; both: usage by the other estimator too."""
    if not windows:
        return
    plain, full = Style(raw, both), Style(raw, both, widths=True)
    if not console.is_terminal:
        output.print_table(console, _lines(windows, full))
        return
    abreast = _abreast("\n", VALUE_HEADINGS)
    wide = Form(["rep.", "obs.", *abreast, "<sure"], lambda w: [[*_counts(w), *_row(w, full)]])
    compact = Form([*abreast, "<sure"], lambda w: [_row(w, plain)])
    by_way = ["<\nway", *VALUE_HEADINGS, "<sure"]
    each = [Form(by_way, lambda w: _by_way(w, full), named) for named in (True, False)]
    forms = [wide] * (console.width >= WIDE_COLUMNS) + [compact] * (not both) + each
    columns = console.width
    form = print_forms(console, windows, forms)
    for note in _notes(windows, plain if form is compact else full):
        output.print_text(note, columns)


def _lines(windows: Sequence[Analysed], style: Style) -> Table:
    """Make the table of a pipe: everything in each row."""
    located = ["<AS"] * bool(windows[0].origin)
    headings = ["<installation", "<from", *located, "<until (UTC)", "rep.", "obs."]
    rows = []
    for window in windows:
        names = [window.path, window.source, *[str(window.origin)] * len(located)]
        rows.append([*names, until(window), *_counts(window), *_row(window, style)])
    return table_of([*headings, *_abreast(" ", VALUE_HEADINGS), "<sure"], rows)


def _abreast(between: str, headings: Iterable[str]) -> list[str]:
    """Return headings for the values of both directions in one row."""
    return [f"{way}{between}{heading}" for way, heading in product(WAYS, headings)]


def _counts(window: Analysed) -> list[str]:
    return [str(window.reports), str(window.observations)]


def _row(window: Analysed, style: Style) -> list[str]:
    ways = (value_cells(way_values(window, number), style, window) for number in (0, 1))
    return [*(cell for cells in ways for cell in cells), window.sure or "-"]


def _by_way(window: Analysed, style: Style) -> list[list[str]]:
    rows = []
    for number, word in enumerate(WAYS):
        values = way_values(window, number)
        rows.append([word, *value_cells(values, style, window), values["sure"] or "-"])
    return rows


def value_cells(values: Mapping[str, Any], style: Style, of: Analysed | Group) -> list[str]:
    """Return usage, quality and both Hurst estimates of a direction, with their marks."""
    others = (_marked(values[name], values[name]) for name in _VALUES[1:])
    return [_usage(values, style, of), *others]


def _usage(values: Mapping[str, Any], style: Style, of: Analysed | Group) -> str:
    """Return usage; by delayed probes with its width, the other estimator's in brackets."""
    usage = _marked(values["usage" if style.raw else "usagePosted"], values["usage"])
    width = f"\u00b1{values['usageWidth']:.2f}" if style.widths and values["usageWidth"] else ""
    unsteady = UNSTEADY if values.get("unsteady") else ""
    if of.estimator == "delayed-probes":
        return usage + width + unsteady
    usage += DISPUTED if values.get("sure") == "disputed" else ""
    if style.both:
        return f"{usage} ({display.number(values['usageAlt'], 2)}{width}{unsteady})"
    return usage + unsteady


def _marked(shown: float | None, computed: float | None) -> str:
    return display.number(shown, 2) + (OUTSIDE if outside(computed) else "")


def _notes(windows: Sequence[Analysed], style: Style) -> Iterator[str]:
    """Explain what is in the table, and no more."""
    yield UNTIL
    other = ", in brackets by delayed-probes" if style.both else ""
    yield f"usage: by {windows[0].estimator}{other}."
    if style.widths and (style.both or windows[0].estimator == "delayed-probes"):
        yield "\u00b1: 95 of 100 readings by delayed-probes were nearer to the truth."
    ways = [way_values(window, number) for window in windows for number in (0, 1)]
    if any(outside(values[name]) for values in ways for name in _VALUES):
        posted = "" if style.raw else " Usage is shown as it is posted; --raw shows it as computed."
        yield f"{OUTSIDE} is outside 0 to 1.{posted}"
    if any(values["unsteady"] for values in ways):
        yield f"{UNSTEADY} unsteady: {SURE['unsteady']}."
    if any(values["sure"] == "disputed" for values in ways):
        yield f"{DISPUTED} disputed: {SURE['disputed']}."
    found = {window.sure for window in windows} & {"clock-set", "clock-bad"}
    yield from (f"{word}: {SURE[word]}." for word in SURE if word in found)
    yield "What each word means: tixd explain"


# --- by AS ---------------------------------------------------------------------------------------


def show_groups(console: Console, groups: Sequence[Group], *, raw: bool = False) -> None:
    """Show a row for each AS, or two below its name where the terminal is narrow."""
    if not groups:
        return
    columns, style = console.width, Style(raw, widths=True)
    wide = _groups_abreast(groups, style, "\n" if console.is_terminal else " ")
    if output.table_columns(console, wide) <= columns:
        output.print_table(console, wide)
    else:
        titles = {2 * number: [str(group.origin)] for number, group in enumerate(groups)}
        output.print_sections(console, _groups_by_way(groups, style), titles)
    if console.is_terminal:
        output.print_text(
            f"Means over all windows of an AS; usage: by {groups[0].estimator}. What each word"
            " means: tixd explain",
            columns,
        )


def _groups_abreast(groups: Sequence[Group], style: Style, between: str) -> Table:
    rows = []
    for group in groups:
        ways = (value_cells(way, style, group) for way in group.ways)
        cells = [cell for way in ways for cell in way]
        rows.append([str(group.origin), *_members(group), *cells])
    return table_of(["<AS", "inst.", "windows", *_abreast(between, VALUE_HEADINGS)], rows)


def _groups_by_way(groups: Sequence[Group], style: Style) -> Table:
    rows = []
    for group, (number, word) in product(groups, enumerate(WAYS)):
        members = ["", ""] if number else _members(group)
        rows.append([*members, word, *value_cells(group.ways[number], style, group)])
    return table_of(["inst.", "windows", "<way", *VALUE_HEADINGS], rows)


def _members(group: Group) -> list[str]:
    return [str(group.installations), str(group.windows)]
