"""The benchmark's command line and its table."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Column, Table

import tixd
from benchmarks import compare, manual
from benchmarks.data import file_system
from benchmarks.yardstick import VERDICTS, Row, yardstick_ns

#: Each part: the module that measures it, and its function. It is imported when it is measured, so
#: that another checkout, which may lack what another part needs, can be compared in this one.
PARTS = {
    "window": ("window", "measure"),
    "estimator": ("estimator", "measure"),
    "step": ("step", "measure"),
    "dispatch": ("dispatching", "measure"),
    "rabbitmq": ("rabbitmq", "measure"),
    "delays": ("delays", "measure"),
    "workers": ("delays", "measure_workers"),
    "backlog": ("backlog", "measure"),
    "trees": ("trees", "measure"),
    "daemon": ("daemon", "measure"),
    "one-file": ("daemon", "measure_one_file"),
    "idle": ("idle", "measure"),
    "page": ("looking", "measure"),
    "memory": ("memory", "measure"),
    "imports": ("imports", "measure"),
    "asn": ("located", "measure"),
    "records": ("records", "measure"),
    "collector": ("collector", "measure"),
}

#: Beside them: 100,000 idle installations, and what 10 million installations need.
FULL = ("idle", "measure_full")
SCALE = ("scale", "measure")

#: Headings of the columns after `what`; the latter are numbers of installations.
HEADINGS = ("figure", "in Y", "must reach")
SCALE_HEADINGS = ("100,000", "1 million", "10 million")


@dataclass(frozen=True, slots=True)
class Measured:
    """Rows, their columns, and what they were measured on."""

    rows: list[Row]
    headings: tuple[str, str, str]
    machine: str


def main() -> None:
    """Measure and print; in a folder of its own that is removed afterwards."""
    arguments = _arguments()
    base = Path(tempfile.mkdtemp(prefix="tixd-bench-", dir=arguments.dir))
    try:
        _run(base, arguments)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _run(base: Path, arguments: argparse.Namespace) -> None:
    if arguments.compare:
        words = [*arguments.parts, f"--dir={base}"]
        _show(_timed(base, compare.HEADINGS, lambda: compare.compare(arguments.compare, words)))
        return
    if arguments.scale or arguments.manual:
        large = _timed(base, SCALE_HEADINGS, lambda: _rows(SCALE, base / "scale"))
        _show(large)
    if arguments.manual:
        manual.write("scale", manual.table(large.rows, SCALE_HEADINGS, large.machine))
    if arguments.scale:
        return
    measured = _timed(base, HEADINGS, lambda: _measured(base, arguments))
    if arguments.json:
        sys.stdout.write(json.dumps([asdict(row) for row in measured.rows]))
        return
    _show(measured)
    if arguments.manual:
        manual.write("measured", manual.table(measured.rows, HEADINGS, measured.machine))


def _timed(
    base: Path, headings: tuple[str, str, str], measure: Callable[[], list[Row]]
) -> Measured:
    begun = time.monotonic()
    rows = measure()
    return Measured(rows, headings, _machine(base, time.monotonic() - begun))


def _measured(base: Path, arguments: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    for name in arguments.parts or PARTS:
        rows += _rows(PARTS[name], base / name)
    if arguments.full:
        rows += _rows(FULL, base / "full")
    return rows


def _rows(part: tuple[str, str], base: Path) -> list[Row]:
    module, function = part
    rows: list[Row] = getattr(importlib.import_module(f"benchmarks.{module}"), function)(base)
    return rows


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--full", action="store_true", help="100,000 idle installations too")
    parser.add_argument("--dir", help="where the made reports lie for the time; else $TMPDIR")
    parser.add_argument(
        "--compare", metavar="TREE", type=Path, help="another checkout, measured in turn with this"
    )
    parser.add_argument("--scale", action="store_true", help="what many installations need")
    parser.add_argument(
        "--manual", action="store_true", help="all of it, into the tables of the manual"
    )
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.parts if name not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if arguments.parts and (arguments.scale or arguments.manual):
        parser.error("--scale and --manual measure no single part")
    if arguments.compare and not (arguments.compare / "tixd" / "__main__.py").exists():
        parser.error(f"--compare {arguments.compare}: no checkout of tixd")
    return arguments


def _show(measured: Measured) -> None:
    figure, ratio, target = measured.headings
    table = Table(
        Column("what", min_width=62),
        Column(figure, justify="right"),
        Column(ratio, justify="right"),
        target,
    )
    for row in measured.rows:
        table.add_row(row.what, row.figure, row.ratio, row.target + VERDICTS[row.reached])
    console = Console(width=120, highlight=False)
    console.print(table)
    console.print(measured.machine)


def _machine(base: Path, seconds: float) -> str:
    """What it was measured on, and how long that took."""
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    processors = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (
        f"tixd {tixd.__version__}, measured in {seconds / 60:.1f} min: {cores} cores of"
        f" {processors[0] if processors else platform.machine()}, load {load:.1f}, Linux"
        f" {platform.release()}, {platform.python_implementation()} {platform.python_version()},"
        f" numpy {np.__version__}, reports on {file_system(base)}. Y = CPU of adding i * i for i in"
        f" range(1,000,000) = {yardstick_ns() / 1e6:.0f} ms."
    )
