"""`scripts/curves`: how far the estimators of usage and of the Hurst exponent are from the truth.

In: kinds of simulated lines. Out: a table for each, of truth, mean reading and its spread over
usage 0 to 1, in both directions; one for both Hurst estimators on fractional Gaussian noise; and
one of each line's mean errors, what delayed probes read of it idle and full, and its clocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click
import numpy as np
import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.judge import LINES, Readings, hurst_readings, readings
from tixd.analysis.observations import Floats
from tixd.commands.output import format_option

#: The usages and the exponents that are gone through.
USAGES = tuple(step / 10 for step in range(11))
EXPONENTS = (0.5, 0.6, 0.7, 0.8, 0.9)

#: How many series of noise are read for one simulated window: they cost much less.
SERIES_PER_WINDOW = 20

_WAYS = ("upstream", "downstream")


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a curve: what was read in the mean, how it spreads (standard deviation)."""

    curve: str
    estimator: str
    truth: float
    mean: float
    spread: float


@dataclass(frozen=True, slots=True)
class LineErrors:
    """Of one kind of line, or in the mean of some, in (down, up).

    mode, delayed_probes: mean absolute error over usage 0 to 1; idle, full: what delayed probes
    read at usage 0 and 1; windows: how many were read; clock_set, not_credible: how many of them
    were said to have a clock that was set, or clocks that do not fit together.
    """

    line: str
    mode: tuple[float, float]
    delayed_probes: tuple[float, float]
    idle: tuple[float, float]
    full: tuple[float, float]
    windows: int
    clock_set: int
    not_credible: int


#: The lines whose mean is shown: what was judged before clocks were mended.
_IN_THE_MEAN = (
    *("cable", "poisson", "short-buffers", "jittery", "wifi"),
    *("mobile", "asymmetric", "skewed", "stepping", "lossy"),
)


@click.command()
@click.argument("lines", metavar="[LINE]...", nargs=-1, type=click.Choice([*LINES, "hurst"]))
@click.option(
    "--windows",
    default=10,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="how many windows are simulated for each usage",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="of the chance")
@format_option("json: one object a line for each point of a curve")
def command(*, lines: tuple[str, ...], windows: int, seed: int, form: str) -> None:
    """Show what the estimators read of simulated lines of known usage.

    LINE is a kind of line (cable, poisson, short-buffers, jittery, very-jittery, wifi, mobile,
    asymmetric, skewed, stepping, step-back, two-steps, skewed-step, slewed, lossy) or hurst; none:
    all of them, which takes some minutes. Each line was idle for six windows before.

    \b
    Example: a Wi-Fi line, more exactly
      scripts/curves --windows 50 wifi
    """
    errors = []
    for line in lines or (*LINES, "hurst"):
        if line == "hurst":
            points = _hurst(windows, seed)
        else:
            read = [readings(LINES[line], usage, windows, seed) for usage in USAGES]
            points = _usage(line, read)
            errors.append(_errors(line, read))
        _show(points, form, _table(line, points))
    in_the_mean = [each for each in errors if each.line in _IN_THE_MEAN]
    if len(in_the_mean) == len(_IN_THE_MEAN):
        errors.append(_mean(in_the_mean))
    _show(errors, form, _errors_table(errors))


def _show(rows: Sequence[Point | LineErrors], form: str, table: Table) -> None:
    if form == "json":
        for each in rows:
            click.echo(orjson.dumps(each))
    elif rows:
        Console(highlight=False, width=110).print(table)


def _usage(line: str, read: list[Readings]) -> list[Point]:
    points = []
    for found in read:
        for place, way in enumerate(_WAYS):
            truth = float(found.truth[:, place].mean())
            for estimator, values in (
                ("mode", found.mode),
                ("delayed-probes", found.delayed_probes),
            ):
                points.append(_point(f"{line} {way}", estimator, truth, values[:, place]))
    return points


def _errors(line: str, read: list[Readings]) -> LineErrors:
    clocks = [clock for found in read for clock in found.clocks]
    return LineErrors(
        line,
        _ways(np.concatenate([abs(found.mode - found.truth) for found in read])),
        _ways(np.concatenate([abs(found.delayed_probes - found.truth) for found in read])),
        idle=_ways(read[0].delayed_probes),
        full=_ways(read[-1].delayed_probes),
        windows=len(clocks),
        clock_set=clocks.count("set"),
        not_credible=clocks.count("not-credible"),
    )


def _ways(values: Floats) -> tuple[float, float]:
    """The means of (w, 2), up and down, as (down, up)."""
    up, down = values.mean(axis=0).tolist()
    return down, up


def _mean(errors: list[LineErrors]) -> LineErrors:
    def mean(name: str) -> tuple[float, float]:
        down, up = np.mean([getattr(each, name) for each in errors], axis=0).tolist()
        return down, up

    def count(name: str) -> int:
        return sum(getattr(each, name) for each in errors)

    return LineErrors(
        f"mean of {len(errors)} lines",
        mode=mean("mode"),
        delayed_probes=mean("delayed_probes"),
        idle=mean("idle"),
        full=mean("full"),
        windows=count("windows"),
        clock_set=count("clock_set"),
        not_credible=count("not_credible"),
    )


def _errors_table(errors: list[LineErrors]) -> Table:
    table = Table(
        title="mean errors, and delayed probes idle and full; down, up",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("line")
    for heading in ("mode", "probes", "idle", "full", "windows", "clock set", "not credible"):
        table.add_column(heading, justify="right")
    for each in errors:
        pairs = (each.mode, each.delayed_probes, each.idle, each.full)
        counts = (each.windows, each.clock_set, each.not_credible)
        cells = [f"{down:.3f}, {up:.3f}" for down, up in pairs]
        table.add_row(each.line, *cells, *map(str, counts))
    return table


def _hurst(windows: int, seed: int) -> list[Point]:
    points = []
    for exponent in EXPONENTS:
        found = hurst_readings(exponent, windows * SERIES_PER_WINDOW, seed)
        for place, estimator in enumerate(("R/S", "wavelet")):
            points.append(_point("hurst", estimator, exponent, found[:, place]))
    return points


def _point(curve: str, estimator: str, truth: float, read: Floats) -> Point:
    return Point(curve, estimator, truth, float(np.mean(read)), float(np.std(read)))


def _table(line: str, points: list[Point]) -> Table:
    """A row for each truth, a column for each estimator of each curve; then the mean error."""
    table = Table(title=line, title_justify="left", box=None, pad_edge=False)
    columns = list(dict.fromkeys((point.curve, point.estimator) for point in points))
    curves = list(dict.fromkeys(curve for curve, _ in columns))
    for curve in curves:
        table.add_column(f"{curve.removeprefix(line).strip()} truth".strip(), justify="right")
        for _, estimator in (column for column in columns if column[0] == curve):
            table.add_column(estimator, justify="right")
    by_column = [[p for p in points if (p.curve, p.estimator) == column] for column in columns]
    for row in zip(*by_column, strict=True):
        table.add_row(*_cells(row, curves))
    return table


def _cells(row: tuple[Point, ...], curves: list[str]) -> list[str]:
    """Of each curve: the truth, then mean and spread of each estimator."""
    cells = []
    for curve in curves:
        of_curve = [point for point in row if point.curve == curve]
        cells += [f"{of_curve[0].truth:.2f}", *(f"{p.mean:.2f} ±{p.spread:.2f}" for p in of_curve)]
    return cells


if __name__ == "__main__":
    command(prog_name="scripts/curves")
