"""`tixd analyze PATH...`: every window of kept reports, without touching them.

Rules: read only; the windows are those the daemon would post, one after the other; what is left out
is named on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click
import orjson

from tixd import bounded, display, errors, logs
from tixd.analysis.noise import remembered
from tixd.analysis.observations import MEANINGFUL_SECONDS, concatenate
from tixd.analysis.summary import Estimator, Summary, analyse
from tixd.analysis.traces import trace_of
from tixd.asn.lookup import OriginLookup
from tixd.commands import Invocation, compare_truth, output, window_tables
from tixd.commands.html_report import MAX_PICTURES
from tixd.commands.pictures import Pictures
from tixd.commands.window_values import (
    AS_CSV_COLUMNS,
    CSV_COLUMNS,
    WAYS,
    Analysed,
    agreement_json,
    by_as,
    group_csv,
    group_json,
    window_csv,
    window_json,
)
from tixd.reports.archive import Found, installations
from tixd.reports.model import Report
from tixd.reports.window import MIN_OBSERVATIONS, windows
from tixd.simulation.evaluation import Truth


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options that say what is shown; form: table, json or csv."""

    form: str
    both: bool
    raw: bool
    truth: bool


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@output.format_option(
    "table to read; csv for R, pandas, spreadsheets; json: a line a window", "csv"
)
@click.option("--by-as", "is_by_as", is_flag=True, help="one row for each AS: means of its windows")
@click.option(
    "--estimator",
    type=click.Choice(["mode", "delayed-probes", "both"]),
    default="mode",
    show_default=True,
    help="how usage is computed; both: by delayed probes in brackets",
)
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(),
    help="draw the windows too, as FILE.svg, .png or .pdf (needs matplotlib)",
)
@click.option("--raw", is_flag=True, help="tables: usage as computed, which may exceed 1")
@click.option(
    "--report",
    metavar="FILE.html",
    type=click.Path(),
    help=f"write a page with tables and pictures too, pictures of the first {MAX_PICTURES}"
    " installations, each about 0.4 MB (needs matplotlib)",
)
@click.option(
    "--truth",
    metavar="FILE|inside",
    type=click.Path(),
    help="description.yml with the true usage; inside: the one that PATH holds",
)
@click.option(
    "--window",
    metavar="UNTIL",
    help="with --plot: draw only the window until this time (UTC), as 03:54 or 2026-11-30T03:54",
)
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    paths: tuple[str, ...],
    form: str,
    is_by_as: bool,
    estimator: str,
    plot: str | None,
    raw: bool,
    report: str | None,
    truth: str | None,
    window: str | None,
) -> None:
    """Show the result of every window of the reports in PATH.

    PATH is a folder, a tree of folders or a .tar.gz archive, which is not unpacked; archives in a
    tree are read too. Each folder that holds reports is one installation. Nothing is changed,
    posted or locked.

    A window is about 18 minutes of reports. Its values (usage, quality and two Hurst exponents, up
    and down) are of the ten minutes until its last packet. `tixd explain` says what each means, and
    `tixd manual analyze` has all columns of CSV and members of JSON. Where an AS table is set
    (TIX_ASN_TABLE), the AS that the reports came from is shown.

    Exit code 1: a PATH is missing, damaged or of another kind, or no PATH holds a report; no truth
    is known of any window; no picture or report could be written.

    \b
    Examples: an archive; for R or pandas; beside its truth; pictures of it
      tixd analyze reports.tar.gz
      tixd analyze --format csv reports.tar.gz > windows.csv
      tixd analyze --truth inside reports.tar.gz
      tixd analyze --report lines.html reports.tar.gz
    """
    if truth and is_by_as:
        raise click.UsageError("--truth and --by-as exclude each other")
    asked = _Asked(form, estimator == "both", raw, truth is not None)
    source, pictures = compare_truth.TruthSource(truth), Pictures(plot, window, report)
    by: Estimator = "delayed-probes" if estimator == "delayed-probes" else "mode"
    survey = _Survey(_origins(invocation, needed=is_by_as), by, source, pictures)
    analysed = pictures.follow(found for path in paths for found in survey.windows(path))
    truth_known = True
    if is_by_as:
        _show_groups(analysed, asked)
    elif asked.truth or form == "table":
        truth_known = _show(list(analysed), asked)
    else:
        _print_lines(analysed, asked)
    pictures.write(_settings(invocation, truth))
    if survey.failed or not survey.any_report or not truth_known:
        sys.exit(1)


def _settings(invocation: Invocation, truth: str | None) -> dict[str, str]:
    """Return the settings that a report shows."""
    table = invocation.load().settings.asn_table
    return {"truth": truth or "not asked for", "AS table": table or "none (TIX_ASN_TABLE)"}


def _origins(invocation: Invocation, *, needed: bool) -> OriginLookup:
    table = invocation.load().settings.asn_table
    if needed and not table:
        raise click.UsageError("--by-as needs an AS table: set TIX_ASN_TABLE")
    logs.set_up("WARNING", "text", "stderr")
    return OriginLookup(table)


# --- windows -------------------------------------------------------------------------------------


class _Survey:
    """Go through the paths, name on standard error what is left out, remember failures."""

    def __init__(
        self,
        origins: OriginLookup,
        estimator: Estimator,
        truth: compare_truth.TruthSource,
        pictures: Pictures,
    ) -> None:
        self._origins = origins
        self._estimator = estimator
        self._truth = truth
        self._pictures = pictures
        self._told: set[str] = set()
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
                yield from self._installation(found, in_order)
        except errors.NotAnArchive as error:
            self._fail(str(error))
            return
        except (errors.BadArchive, errors.VolumeError) as error:
            self._fail(str(error))
        if not reports:
            _print_note(f"{bounded.printable(path)}: no report found")
        self.any_report |= reports > 0

    def _fail(self, message: str) -> None:
        """Remember a failure, and tell each once."""
        self.failed = True
        if message not in self._told:
            self._told.add(message)
            _print_note(message)

    def _installation(self, found: Found, in_order: list[Report]) -> Iterator[Analysed]:
        """Yield the windows of one installation; complaints about its files come first."""
        self.failed |= found.damaged
        _print_complaints(found)
        truth = self._truth_of(found) if in_order else None
        made = 0
        spreads: tuple[float, ...] = ()
        for window in windows(in_order):
            made += 1
            rows = concatenate(report.observations for report in window)
            result = analyse(rows, self._estimator, both=True, spreads=spreads)
            summary = result and result[0]
            if summary and summary.spread_ns is not None:
                spreads = remembered(spreads, summary.spread_ns)
            analysed = self._analysed(found, window, summary, truth)
            if self._pictures.wanted:
                self._pictures.add(analysed, result and trace_of(*result, self._estimator))
            yield analysed
        if in_order and not made:
            _print_note(
                f"{found.path}: {len(in_order)} reports make no window: it takes {MIN_OBSERVATIONS}"
                f" observations of one source over {MEANINGFUL_SECONDS} s without a long gap"
            )

    def _truth_of(self, found: Found) -> Truth | None:
        try:
            return self._truth.of(found)
        except errors.BadDescription as error:
            self._fail(error.detail)
            return None

    def _analysed(
        self,
        found: Found,
        window: tuple[Report, ...],
        summary: Summary | None,
        truth: Truth | None,
    ) -> Analysed:
        """Drop a window's observations, of which there may be millions."""
        first, source = min(report.first for report in window), window[0].source
        return Analysed(
            found.top,
            found.path,
            first=first,
            source=source,
            reports=len(window),
            observations=sum(report.count for report in window),
            estimator=self._estimator,
            summary=summary,
            origin=self._origins.lookup(source),
            truth=compare_truth.truth_of(summary, first, truth),
        )


def _print_complaints(found: Found) -> None:
    for complaint in found.complaints:
        _print_note(f"{found.path}: left out: {complaint}")
    if found.left_out > len(found.complaints):
        _print_note(f"{found.path}: left out: {found.left_out - len(found.complaints)} more files")


def _print_note(message: str) -> None:
    output.print_note(f"tixd analyze: {message}")


# --- output --------------------------------------------------------------------------------------


def _show(analysed: list[Analysed], asked: _Asked) -> bool:
    """Show all windows; return whether a truth is known of any, where it is asked for."""
    if asked.form != "table":
        _print_lines(analysed, asked)
    elif asked.truth:
        compare_truth.show(output.console(), analysed)
    else:
        window_tables.show_windows(output.console(), analysed, raw=asked.raw, both=asked.both)
    if not asked.truth:
        return True
    if asked.form == "json":
        for way, estimator, found in compare_truth.agreements(analysed):
            click.echo(orjson.dumps(agreement_json(WAYS[way], estimator, found)))
    known = any(window.truth != (None, None) for window in analysed)
    line = (
        compare_truth.outside_line(analysed) if known else "the truth is not known for any window"
    )
    if line:
        _print_note(line)
    return known


def _print_lines(analysed: Iterable[Analysed], asked: _Asked) -> None:
    """Print windows as CSV or JSON, each as soon as it is found."""
    if asked.form == "csv":
        rows = (window_csv(window, display.iso_time) for window in analysed)
        output.print_csv(tuple(CSV_COLUMNS), rows)
        return
    for window in analysed:
        click.echo(orjson.dumps(window_json(window)))


def _show_groups(analysed: Iterable[Analysed], asked: _Asked) -> None:
    groups = by_as(analysed)
    if asked.form == "csv":
        output.print_csv(AS_CSV_COLUMNS, map(group_csv, groups))
    elif asked.form == "json":
        for group in groups:
            click.echo(orjson.dumps(group_json(group)))
    else:
        window_tables.show_groups(output.console(), groups, raw=asked.raw)
