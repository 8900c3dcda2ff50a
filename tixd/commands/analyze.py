"""`tixd analyze PATH…`: every window of kept reports, without touching them.

In: folders, trees, .tar.gz archives. Out: a table, or one JSON object a line; what was left out, on
standard error. Rules: read only; the windows are those the daemon would post, one after the other.

The windows of `tixd analyze --by-as`: one row for each AS.

In: folder, origin and result of each window. Out: a table, or one JSON object a line. Rules: values
are means over the windows in which they are defined; the AS with most windows comes first.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tixd import bounded, errors
from tixd.analysis.observations import concatenate
from tixd.analysis.summary import Direction, Summary
from tixd.asn.origin import UNKNOWN, Origin
from tixd.asn.origins import Origins
from tixd.commands import Invocation, compare_truth, format_option
from tixd.reports.archive import Found, installations
from tixd.reports.model import Report
from tixd.reports.window import MEANINGFUL_SECONDS, MIN_OBSERVATIONS, windows
from tixd.results.payload import WindowResult, failed_report

#: Width of the table where nobody looks at it on a terminal: no line of it is ever folded.
_PLAIN_COLUMNS_of_by_as = 10_000

Window = tuple[str, Origin | None, Summary | None]


@dataclass(frozen=True, slots=True)
class Group:
    """What is known of the windows of one AS; origin: as one of them has it."""

    origin: Origin
    installations: int
    windows: int
    upstream: Direction
    downstream: Direction


def show_by_as(windows: Iterable[Window], form: str) -> None:
    """Print the groups as `form` says: "table" or "json"."""
    groups = grouped(windows)
    if form == "json":
        for group in groups:
            click.echo(_as_json_of_by_as(group))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("AS", no_wrap=True)
    ways = (f"{way} {name}" for way in ("up", "down") for name in ("usage", "qual.", "R/S", "wav."))
    for heading in ("inst.", "windows", *ways):
        table.add_column(heading, justify="right")
    for group in groups:
        counts = (str(group.installations), str(group.windows))
        table.add_row(Text(str(group.origin)), *counts, *_cells_of_by_as(group))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_COLUMNS_of_by_as
    if groups:
        console.print(table)


def grouped(windows: Iterable[Window]) -> list[Group]:
    """The windows by the number of their AS, that with most windows first."""
    by_asn: dict[int | None, list[Window]] = {}
    for window in windows:
        by_asn.setdefault((window[1] or UNKNOWN).asn, []).append(window)
    groups = [_group(members) for members in by_asn.values()]
    return sorted(groups, key=lambda group: (-group.windows, group.origin.asn or 0))


def _group(members: list[Window]) -> Group:
    summaries = [summary for _, _, summary in members if summary]
    return Group(
        origin=members[0][1] or UNKNOWN,
        installations=len({path for path, _, _ in members}),
        windows=len(members),
        upstream=_mean([summary.upstream for summary in summaries]),
        downstream=_mean([summary.downstream for summary in summaries]),
    )


def _mean(directions: list[Direction]) -> Direction:
    """The mean of each value; None where it is defined nowhere."""
    means = []
    for member in fields(Direction):
        values = [getattr(direction, member.name) for direction in directions]
        defined = [value for value in values if value is not None]
        means.append(statistics.fmean(defined) if defined else None)
    return Direction(*means)


def _values(way: Direction) -> list[float | None]:
    return [way.usage, way.quality, way.hurst_rs, way.hurst_wavelet]


def _cells_of_by_as(group: Group) -> list[str]:
    values = _values(group.upstream) + _values(group.downstream)
    return ["-" if value is None else f"{value:.2f}" for value in values]


def _as_json_of_by_as(group: Group) -> bytes:
    """One line: number and name of the AS, counts, and means of the values as computed."""
    means = WindowResult("", Summary(0, group.upstream, group.downstream))
    results = orjson.loads(failed_report(means))["results"]
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


_VALUES = ("usage", "qual.", "H R/S", "H wav.")
_UNDEFINED = Direction(None, None, None, None)
#: Width of a table that nobody looks at on a terminal: no line of it is ever folded.
_PLAIN_COLUMNS = 10_000


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
@format_option("json: one object a line, usage as computed (it may exceed 1)")
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
    elif by_as:
        show_by_as(((w.path, w.origin, w.summary) for w in analysed), form)
    elif form == "json":
        for window in analysed:
            click.echo(_as_json(window))
    else:
        _show(list(analysed))
    if survey.failed or not survey.any_report:
        sys.exit(1)


def _origins(invocation: Invocation, *, needed: bool) -> Origins:
    table = invocation.load().settings.asn_table
    if needed and not table:
        raise click.UsageError("--by-as needs an AS table: set TIX_ASN_TABLE")
    return Origins(table)


class _Survey:
    """Goes through the paths, says on standard error what is left out, remembers how it went."""

    def __init__(self, origins: Origins, analyse: compare_truth.Analyse) -> None:
        self._origins = origins
        self._analyse = analyse
        self.failed = False
        self.any_report = False

    def windows(self, path: str) -> Iterator[Analysed]:
        """All windows of all installations in `path`."""
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
            _say(f"{bounded.printable(path)}: no report found")
        self.any_report |= reports > 0

    def _fail(self, message: str) -> None:
        self.failed = True
        _say(message)


def _installation(
    found: Found, in_order: list[Report], origins: Origins, analyse: compare_truth.Analyse
) -> Iterator[Analysed]:
    """The windows of one installation; complaints about its files come first."""
    for complaint in found.complaints:
        _say(f"{found.path}: left out: {complaint}")
    if found.left_out > len(found.complaints):
        _say(f"{found.path}: left out: {found.left_out - len(found.complaints)} more files")
    made = 0
    for window in windows(in_order):
        made += 1
        summary = analyse(concatenate(report.observations for report in window))
        yield _analysed(found.path, window, summary, origins.of(window[0].source))
    if in_order and not made:
        _say(
            f"{found.path}: {len(in_order)} reports make no window: it takes {MIN_OBSERVATIONS}"
            f" observations of one source over {MEANINGFUL_SECONDS} s without a long gap"
        )


def _analysed(
    path: str, window: tuple[Report, ...], summary: Summary | None, origin: Origin | None
) -> Analysed:
    """What is kept of a window: nothing of its observations, of which there may be millions."""
    return Analysed(
        path,
        first=min(report.first for report in window),
        source=window[0].source,
        reports=len(window),
        observations=sum(report.count for report in window),
        summary=summary,
        origin=origin,
    )


def _say(message: str) -> None:
    click.echo(f"tixd analyze: {message}", err=True)


# --- output --------------------------------------------------------------------------------------


def _as_json(window: Analysed) -> bytes:
    """One line: values as computed; "result" is null where the window has no short packet."""
    result, origin = None, window.origin
    if window.summary:
        stored = orjson.loads(failed_report(WindowResult(window.source, window.summary)))
        result = stored["results"]
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


def _show(analysed: list[Analysed]) -> None:
    """For eyes on a terminal; plain columns, as wide as they need, for a pipe or a file."""
    console = Console(highlight=False, soft_wrap=True)
    if console.is_terminal:
        _show_groups(console, analysed)
    elif analysed:
        located = ["AS"] if analysed[0].origin else []
        table = _table(["installation", "from", *located], " ")
        for window in analysed:
            names = [window.path, window.source, *([str(window.origin)] if located else [])]
            table.add_row(*map(Text, names), *_cells(window))
        console.width = _PLAIN_COLUMNS
        console.print(table)


def _show_groups(console: Console, analysed: list[Analysed]) -> None:
    """One heading for the windows of each installation and source; 80 columns are enough."""
    for (path, source), group in groupby(analysed, key=lambda w: (w.path, w.source)):
        windows_of = list(group)
        place = f"  {windows_of[0].origin}" if windows_of[0].origin else ""
        console.print(Text.assemble((path, "bold"), f"  from {source}{place}"))
        table = _table([""], "\n")
        for window in windows_of:
            table.add_row("", *_cells(window))
        console.print(table)


def _table(first_headings: list[str], between_words: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in (*first_headings, "window (UTC)"):
        table.add_column(heading, no_wrap=True)
    ways = (f"{way}{between_words}{value}" for way in ("up", "down") for value in _VALUES)
    for heading in ("rep.", "obs.", *ways):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _cells(window: Analysed) -> list[str]:
    """Time, counts and values of both directions; "-" where a value is undefined."""
    when = datetime.fromtimestamp(window.first, UTC).strftime("%Y-%m-%d %H:%M")
    ways: tuple[Direction, ...] = (_UNDEFINED, _UNDEFINED)
    if window.summary:
        ways = (window.summary.upstream, window.summary.downstream)
    values = [v for way in ways for v in (way.usage, way.quality, way.hurst_rs, way.hurst_wavelet)]
    numbers = ["-" if value is None else f"{value:.2f}" for value in values]
    for place, way in zip((0, len(_VALUES)), ways, strict=True):
        numbers[place] += "" if way.usage_alt is None else f" ({way.usage_alt:.2f})"
    return [when, str(window.reports), str(window.observations), *numbers]
