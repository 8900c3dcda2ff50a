"""The page with many installations: the CPU that each page takes, query and HTML."""

from __future__ import annotations

import contextlib
import re
import statistics
import time
from pathlib import Path

from benchmarks.yardstick import Row
from tixd.runtime.status import Snapshot

#: Installations of the history, and its days of results every ten minutes.
INSTALLATIONS = 10_000
DAYS = 0.25

#: Days of hourly means before them, of one user in so many.
MEAN_DAYS, MEAN_USERS = 90, 10

#: Answers, of which the median counts; one before them loads the templates.
ROUNDS = 5

#: What the specification allows for a page.
MOST_MS = 200.0

#: What stands for the parameters of a path.
PARAMETERS = {"user:int": "7", "installation:int": "1"}


def measure(base: Path) -> list[Row]:
    """Every page of a standalone role, as the page's thread makes it."""
    from tests.support.filled_history import fill
    from tests.support.page_host import well
    from tixd.page import pages

    file = base / "history.sqlite"
    base.mkdir(parents=True, exist_ok=True)
    fill(file, installations=INSTALLATIONS, days=DAYS, end=time.time())
    _add_means(file)
    role = well(str(file))
    rows = [Row(f"page: {INSTALLATIONS:,} installations, means of {MEAN_DAYS} days", "")]
    paths = [page.path for page in pages.of_role("standalone")]
    for pattern in [*paths, "/installations/{user:int}/{installation:int}?span=month"]:
        path = re.sub(r"\{(.*?)\}", lambda found: PARAMETERS[found[1]], pattern)
        cost_ms = _cost_ms(path, role)
        target = f"under {MOST_MS:.0f} ms"
        rows.append(Row(f"  CPU of {path}", f"{cost_ms:.1f} ms", "", target, cost_ms < MOST_MS))
    return rows


def _add_means(file: Path) -> None:
    """Put hourly means of many days before the results, each as the last result was."""
    from tests.support.histories import PARTS
    from tixd.history import store

    with contextlib.closing(store.open_for_writing(str(file), PARTS)) as history:
        columns = history.execute("SELECT * FROM hour_rows LIMIT 0").description
        names = ", ".join(name for name, *_ in columns[4:])
        history.execute(
            "WITH RECURSIVE hours (hour) AS (SELECT min(hour) - 1 FROM result_rows UNION ALL"  # noqa: S608
            f" SELECT hour - 1 FROM hours LIMIT {24 * MEAN_DAYS})"
            f" INSERT INTO hour_rows SELECT hour, user, installation, 6, {names}"
            f" FROM hours CROSS JOIN installation_rows WHERE user % {MEAN_USERS} = 7"
        )


def _cost_ms(path: str, role: Snapshot) -> float:
    from tixd.page.render import answer
    from tixd.page.views import Asked

    figures = []
    for _ in range(ROUNDS + 1):
        begun = time.process_time_ns()
        found = answer(Asked(*path.partition("?")[::2], "", role))
        figures.append((time.process_time_ns() - begun) / 1e6)
        if found.status != 200:
            raise SystemExit(f"{path}: HTTP {found.status}")
    return statistics.median(figures[1:])
