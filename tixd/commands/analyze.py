"""`tixd analyze PATH...`: every window of kept reports, without touching them.

Rules: read only; the windows are those the daemon would post, one after the other; what is left out
is named on standard error.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tixd import bounded, errors, logs
from tixd.analysis.noise import remembered
from tixd.analysis.observations import MEANINGFUL_SECONDS, concatenate
from tixd.analysis.summary import Direction, Summary
from tixd.asn.lookup import OriginLookup
from tixd.asn.origin import UNKNOWN, Origin
from tixd.commands import Invocation, compare_truth, output
from tixd.reports.archive import Found, installations
from tixd.reports.model import Report
from tixd.reports.window import MIN_OBSERVATIONS, windows
from tixd.results.payload import WindowResult, failed_report

#: Values of a direction that are shown, by their headings.
_VALUES = ("usage", "qual.", "H R/S", "H wav.")

#: A direction of a window without a short packet.
_UNDEFINED = Direction(None, None, None, None)


@dataclass(frozen=True, slots=True)
class Analysed:
    """One window of the folder `path` and its result; None where it has no short packet.

    first: its first epoch second; source: the address that all its reports came from; reports,
    observations: how many it holds, duplicates included; origin: the AS that it came from; None
    where no AS table is set.
    """

    path: str
    first: int
    source: str
    reports: int
    observations: int
    summary: Summary | None
    origin: Origin | None


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@output.format_option("json: one object a line, usage as computed (it may exceed 1)")
@click.option("--by-as", is_flag=True, help="one row for each AS: means over its windows")
@compare_truth.estimator_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    paths: tuple[str, ...],
    form: str,
    by_as: bool,
    estimator: str,
    truth: Path | None,
) -> None:
    """Show the result of every window of the reports in PATH.

    PATH is a folder, a tree of folders or a .tar.gz archive, which is not unpacked. Each folder
    that holds reports is one installation. Nothing is changed, posted or locked. Where an AS table
    is set (TIX_ASN_TABLE), the AS that the reports came from is shown.

    Exit code 1: a PATH is missing or damaged, or no PATH holds a report; FILE states no truth.

    \b
    Example: the reports of one installation, an archive as JSON, and estimates beside the truth
      tixd analyze /var/lib/tix/reports/23/37
      tixd analyze --format json reports.tar.gz
      tixd analyze --truth description.yml reports.tar.gz
    """
    stated = compare_truth.read_truth(truth) if truth else None
    analyse = compare_truth.analysis_by("both" if stated else estimator)
    survey = _Survey(_origins(invocation, needed=by_as), analyse)
    analysed = (window for path in paths for window in survey.windows(path))
    if stated:
        compare_truth.show(((w.path, w.first, w.summary) for w in analysed), stated, form)
    elif form == "json":
        for line in map(_group_json, _by_as(analysed)) if by_as else map(_window_json, analysed):
            click.echo(line)
    elif by_as:
        _show_by_as(_by_as(analysed))
    else:
        _show(list(analysed))
    if survey.failed or not survey.any_report:
        sys.exit(1)


def _origins(invocation: Invocation, *, needed: bool) -> OriginLookup:
    table = invocation.load().settings.asn_table
    if needed and not table:
        raise click.UsageError("--by-as needs an AS table: set TIX_ASN_TABLE")
    logs.set_up("WARNING", "text", "stderr")
    return OriginLookup(table)


# --- windows -------------------------------------------------------------------------------------


class _Survey:
    """Go through the paths, name on standard error what is left out, remember failures."""

    def __init__(self, origins: OriginLookup, analyse: compare_truth.Analyse) -> None:
        self._origins = origins
        self._analyse = analyse
        self.failed = False
        self.any_report = False

    def windows(self, path: str) -> Iterator[Analysed]:
        """Yield all windows of all installations in `path`."""
        if not os.path.exists(path):
            self._fail(f"{bounded.printable(path)}: there is no such file or folder")
            return
        reports = 0
        try:
            for found in installations(path):
                in_order = found.reports()
                reports += len(in_order)
                yield from _installation(found, in_order, self._origins, self._analyse)
        except (errors.BadArchive, errors.VolumeError) as error:
            self._fail(str(error))
        if not reports:
            _print_note(f"{bounded.printable(path)}: no report found")
        self.any_report |= reports > 0

    def _fail(self, message: str) -> None:
        self.failed = True
        _print_note(message)


def _installation(
    found: Found, in_order: list[Report], origins: OriginLookup, analyse: compare_truth.Analyse
) -> Iterator[Analysed]:
    """Yield the windows of one installation; complaints about its files come first."""
    for complaint in found.complaints:
        _print_note(f"{found.path}: left out: {complaint}")
    if found.left_out > len(found.complaints):
        _print_note(f"{found.path}: left out: {found.left_out - len(found.complaints)} more files")
    made = 0
    spreads: tuple[float, ...] = ()
    for window in windows(in_order):
        made += 1
        summary = analyse(concatenate(report.observations for report in window), spreads)
        if summary and summary.spread_ns is not None:
            spreads = remembered(spreads, summary.spread_ns)
        yield _analysed(found.path, window, summary, origins.lookup(window[0].source))
    if in_order and not made:
        _print_note(
            f"{found.path}: {len(in_order)} reports make no window: it takes {MIN_OBSERVATIONS}"
            f" observations of one source over {MEANINGFUL_SECONDS} s without a long gap"
        )


def _analysed(
    path: str, window: tuple[Report, ...], summary: Summary | None, origin: Origin | None
) -> Analysed:
    """Drop a window's observations, of which there may be millions."""
    return Analysed(
        path,
        first=min(report.first for report in window),
        source=window[0].source,
        reports=len(window),
        observations=sum(report.count for report in window),
        summary=summary,
        origin=origin,
    )


def _print_note(message: str) -> None:
    click.echo(f"tixd analyze: {message}", err=True)


def _window_json(window: Analysed) -> bytes:
    """Return one line: values as computed; "result" is null where there is no short packet."""
    result = window.summary and _results(window.source, window.summary)
    origin = window.origin
    return orjson.dumps(
        {
            "path": window.path,
            "window": window.first,
            "ip": window.source,
            **({"asn": origin.asn, "asName": origin.name} if origin else {}),
            "reports": window.reports,
            "observations": window.observations,
            "result": result,
        }
    )


def _results(source: str, summary: Summary) -> dict[str, object]:
    """Return the values as in a kept result."""
    found: dict[str, object] = orjson.loads(failed_report(WindowResult(source, summary)))["results"]
    return {**found, "clock": summary.clock}


def _show(analysed: list[Analysed]) -> None:
    """Show tables on a terminal, plain columns in a pipe or a file."""
    console = output.console()
    if console.is_terminal:
        _show_installations(console, analysed)
    elif analysed:
        located = ["AS"] if analysed[0].origin else []
        clock = _clock_heading(analysed)
        words = ["installation", "from", *located, *clock, "window (UTC)"]
        table = _table(words, ["rep.", "obs."], " ")
        for window in analysed:
            names = [window.path, window.source, *([str(window.origin)] if located else [])]
            names += [_clock(window)] if clock else []
            table.add_row(*map(Text, names), *_window_cells(window))
        output.print_table(console, table)


def _show_installations(console: Console, analysed: list[Analysed]) -> None:
    """Show the windows of each installation and source below their names, in 80 columns."""
    for (path, source), group in groupby(analysed, key=lambda w: (w.path, w.source)):
        members = list(group)
        place = f"  {members[0].origin}" if members[0].origin else ""
        console.print(Text.assemble((path, "bold"), f"  from {source}{place}"))
        clock = _clock_heading(members)
        table = _table(["", *clock, "window (UTC)"], ["rep.", "obs."], "\n")
        for window in members:
            table.add_row("", *([_clock(window)] if clock else []), *_window_cells(window))
        output.print_table(console, table)


def _clock_heading(analysed: list[Analysed]) -> list[str]:
    """Return the heading of the clocks' column, where a clock was set in any of the windows."""
    return ["clock"] if any(map(_clock, analysed)) else []


def _clock(window: Analysed) -> str:
    """Describe what is wrong with the clocks of a window; "" where they fit together."""
    verdict = window.summary.clock if window.summary else "fine"
    return "" if verdict == "fine" else verdict


def _table(words: list[str], counts: list[str], between_words: str) -> Table:
    """Make a table with a column for each value of both directions after words and counts."""
    values = [f"{way}{between_words}{value}" for way in ("up", "down") for value in _VALUES]
    return output.number_table(words, counts + values)


def _window_cells(window: Analysed) -> list[str]:
    ways = (_UNDEFINED, _UNDEFINED)
    if window.summary:
        ways = (window.summary.upstream, window.summary.downstream)
    counts = [str(window.reports), str(window.observations)]
    return [output.minute(window.first), *counts, *_value_cells(ways)]


def _value_cells(ways: Iterable[Direction]) -> list[str]:
    """Return the values of both directions; usage by the other estimator is in brackets.

    With the reading by delayed probes stands how far off it may be, and ~ where it is unsteady.
    """
    cells = []
    for way in ways:
        usage, *others = (
            output.number(value, 2)
            for value in (way.usage, way.quality, way.hurst_rs, way.hurst_wavelet)
        )
        width = "" if way.width is None else f"\u00b1{way.width:.2f}{'~' if way.unsteady else ''}"
        other = width if way.usage_alt is None else f" ({way.usage_alt:.2f}{width})"
        cells += [usage + other, *others]
    return cells


# --- by AS ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """The windows of one AS: means of values over the windows in which they are defined.

    origin: as one of the windows has it.
    """

    origin: Origin
    installations: int
    windows: int
    upstream: Direction
    downstream: Direction


def _by_as(analysed: Iterable[Analysed]) -> list[Group]:
    """Group windows by the number of their AS; that with most windows comes first."""
    by_asn: dict[int | None, list[tuple[str, Origin, Summary | None]]] = {}
    for window in analysed:
        origin = window.origin or UNKNOWN
        by_asn.setdefault(origin.asn, []).append((window.path, origin, window.summary))
    groups = [_group(members) for members in by_asn.values()]
    return sorted(groups, key=lambda group: (-group.windows, group.origin.asn or 0))


def _group(members: list[tuple[str, Origin, Summary | None]]) -> Group:
    summaries = [summary for _, _, summary in members if summary]
    return Group(
        origin=members[0][1],
        installations=len({path for path, _, _ in members}),
        windows=len(members),
        upstream=_mean([summary.upstream for summary in summaries]),
        downstream=_mean([summary.downstream for summary in summaries]),
    )


def _mean(directions: list[Direction]) -> Direction:
    """Return the mean of each value; None where it is defined nowhere."""

    def mean(name: str) -> float | None:
        values = [getattr(direction, name) for direction in directions]
        defined = [value for value in values if value is not None]
        return statistics.fmean(defined) if defined else None

    hurst = mean("hurst_rs"), mean("hurst_wavelet")
    return Direction(mean("usage"), mean("quality"), *hurst, mean("usage_alt"), mean("width"))


def _group_json(group: Group) -> bytes:
    """Return one line: number and name of the AS, counts, and means of the values as computed."""
    results = _results("", Summary(0, group.upstream, group.downstream))
    return orjson.dumps(
        {
            "asn": group.origin.asn,
            "asName": group.origin.name,
            "installations": group.installations,
            "windows": group.windows,
            "upstream": results["upstream"],
            "downstream": results["downstream"],
        }
    )


def _show_by_as(groups: list[Group]) -> None:
    console = output.console()
    table = _table(["AS"], ["inst.", "windows"], "\n" if console.is_terminal else " ")
    for group in groups:
        counts = (str(group.installations), str(group.windows))
        cells = _value_cells((group.upstream, group.downstream))
        table.add_row(Text(str(group.origin)), *counts, *cells)
    if groups:
        output.print_table(console, table)
