"""The pages `/` and `/cycles`: well or not, why not, and what each part does and did."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from tixd.history import cycles
from tixd.page.views import Column, Query, Table, View
from tixd.runtime.status import Snapshot, headline

if TYPE_CHECKING:
    from tixd.history.store import Connection


#: How many cycles are shown.
MAX_CYCLES = 200

#: What is shown of each, in the order of cycles.latest.
CYCLE_COLUMNS = (
    Column("begin_at", "Began", "UTC", kind="time"),
    Column("number", "Cycle", kind="number"),
    Column("scan_seconds", "Scan", kind="seconds"),
    Column("installations", "Installations", kind="number"),
    Column("jobs", "Given a job", kind="number"),
    Column("skipped", "Skipped", kind="number"),
    Column("windows", "Windows", kind="number"),
    Column("failures", "Failures", kind="number"),
    Column("reason", "Why it failed"),
)

#: What to do where there is none.
NO_CYCLE = "No cycle yet: the first one comes within a period of the start."


def show(query: Query, now: Snapshot, history: Connection | None) -> View:
    """Show the role."""
    data = {
        **asdict(now),
        "last_cycles": cycles.latest(history, 1) if history else [],
        "headline": headline(now),
        "not_ready": now.unready_reasons(),
        "no_history": query.no_history,
    }
    return View("overview.html", "Overview", data, _workers(now) if now.workers else None)


def _workers(now: Snapshot) -> Table:
    columns = (
        Column("pid", "Process", kind="text"),
        Column("doing", "Does"),
        Column("phase", "Phase"),
        Column("for_seconds", "For", kind="seconds"),
    )
    rows = [
        (w.pid, (w.job or "waits for a job") if w.ready else "starts", w.phase, w.seconds)
        for w in now.workers
    ]
    return Table(columns, rows, "no worker process runs")


# --- /cycles ------------------------------------------------------------------------------------


def show_cycles(query: Query, now: Snapshot, history: Connection | None) -> View:
    """Show the last cycles."""
    rows = cycles.latest(history, MAX_CYCLES) if history else []
    table = Table(CYCLE_COLUMNS, rows, "" if query.no_history else NO_CYCLE)
    data = {"period_seconds": now.period_seconds, "no_history": query.no_history}
    return View("cycles.html", "Cycles", data, table)
