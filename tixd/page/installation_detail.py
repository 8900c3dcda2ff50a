"""The page of one installation: its values over a day, a week or a month, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from tixd.history import lists, series
from tixd.history.installations import events
from tixd.history.series import SERIES, Sample
from tixd.history.store import DAY_SECONDS, HOUR_SECONDS
from tixd.page import grades
from tixd.page.charts import Point, Series, TimeChart
from tixd.page.installation_list import STATE_TONES, WINDOW_SECONDS, words_of
from tixd.page.views import Column, Query, Table, Tone, View
from tixd.results.payload import posted_usage
from tixd.runtime.status import Snapshot

if TYPE_CHECKING:
    from tixd.history.lists import ListedInstallation
    from tixd.history.store import Connection

#: How many of the last windows are listed.
MAX_WINDOWS = 50


class Span(NamedTuple):
    """A time to look at: its words, how long it is, and the step of its samples, 0: each result."""

    words: str
    seconds: int
    step_seconds: int


#: What can be looked at, the default first.
SPANS: Mapping[str, Span] = MappingProxyType(
    {
        "day": Span("a day", DAY_SECONDS, 0),
        "week": Span("a week", 7 * DAY_SECONDS, HOUR_SECONDS),
        "month": Span("a month", 30 * DAY_SECONDS, 4 * HOUR_SECONDS),
    }
)

#: Steps of samples in words.
STEPS = {HOUR_SECONDS: "an hour", 4 * HOUR_SECONDS: "4 hours"}

#: Charts: what they show, and the names of the numbers without their direction.
CHARTS = {
    "usage": "Usage",
    "quality": "Quality",
    "hurst_rs": "Hurst exponent, R/S",
    "hurst_wavelet": "Hurst exponent, wavelets",
}

#: Directions, as in the table.
DIRECTIONS = ("down", "up")

#: How outcomes are shown.
OUTCOME_TONES: Mapping[str, Tone] = MappingProxyType({"kept": "warn", "rejected": "bad"})

COLUMNS = (
    Column("timestamp_at", "Window until", kind="time"),
    Column("outcome", "Outcome", tones=OUTCOME_TONES),
    *(
        Column(f"{direction}_{name}", f"{title} {direction}", kind="number", digits=2)
        for name, title in (
            ("usage", "Usage"),
            ("quality", "Quality"),
            ("hurst_rs", "H R/S"),
            ("hurst_wavelet", "H wav."),
        )
        for direction in DIRECTIONS
    ),
    Column("asn", "AS"),
    Column("reason", "Why it is not posted"),
)


EMPTY = "No result is known yet: the first one takes about 18 minutes of reports."

#: Columns of the results that are not posted.
WITHHELD = (
    Column("timestamp_at", "Window until", kind="time"),
    Column("known_at", "Outcome known", kind="time"),
    Column("outcome", "Outcome", tones=OUTCOME_TONES),
    Column("reason", "Why"),
)

#: Columns of the times at which reports were set aside.
SET_ASIDE = (
    Column("at", "When", kind="time"),
    Column("reports", "Reports", kind="number"),
    Column("reason", "Why the last one"),
)


#: What the template has beside the data.
SHOWN = {
    "tones": STATE_TONES,
    "grades": grades.TONES,
    "charts": CHARTS,
    "spans": {word: span.words for word, span in SPANS.items()},
}


def show(query: Query, now: Snapshot, history: Connection | None) -> View:
    """Show the installation that the path names."""
    user, number = int(query.parameters["user"]), int(query.parameters["installation"])
    name = f"{user}/{number}"
    data: dict[str, Any] = {"no_history": query.no_history, "user": user, "installation": number}
    if history is None:
        return View("installation.html", name, data | {"state": None}, Table(COLUMNS, (), ""))
    words = words_of(query, now, history)
    found = lists.listed(history, words, name, "installation", 1, 1).rows
    if not found:
        return View("installation.html", name, data | {"state": None}, status=404)
    span = query.choices["span"]
    begin, end = query.moment - SPANS[span].seconds, query.moment
    samples, step = _samples(history, (user, number), begin, end, SPANS[span].step_seconds)
    withheld = Table(
        WITHHELD, series.withheld(history, user, number, begin, end), "Every result was posted."
    )
    set_aside = Table(
        SET_ASIDE, series.set_aside(history, user, number), "None: every report could be used."
    )
    data |= {
        **_facts(found[0]),
        "state": words.kind(found[0].state),
        "state_words": words.of(found[0].state),
        "span": span,
        "step_seconds": step or WINDOW_SECONDS,
        "series": _columns(samples),
        "withheld": withheld.members(),
        "set_aside_last": set_aside.members(),
    }
    rows = [[*_cells(row)] for row in events(history, user, number, MAX_WINDOWS)]
    table = Table(COLUMNS, rows, EMPTY)
    figures = {kind: _chart(kind, samples, begin, end, step) for kind in CHARTS}
    shown = SHOWN | {"step_words": STEPS.get(step), "withheld": withheld, "set_aside": set_aside}
    return View("installation.html", name, data, table, figures=figures, shown=shown)


def _samples(
    history: Connection, key: tuple[int, int], begin: float, end: float, step: int
) -> tuple[list[Sample], int]:
    """Return the samples, and their step, 0: each result; by the hour where only means are left."""
    samples = series.series_of(history, [key], begin, end)[key]
    if not all(sample.lows for sample in samples):
        step = step or HOUR_SECONDS
    return (series.in_steps(samples, step), step) if step else (samples, 0)


def _facts(found: ListedInstallation) -> dict[str, Any]:
    """Return what is known of the installation, by name; times are epoch seconds."""
    state = found.state
    values = {
        f"{direction}_{name}": getattr(found, f"{direction}_{name}")
        for name in ("usage", "quality")
        for direction in DIRECTIONS
    }
    words = {
        f"{name}_grade": grades.of_usage(v) if name.endswith("usage") else grades.of_quality(v)
        for name, v in values.items()
    }
    return {
        **values,
        **words,
        "asn": found.asn,
        "as_name": found.as_name,
        "seen_at": state.seen_at,
        "report_at": state.newest,
        "result_at": state.result_at,
        "window_end_at": state.timestamp,
        "posted_at": state.posted_at,
        "reports": state.reports,
        "kept": state.kept,
        "next_try_at": (state.next_try or None) if state.kept else None,
        "reason": state.reason if state.kept else "",
        "set_aside": state.set_aside,
        "trouble": state.trouble,
    }


def _columns(samples: Sequence[Sample]) -> dict[str, list[Any]]:
    """Return the series as columns; lowest and highest of a mean are null where not known."""
    found: dict[str, list[Any]] = {
        "at": [round(sample.at) for sample in samples],
        "results": [sample.results for sample in samples],
    }
    for place, name in enumerate(SERIES):
        found[name] = [sample.means[place] for sample in samples]
        found[f"{name}_low"] = [s.lows[place] if s.lows else None for s in samples]
        found[f"{name}_high"] = [s.highs[place] if s.highs else None for s in samples]
    return found


def _chart(kind: str, samples: Sequence[Sample], begin: float, end: float, step: int) -> str:
    lines = [
        Series(direction, [*_points(SERIES.index(f"{direction}_{kind}"), samples)], direction)
        for direction in DIRECTIONS
    ]
    chart = TimeChart(
        kind,
        f"{CHARTS[kind]} by direction",
        lines,
        begin,
        end,
        step or WINDOW_SECONDS,
        high=1.0,
        are_means=bool(step),
    )
    return chart.svg()


def _points(place: int, samples: Sequence[Sample]) -> Iterator[Point]:
    for sample in samples:
        bounds = (sample.lows[place], sample.highs[place]) if sample.lows else ()
        yield Point(sample.at, sample.means[place], *bounds)


def _cells(row: Any) -> Iterator[Any]:
    """Yield the cells of a row of the view `results`."""
    yield from (row["timestamp"], row["outcome"])
    for name in CHARTS:
        for direction in DIRECTIONS:
            value = row[f"{direction}_{name}"]
            yield posted_usage(value) if name == "usage" else value
    yield from (row["asn"], row["words"] or "")
