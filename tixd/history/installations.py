"""How installations are: what the history knows of each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class InstallationState(NamedTuple):
    """An installation; times are epoch seconds, and None where they are not known.

    seen_at: its last job; reports: how many wait; newest: the latest report; result_at, timestamp:
    when the last result was made, and the end of its window; posted_at: the last post; outcome,
    words: what became of that result, and why; kept: results that wait until next_try (0: the next
    visit) because of `reason`; rejected: results that the tix-api refused for good; set_aside: how
    many reports were set aside, with when and why the last one was; trouble: why the last job could
    do nothing.
    """

    user: int
    installation: int
    seen_at: int | None = None
    reports: int | None = None
    newest: int | None = None
    result_at: int | None = None
    timestamp: int | None = None
    posted_at: int | None = None
    outcome: str | None = None
    words: str | None = None
    kept: int | None = None
    next_try: int | None = None
    reason: str | None = None
    set_aside: int = 0
    set_aside_at: int | None = None
    set_aside_reason: str | None = None
    trouble: str | None = None
    rejected: int | None = None


#: What the history knows of them.
RECORDED = tuple(name for name in InstallationState._fields if name != "rejected")


def recorded(
    history: sqlite3.Connection, user: int = 0, installation: int = 0
) -> list[InstallationState]:
    """Return what the history knows, of all, of a user or of one installation, in their order."""
    where = [f"{name} = {number:d}" for name, number in _named(user, installation)]
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    found = history.execute(
        f"SELECT {', '.join(RECORDED)} FROM installations {condition} ORDER BY user, installation"
    )
    found.row_factory = None
    return [InstallationState(*row) for row in found.fetchall()]


def _named(user: int, installation: int) -> Iterator[tuple[str, int]]:
    if user:
        yield "user", user
    if installation:
        yield "installation", installation


def events(history: sqlite3.Connection, user: int, installation: int, most: int) -> list[Any]:
    """Return the last results of one installation, the newest first: rows of the view `results`."""
    return history.execute(
        "WITH RECURSIVE hours (hour) AS (SELECT max(hour) FROM result_rows UNION ALL"
        " SELECT (SELECT max(hour) FROM result_rows WHERE hour < hours.hour)"
        " FROM hours WHERE hour IS NOT NULL)"
        " SELECT results.* FROM hours CROSS JOIN results"
        " ON results.hour = hours.hour AND user = ? AND installation = ?"
        " ORDER BY hours.hour DESC, timestamp DESC LIMIT ?",
        [user, installation, most],
    ).fetchall()


def facts(history: sqlite3.Connection) -> Mapping[str, str]:
    """Return what the tixd that writes the history has noted of itself."""
    return dict(history.execute("SELECT name, value FROM facts").fetchall())
