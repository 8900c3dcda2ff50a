"""`tixd analyze --estimator` and `--truth`: estimates of usage, beside what a line really carried.

Rules: estimates are limited to 0..1, as they are posted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import click
import orjson
from rich.table import Table
from rich.text import Text

from tixd import errors
from tixd.analysis.observations import MEANINGFUL_SECONDS, Observations
from tixd.analysis.summary import Estimator, Summary, summarise
from tixd.commands import output
from tixd.config import values
from tixd.simulation.evaluation import (
    MAX_BYTES,
    Agreement,
    Truth,
    agreement,
    covered,
    expected,
    read,
)

#: Analyses the observations of a window, with the spreads of the installation's earlier windows.
Analyse = Callable[[Observations, Sequence[float]], Summary | None]

#: No truth is known of a window of whose last ten minutes the schedule covers a smaller share.
LEAST_COVERED = 0.5

Way = Literal["upstream", "downstream"]
_WAYS: tuple[Way, ...] = ("upstream", "downstream")


@dataclass(frozen=True, slots=True)
class Compared:
    """One direction of one window: its true usage and both estimates, each 0..1."""

    path: str
    window: int
    way: Way
    truth: float
    mode: float
    delayed_probes: float


def estimator_options(command: output.Command) -> output.Command:
    """Add the options --estimator and --truth to a command that analyses windows."""
    estimator = click.option(
        "--estimator",
        type=click.Choice([*get_args(Estimator), "both"]),
        default="mode",
        show_default=True,
        help="how usage is computed; both: by delayed probes in brackets (JSON: usageAlt)",
    )
    truth = click.option(
        "--truth",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="description.yml that states the true usage: show it, and both estimates' errors",
    )
    return estimator(truth(command))


def analysis_by(estimator: str) -> Analyse:
    """Return what analyses a window as --estimator says."""
    if estimator == "both":
        return lambda rows, spreads: summarise(rows, both=True, spreads=spreads)
    return lambda rows, spreads: summarise(rows, cast(Estimator, estimator), spreads=spreads)


def read_truth(path: Path) -> Truth:
    """Read what the file states; where it states nothing, say so and end the command."""
    try:
        return read(values.regular_file(path, MAX_BYTES))
    except (errors.BadDescription, ValueError) as error:
        reason: object = error
    except OSError as error:
        reason = error.strerror
    click.echo(f"tixd analyze: {path}: {reason}", err=True)
    sys.exit(1)


def show(windows: Iterable[tuple[str, int, Summary | None]], truth: Truth, form: str) -> None:
    """Print path, first second and summary of each window beside the truth.

    The summaries are by the mode, and hold the usage by delayed probes as the other one. Where the
    truth is known of none, say so and end the command.
    """
    compared = [each for window in windows for each in _compared(*window, truth)]
    if form == "json":
        _print_json(compared)
    elif compared:
        console = output.console()
        output.print_table(console, _windows_table(compared))
        output.print_table(console, _agreement_table(compared))
    if not compared:
        click.echo("tixd analyze: the truth is known of no window", err=True)
        sys.exit(1)


def _compared(path: str, first: int, summary: Summary | None, truth: Truth) -> Iterator[Compared]:
    """Yield the directions whose truth is known."""
    if summary is None:
        return
    for way in _WAYS:
        direction, schedule = getattr(summary, way), getattr(truth, way)
        last = summary.timestamp
        if covered(schedule, last - MEANINGFUL_SECONDS, last) < LEAST_COVERED:
            continue
        true = expected(schedule, first, last)
        mode, probes = direction.usage, direction.usage_alt
        if true is not None and mode is not None and probes is not None:
            yield Compared(path, first, way, true, min(1.0, mode), probes)


def _agreements(compared: list[Compared]) -> Iterator[tuple[Way, str, Agreement]]:
    """Yield direction, estimator and its agreement, over all windows."""
    for way in _WAYS:
        of_way = [each for each in compared if each.way == way]
        if of_way:
            yield way, "mode", agreement((each.mode, each.truth) for each in of_way)
            both = ((each.delayed_probes, each.truth) for each in of_way)
            yield way, "delayed-probes", agreement(both)


def _print_json(compared: list[Compared]) -> None:
    for each in compared:
        click.echo(orjson.dumps(asdict(each)))
    for way, estimator, found in _agreements(compared):
        click.echo(orjson.dumps({"way": way, "estimator": estimator, **asdict(found)}))


def _windows_table(compared: list[Compared]) -> Table:
    each_way = ("mode", "error", "relative", "probes", "error", "relative")
    table = output.number_table(("installation", "window (UTC)", "direction"), ("truth", *each_way))
    for row in compared:
        numbers: list[float | None] = [row.truth]
        for estimate in (row.mode, row.delayed_probes):
            error = estimate - row.truth
            numbers += [estimate, error, abs(error) / row.truth if row.truth > 0 else None]
        table.add_row(Text(row.path), output.minute(row.window), row.way, *map(_number, numbers))
    return table


def _agreement_table(compared: list[Compared]) -> Table:
    headings = ("windows", "mean error", "bias", "relative", "correlation")
    table = output.number_table(
        ("\nin all", "\nestimator"), (f"\n{heading}" for heading in headings)
    )
    for way, estimator, found in _agreements(compared):
        numbers = (found.error, found.bias, found.relative, found.correlation)
        table.add_row(way, estimator, str(found.windows), *map(_number, numbers))
    return table


def _number(value: float | None) -> str:
    return output.number(value, 3)
