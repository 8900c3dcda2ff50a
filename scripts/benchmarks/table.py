"""The benchmark's command line and its table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Column, Table

import tixd
from benchmarks import (
    backlog,
    collector,
    daemon,
    delays,
    dispatching,
    estimator,
    idle,
    imports,
    located,
    memory,
    rabbitmq,
    records,
    step,
    trees,
    window,
)
from benchmarks.compare import HEADINGS, compare
from benchmarks.data import file_system
from benchmarks.yardstick import Row, yardstick_ns

PARTS: dict[str, Callable[[Path], list[Row]]] = {
    "window": window.measure,
    "estimator": estimator.measure,
    "step": step.measure,
    "dispatch": dispatching.measure,
    "rabbitmq": rabbitmq.measure,
    "delays": delays.measure,
    "workers": delays.measure_workers,
    "backlog": backlog.measure,
    "trees": trees.measure,
    "daemon": daemon.measure,
    "idle": partial(idle.measure, count=10_000),
    "memory": memory.measure,
    "imports": imports.measure,
    "asn": located.measure,
    "records": records.measure,
    "collector": collector.measure,
}


def main() -> None:
    """Measure and print; in a folder of its own that is removed afterwards."""
    arguments = _arguments()
    begun = time.monotonic()
    base = Path(tempfile.mkdtemp(prefix="tixd-bench-", dir=arguments.dir))
    kind = file_system(base)
    headings = ("figure", "in Y", "must reach")
    try:
        if arguments.compare:
            headings = HEADINGS
            rows = compare(arguments.compare, [*arguments.parts, f"--dir={base}"])
        else:
            rows = _measured(base, arguments)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    if arguments.json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows]))
    else:
        _show(rows, headings, kind, time.monotonic() - begun)


def _measured(base: Path, arguments: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    for name in arguments.parts or PARTS:
        rows += PARTS[name](base / name)
    if arguments.full:
        rows += idle.measure(base / "full", count=100_000)
    return rows


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--full", action="store_true", help="100,000 idle installations too")
    parser.add_argument("--dir", help="where the made reports lie for the time; else $TMPDIR")
    parser.add_argument(
        "--compare", metavar="TREE", type=Path, help="another checkout, measured in turn with this"
    )
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.parts if name not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return arguments


def _show(rows: list[Row], headings: tuple[str, str, str], kind: str, seconds: float) -> None:
    figure, ratio, target = headings
    table = Table(
        Column("what", min_width=62),
        Column(figure, justify="right"),
        Column(ratio, justify="right"),
        target,
        title=f"tixd {tixd.__version__}, reports on {kind}, {seconds:.0f} s",
    )
    for row in rows:
        verdict = {None: "", True: "  yes", False: "  NO"}[row.reached]
        table.add_row(row.what, row.figure, row.ratio, row.target + verdict)
    console = Console(width=120, highlight=False)
    console.print(table)
    console.print(_machine())


def _machine() -> str:
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    y_ms = yardstick_ns() / 1e6
    return (
        f"{platform.machine()}, {cores} cores, load {load:.1f}, Linux {platform.release()},"
        f" {platform.python_implementation()} {platform.python_version()}, numpy {np.__version__};"
        f" Y = CPU of adding i * i for i in range(1,000,000), now {y_ms:.0f} ms"
    )
