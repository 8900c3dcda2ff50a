"""`scripts/bench --scale`: what more installations than one host bears need, and what bends first.

The costs are measured first: a dispatcher and a worker beside a RabbitMQ of the benchmark's own,
and reports written and deleted on the file system. Then come rates on paper, and a simulation.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from benchmarks import sites
from benchmarks.data import many
from benchmarks.runs import run
from benchmarks.sites import Costs
from benchmarks.yardstick import Row

#: Installations for which it is worked out, and the headings of their columns.
INSTALLATIONS = (100_000, 1_000_000, 10_000_000)
HEADINGS = ("100,000", "1 million", "10 million")

#: Windows, and installations, that the costs are measured on.
MEASURED = 1000

#: Reports of an installation on the volume: 10 to 19 in a window's making, and up to 10 that have
#: come since the last cycle. Beside them the folder and the file .tixd.lock.
REPORTS_LYING = 19
OTHER_INODES = 2


def measure(base: Path) -> list[Row]:
    """A row for each need and for each part, with a column for each number of installations."""
    report_bytes, report_seconds = _report(base / "files")
    costs = _costs(base, report_seconds)
    return [*_needs(report_bytes, costs), *_parts(costs), *_limits(costs)]


def _report(base: Path) -> tuple[float, float]:
    """Bytes of a report, and how long the volume takes to create one and delete it."""
    backlog = list(many(MEASURED))
    count = sum(len(kept.files) for kept in backlog)
    begun = time.monotonic()
    for kept in backlog:
        kept.lay_out(base)
    shutil.rmtree(base)
    seconds = time.monotonic() - begun
    return sum(
        len(content) for kept in backlog for _, content in kept.files
    ) / count, seconds / count


def _costs(base: Path, report_seconds: float) -> Costs:
    """What a window takes of each part."""
    from tests.support.broker import Broker

    (base / "broker").mkdir(parents=True)
    with Broker(base / "broker") as broker:
        cpu = run(base, MEASURED, broker=broker).cpu
    return Costs(
        dispatch=cpu.dispatcher / 1e9,
        message=cpu.broker / 1e9,
        parent=cpu.parents / 1e9,
        window=cpu.workers / 1e9,
        report=report_seconds,
    )


def _needs(report_bytes: float, costs: Costs) -> list[Row]:
    """What the numbers of installations ask for, whatever the design."""
    windows = 1 / sites.WINDOW_SECONDS
    needs = {
        "reports written and deleted a second": 1 / sites.REPORT_SECONDS,
        "  MB of them a second": report_bytes / sites.REPORT_SECONDS / 1e6,
        "reports lying on the volume, millions": REPORTS_LYING / 1e6,
        "  inodes with folders and journals, millions": (REPORTS_LYING + OTHER_INODES) / 1e6,
        "windows analysed and posted a second": windows,
        "  posts under way, API after 50 ms": windows * sites.POST_SECONDS,
        "messages through RabbitMQ a second": 1 / sites.PERIOD_SECONDS,
    }
    rows = [_row(what, [f"{n * each:,.0f}" for n in INSTALLATIONS]) for what, each in needs.items()]
    hosts = [f"{costs.hosts(n)}" for n in INSTALLATIONS]
    return [
        *rows,
        _row(f"hosts of {sites.CORES} cores for the workers, {sites.LOAD:.0%} busy", hosts),
    ]


def _parts(costs: Costs) -> list[Row]:
    """How busy each part is, on paper and simulated, and what comes of it."""
    hosts = [costs.hosts(n) for n in INSTALLATIONS]
    sizes = list(zip(INSTALLATIONS, hosts, strict=True))
    paper = [sites.on_paper(n, h, costs) for n, h in sizes]
    seen = [sites.simulate(n, h, costs) for n, h in sizes]
    parts = {
        "dispatcher": "dispatcher busy",
        "broker": "RabbitMQ busy",
        "volume": "volume busy",
        "workers": "workers busy",
    }
    rows = [
        _row(
            f"{what}: on paper / simulated",
            [
                f"{getattr(p, name):.0%} / {getattr(s.busy, name):.0%}"
                for p, s in zip(paper, seen, strict=True)
            ],
        )
        for name, what in parts.items()
    ]
    return [
        *rows,
        _row(f"simulated: cycles skipped of {sites.CYCLES}", [f"{s.skipped}" for s in seen]),
        _row("simulated: messages too old, dropped", [f"{s.dropped:.0%}" for s in seen]),
        _row(
            "simulated: minutes from a window's end to its post, half / 99 of 100",
            [f"{s.median / 60:.0f} / {s.late / 60:.0f}" for s in seen],
        ),
    ]


def _limits(costs: Costs) -> list[Row]:
    """What the rest comes from."""
    full = sites.on_paper(10**6, 1, costs)
    limits = (full.volume, full.dispatcher, full.broker)
    parts = (costs.report, costs.dispatch, costs.message, costs.parent, costs.window)
    return [
        Row(
            "a volume, a dispatcher, a RabbitMQ is full at, million installations",
            " / ".join(f"{1 / busy:.1f}" for busy in limits),
        ),
        Row(
            "costs in us: report, dispatch, message, a window in parent and worker",
            " / ".join(f"{seconds * 1e6:.0f}" for seconds in parts),
        ),
    ]


def _row(what: str, figures: list[str]) -> Row:
    small, large, largest = figures
    return Row(what, small, large, largest)
