"""`scripts/curves`: how far the estimators of usage and of the Hurst exponent are from the truth.

In: kinds of simulated lines. Out: a table for each, of truth, mean reading and its spread over
usage 0 to 1, in both directions; one for both Hurst estimators on fractional Gaussian noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import click
import numpy as np
import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.judge import LINES, hurst_readings, readings
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

    LINE is a kind of line (cable, poisson, short-buffers, jittery, wifi, mobile, asymmetric,
    skewed, stepping, lossy) or hurst; none: all of them, which takes some minutes.

    \b
    Example: a Wi-Fi line, more exactly
      scripts/curves --windows 50 wifi
    """
    console = Console(highlight=False, width=100)
    for line in lines or (*LINES, "hurst"):
        points = _hurst(windows, seed) if line == "hurst" else _usage(line, windows, seed)
        if form == "json":
            for point in points:
                click.echo(orjson.dumps(point))
        else:
            console.print(_table(line, points))


def _usage(line: str, windows: int, seed: int) -> list[Point]:
    points = []
    for usage in USAGES:
        found = readings(LINES[line], usage, windows, seed)
        for place, way in enumerate(_WAYS):
            truth = float(found.truth[:, place].mean())
            for estimator, read in (("mode", found.mode), ("delayed-probes", found.delayed_probes)):
                points.append(_point(f"{line} {way}", estimator, truth, read[:, place]))
    return points


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
