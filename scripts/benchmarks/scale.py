"""`scripts/bench --scale`: what more installations than one host bears need, and what bends first.

The costs are measured first: a dispatcher and a worker beside a RabbitMQ of the benchmark's own,
and reports written and deleted on the file system. Then come rates on paper, and a simulation.
"""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import astuple
from pathlib import Path

from benchmarks import sites
from benchmarks.data import many
from benchmarks.runs import run
from benchmarks.sites import Costs, Outcome
from benchmarks.yardstick import Row

#: Installations for which it is worked out.
INSTALLATIONS = (100_000, 1_000_000, 10_000_000)

#: Windows, and installations, that the costs are measured on.
MEASURED = 1000

#: Installations whose reports are written and deleted at a time; the fastest such time counts.
GROUP = 50

#: Reports of an installation on the volume: 10 to 19 in a window's making, and up to 10 that have
#: come since the last cycle. Beside them the folder and the file .tixd.lock.
REPORTS_LYING = 19
OTHER_INODES = 2


#: What the costs are.
COSTS = {
    "dispatch": "the dispatcher finds an installation and sends its message",
    "message": "RabbitMQ passes a message on",
    "parent": "a window in the workers' parent",
    "window": "a window in a worker",
    "report": "the volume creates a report and deletes it",
}


def measure(base: Path) -> list[Row]:
    """A row for each need and for each part, with a column for each number of installations."""
    report_bytes, report_seconds = _report(base / "files")
    costs = _costs(base, report_seconds)
    return [*_needs(report_bytes, costs), *_parts(costs), *_split(costs)]


def _report(base: Path) -> tuple[float, float]:
    """Mean bytes of a report, and how long the volume takes to create one and delete it."""
    backlog = list(many(MEASURED))
    contents = [content for kept in backlog for _, content in kept.files]
    seconds = []
    for at in range(0, MEASURED, GROUP):
        begun = time.monotonic()
        for kept in backlog[at : at + GROUP]:
            kept.lay_out(base)
        shutil.rmtree(base)
        seconds.append(time.monotonic() - begun)
    files = len(contents) * GROUP / MEASURED
    return sum(map(len, contents)) / len(contents), min(seconds) / files


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
    """How busy each part of one site is, on paper and simulated, and what comes of it."""
    paper = [sites.on_paper(n, costs.hosts(n), costs) for n in INSTALLATIONS]
    seen = [sites.simulate(n, costs.hosts(n), costs) for n in INSTALLATIONS]
    pairs = [(astuple(p), astuple(s.busy)) for p, s in zip(paper, seen, strict=True)]
    rows = [
        _row(
            f"one site: {part} busy, on paper / simulated",
            [f"{on_paper[at]:.0%} / {simulated[at]:.0%}" for on_paper, simulated in pairs],
        )
        for at, part in enumerate(("dispatcher", "RabbitMQ", "volume", "workers"))
    ]
    return [*rows, *_outcomes(seen)]


def _outcomes(seen: list[Outcome]) -> list[Row]:
    return [
        _row(f"  cycles skipped of {sites.CYCLES}", [f"{s.skipped}" for s in seen]),
        _row("  messages too old, dropped", [f"{s.dropped:.0%}" for s in seen]),
        _row(
            "  minutes from a window's end to its post, half / 99 of 100",
            [f"{s.median / 60:.0f} / {s.late / 60:.0f}" for s in seen],
        ),
    ]


def _split(costs: Costs) -> list[Row]:
    """The same with as many sites as leave no part too busy; and what all this comes from."""
    full = sites.on_paper(1, 1, costs)
    limits = {
        "a dispatcher": 1 / full.dispatcher,
        "a RabbitMQ": 1 / full.broker,
        "a volume": 1 / full.volume,
    }
    numbers = [math.ceil(n / (sites.LOAD * min(limits.values()))) for n in INSTALLATIONS]
    shares = [n // number for n, number in zip(INSTALLATIONS, numbers, strict=True)]
    return [
        _row(f"sites needed, no part over {sites.LOAD:.0%} busy", [f"{n}" for n in numbers]),
        *_outcomes([sites.simulate(n, costs.hosts(n), costs) for n in shares]),
        *(Row(f"installations that fill {part}", f"{n:,.0f}") for part, n in limits.items()),
        *(
            Row(f"cost: {part}", f"{getattr(costs, name) * 1e6:.0f} us")
            for name, part in COSTS.items()
        ),
    ]


def _row(what: str, figures: list[str]) -> Row:
    small, large, largest = figures
    return Row(what, small, large, largest)
