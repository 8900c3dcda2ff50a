"""The pages `/installations` and `/failed`: how each line is, and which results wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tixd.history import lists, series
from tixd.history.installation_words import Words
from tixd.history.results import silent_seconds
from tixd.history.store import DAY_SECONDS, HOUR_SECONDS
from tixd.page import grades
from tixd.page.charts import Point, sparkline
from tixd.page.views import Column, Pager, Query, Table, Tone, View
from tixd.results.response import with_hint
from tixd.runtime.status import Snapshot

if TYPE_CHECKING:
    from tixd.history.lists import ListedInstallation, NotPosted
    from tixd.history.store import Connection

#: Rows of a page of a list.
ROWS = 50

#: What the list can be sorted by, in words, the default first.
SORTS: Mapping[str, str] = MappingProxyType(
    {
        "state": "failures first",
        "usage": "busiest first",
        "quality": "worst quality first",
        "result": "latest result first",
        "installation": "by number",
    }
)

#: A pause between results is a gap from so many windows on.
GAP_WINDOWS = 2.5

#: Seconds between the ends of windows.
WINDOW_SECONDS = 600

#: How states are shown.
STATE_TONES: Mapping[str, Tone] = MappingProxyType(
    {
        "blocked": "bad",
        "silent": "bad",
        "kept": "warn",
        "set-aside": "warn",
        "new": "quiet",
        "well": "good",
        "gone": "quiet",
    }
)

#: What is drawn of each, and its class.
_SPARKS = {"down": "down_usage", "up": "up_usage"}

COLUMNS = (
    Column("user", "User"),
    Column("installation", "Installation"),
    Column("state", "State", tones=STATE_TONES),
    Column("state_words", "State in words"),
    Column("down_usage", "Usage down", kind="number", digits=2),
    Column("down_usage_grade", "Usage down, in a word", tones=grades.TONES),
    Column("up_usage", "Usage up", kind="number", digits=2),
    Column("up_usage_grade", "Usage up, in a word", tones=grades.TONES),
    Column("down_quality", "Quality down", kind="number", digits=2),
    Column("down_quality_grade", "Quality down, in a word", tones=grades.TONES),
    Column("up_quality", "Quality up", kind="number", digits=2),
    Column("up_quality_grade", "Quality up, in a word", tones=grades.TONES),
    Column("result_at", "Last result", kind="ago"),
    Column("window_end_at", "End of its window", kind="time"),
    Column("report_at", "Last report", kind="ago"),
    Column("reports", "Reports waiting", kind="number"),
    Column("kept", "Results kept", kind="number"),
    Column("set_aside", "Reports set aside", kind="number"),
    Column("asn", "AS"),
    Column("as_name", "Name of the AS"),
)


#: What needs attention, in words after a count.
NOTES = {
    "blocked": "cannot be processed",
    "silent": "silent",
    "kept": "with kept results",
    "set-aside": "with reports set aside since the last result",
}

#: What the template has beside the data.
SHOWN = {"sorts": SORTS, "tones": STATE_TONES, "grades": grades.TONES, "notes": NOTES}


def words_of(query: Query, now: Snapshot, history: Connection) -> Words:
    """Return what says in words how installations are at the moment of a query."""
    return Words(
        query.moment, silent_seconds(now.period_seconds), lists.latest(history, query.moment)
    )


def show(query: Query, now: Snapshot, history: Connection | None) -> View:
    """Show a page of the list."""
    data: dict[str, Any] = {"no_history": query.no_history, "search": query.search}
    if history is None:
        return View("installations.html", "Installations", data, Table(COLUMNS, (), ""))
    words = words_of(query, now, history)
    page = lists.listed(history, words, query.search, query.sort, query.number, ROWS)
    keys = [(row.state.user, row.state.installation) for row in page.rows]
    begin, end = query.moment - DAY_SECONDS, query.moment
    days = series.series_of(history, keys, begin, end, list(_SPARKS.values()))
    data |= {
        "page": page.number,
        "pages": page.pages,
        "total": page.total,
        "sort": query.sort,
        "counts": lists.counts(history, words),
        "days": {f"{user}/{number}": _day(days[user, number]) for user, number in keys},
    }
    figures = {
        f"{user}/{number} {direction}": _spark(direction, place, days[user, number], begin, end)
        for user, number in keys
        for place, direction in enumerate(_SPARKS)
    }
    table = Table(COLUMNS, [[*_cells(row, words)] for row in page.rows], _empty(query, now))
    pager = Pager(page.number, page.pages, page.total)
    return View("installations.html", "Installations", data, table, pager, figures, shown=SHOWN)


def _empty(query: Query, now: Snapshot) -> str:
    if query.search:
        return (
            f"No installation is found by “{query.search}”. Search for a user as 7, an installation"
            " as 7/1, an AS as AS64500, or a part of its name."
        )
    return (
        "No installation is known yet: each appears with its first job. Reports are expected in"
        f" {now.reports or '<base>'}/<user>/<installation>."
    )


def _day(samples: Sequence[series.Sample]) -> dict[str, list[Any]]:
    """Return times and values of a sparkline, as columns."""
    found: dict[str, list[Any]] = {"at": [round(sample.at) for sample in samples]}
    for place, name in enumerate(_SPARKS.values()):
        found[name] = [sample.means[place] for sample in samples]
    return found


def _spark(
    direction: str, place: int, samples: Sequence[series.Sample], begin: float, end: float
) -> str:
    points = [Point(sample.at, sample.means[place]) for sample in samples]
    only_means = any(sample.results > 1 for sample in samples)
    gap_seconds = GAP_WINDOWS * (HOUR_SECONDS if only_means else WINDOW_SECONDS)
    return sparkline(f"usage {direction} over 24 h", points, begin, end, direction, gap_seconds)


def _cells(row: ListedInstallation, words: Words) -> Iterator[Any]:
    state = row.state
    yield from (state.user, state.installation)
    yield from (words.kind(state), words.of(state))
    for value in (row.down_usage, row.up_usage):
        yield from (value, grades.of_usage(value))
    for value in (row.down_quality, row.up_quality):
        yield from (value, grades.of_quality(value))
    yield from (words.last_result(state), state.timestamp, state.newest)
    yield from (state.reports, state.kept, state.set_aside, row.asn, row.as_name)


# --- /failed -------------------------------------------------------------------------------------

FAILED_COLUMNS = (
    Column("user", "User"),
    Column("installation", "Installation"),
    Column("kept", "Kept", kind="number"),
    Column("next_try_at", "Next try", kind="time"),
    Column("reason", "Why they wait"),
    Column("rejected", "Rejected", kind="number"),
    Column("rejected_at", "Last one rejected", kind="ago"),
    Column("rejected_reason", "Why it was rejected"),
)

NONE_FAILED = "The tix-api has every result that was made: none is kept, none was rejected."


def show_failed(query: Query, _: Snapshot, history: Connection | None) -> View:
    """Show a page of the installations with such results."""
    data: dict[str, Any] = {"no_history": query.no_history}
    if history is None:
        return View("failed.html", "Not posted", data, Table(FAILED_COLUMNS, (), ""))
    page = lists.not_posted(history, query.number, ROWS)
    data |= {
        "page": page.number,
        "pages": page.pages,
        "total": page.total,
        "most_rejected": lists.MAX_REJECTED,
    }
    table = Table(FAILED_COLUMNS, [[*_failed_cells(row)] for row in page.rows], NONE_FAILED)
    pager = Pager(page.number, page.pages, page.total)
    return View("failed.html", "Not posted", data, table, pager)


def _failed_cells(row: NotPosted) -> Iterator[Any]:
    """Yield the cells; kept results without a time of the next try go out in the next cycle."""
    yield from (row.user, row.installation)
    yield from (row.kept, (row.next_try or None) if row.kept else None, with_hint(row.reason))
    yield from (row.rejected, row.rejected_at, row.rejected_words)
