"""Load and analyse: 19 files from disk to a Summary, without lock, journal, post and deletion."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from benchmarks.data import Kept, real, simulated
from benchmarks.yardstick import Row, interleaved, row
from tixd import logs
from tixd.analysis.observations import concatenate
from tixd.analysis.summary import summarise
from tixd.config.settings import Settings
from tixd.directory import Folder
from tixd.reports.ages import Ages
from tixd.reports.model import Installation
from tixd.reports.spool import Spool
from tixd.reports.window import Window, next_step

#: How often all windows are gone through, with the yardstick between.
ROUNDS = 7

#: How many simulated windows: enough that no cache of the processor holds them.
WINDOWS = 120

#: What the specification allows.
MOST = 1 / 60


def measure(base: Path) -> list[Row]:
    """Simulated windows, then real ones where they are present."""
    rows = [_measure("load + analyse one window, CPU", base / "made", simulated(WINDOWS))]
    if found := real():
        rows.append(_measure("the same, real windows", base / "real", found))
    return rows


def _measure(what: str, base: Path, kept: list[Kept]) -> Row:
    places = [(each, str(each.lay_out(base))) for each in kept]

    def once() -> float:
        begun = time.process_time_ns()
        for each, path in places:
            _load_and_analyse(Installation(each.user_id, each.installation_id, path))
        return (time.process_time_ns() - begun) / len(places)

    logs.set_up("CRITICAL", "text", "stderr")  # ids in real reports are not those of the folder
    once()
    return row(f"{what} ({len(places)} windows)", *interleaved(once, ROUNDS), MOST)


#: As a worker has them: made once.
_SETTINGS, _LIMITER = Settings(), logs.RateLimiter()


def _load_and_analyse(installation: Installation) -> None:
    with Folder(installation.path) as folder:
        spool = Spool(
            folder,
            installation,
            _SETTINGS,
            Counter(),
            now=time.time(),
            limiter=_LIMITER,
            ages=Ages(),
            reading=lambda _: None,
        )
        spool.list_reports()
        window = next_step(spool.reports())
        assert isinstance(window, Window)  # noqa: S101 - a benchmark of nothing would be fast
        summarise(concatenate(r.observations for r in window.reports))
