"""The collector's pages: `/collector`, and one for each sender.

Rules: senders choose their names, so a name is escaped and never part of markup or of a class, and
its address leads back to exactly this name; what a sender was told in words is shown as it was.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tixd.history import sender_words, senders
from tixd.history.lists import page_numbers
from tixd.history.senders import SILENT_SECONDS, TYPES
from tixd.history.store import HOUR_SECONDS
from tixd.page.charts import Point, Series, TimeChart
from tixd.page.views import FORMS, Column, Page, Pager, Query, Table, View
from tixd.runtime.status import OutputView, Snapshot

if TYPE_CHECKING:
    from tixd.history.store import Connection

#: Senders on one page of the list.
PAGE_ROWS = 50

#: Longest name that its address has percent-encoded, characters; a longer one is in base64.
MAX_SEGMENT = 900

#: What to do where no sender was seen.
EMPTY = "No sender has been seen yet: point one at /gratia-servlets/rmi on this port."

#: Where one sender is: by its name, by its name in base64, by its address if it has no name.
BY_NAME, BY_BASE64 = "/collector/senders/", "/collector/senders/base64/"
BY_ADDRESS = "/collector/addresses/"

#: Hours that a chart shows, by the word that chooses them.
SPANS: Mapping[str, int] = {"day": 24, "week": 7 * 24}

#: Types of records in words.
TYPE_WORDS = {
    "JobUsageRecord": "jobs",
    "StorageElement": "storage elements",
    "StorageElementRecord": "storage use",
    "ProbeDetails": "handshakes",
}

#: What becomes of a bundle, as it is counted by hour, in words.
OUTCOMES = {"taken": "taken", "refused": "refused", "not_taken": "not taken, sent again"}

#: Classes of the style sheet for series, from the lowest bar up.
_STYLES = ("one", "two", "three", "four")

#: What each answer means.
ANSWERS = {
    "200": "taken, or a ping: every output has every record",
    "400": "refused: the answer says which record is wrong",
    "408": "not taken: the request did not come in time",
    "413": "refused: too large",
    "415": "refused: no form",
    "500": "not taken: unexpected, see the log",
    "503": "not taken: an output or memory was not there",
    "0": "none: the sender left before it",
    "other": "refused: no bundle",
}

#: What the list of senders has of each; state as in `tixd probes`, words: the same with the time.
COLUMNS = (
    Column("sender", "Sender"),
    Column("address", "Address"),
    Column("state", "State"),
    Column("words", "State"),
    Column("first_seen_at", "First seen", kind="time"),
    Column("last_seen_at", "Last seen", kind="ago"),
    Column("bundles", "Bundles", kind="number"),
    Column("records", "Records", kind="number"),
    Column("failed", "Failed", kind="number"),
    Column("last_failure_at", "Last failure", kind="time"),
    Column("last_failure_code", "Answer"),
    Column("last_failure_reason", "Why"),
    *(Column(kind, TYPE_WORDS[kind].capitalize(), kind="number") for kind in TYPES),
    Column("page", "Page"),
)

#: What the list of hours has of each.
HOUR_COLUMNS = (
    Column("begin_at", "Hour from", kind="time"),
    *(Column(name, words.capitalize(), kind="number") for name, words in OUTCOMES.items()),
    *(Column(kind, TYPE_WORDS[kind].capitalize(), kind="number") for kind in TYPES),
)

_Hours = Mapping[int, Mapping[str, int]]


# --- every sender --------------------------------------------------------------------------------


def show(query: Query, now: Snapshot, history: Connection | None) -> View:
    """Show what comes in, what becomes of it, and which senders need attention."""
    data: dict[str, Any] = {
        "outputs": [_output(output) for output in now.outputs],
        "last_taken_at": now.bundles.accepted,
        "trouble": now.bundles.trouble(now.moment),
        "no_history": query.no_history,
    }
    if history is None:
        return View("senders.html", "Collector", data)
    since = _begin(query.moment, SPANS["day"])
    states = senders.states(history, query.moment - SILENT_SECONDS, query.search)
    total = sum(states.values())
    pager = Pager(*page_numbers(query.number, total, PAGE_ROWS), total)
    hours = senders.hours(history, since)
    totals = _total(hours)
    data |= {
        "since_at": since,
        "summary": sender_words.summary(states) if states or not query.search else "",
        "states": {name or "well": count for name, count in states.items()},
        "left_out": sender_words.left_out(senders.dropped(history)),
        "total": totals,
        "records": sum(totals[kind] for kind in TYPES),
        "records_per_second": _current_rate(hours, query.moment),
        "answers": _answers(senders.answers(history)),
        "hours": _hour_table(hours).members(),
        **_source(now),
    }
    rows = _listed(history, query, since, pager)
    return View("senders.html", "Collector", data, rows, pager, _figures(hours, since, query))


def _output(output: OutputView) -> Mapping[str, Any]:
    return {
        "name": output.name,
        "target": output.target,
        "reason": output.reason,
        "last_confirm_at": output.confirmed,
        "last_refusal_at": output.refused,
        "last_refusal": output.refusal,
    }


def _listed(history: Connection, query: Query, since: int, pager: Pager) -> Table:
    """Return the senders of one page of the list."""
    silent, skip = query.moment - SILENT_SECONDS, (pager.number - 1) * PAGE_ROWS
    found = senders.read(history, since, silent, PAGE_ROWS, skip=skip, search=query.search)
    empty = "No sender fits; search for less." if query.search else EMPTY
    return Table(COLUMNS, [_cells(row) for row in found], empty)


def _cells(row: sender_words.Row) -> Sequence[Any]:
    return (
        *(row[name] for name in ("sender", "address", "state")),
        sender_words.state(row),
        *(row[name] for name in ("first_seen", "last_seen", "taken")),
        sender_words.records(row),
        sender_words.failed(row),
        *(row[name] for name in ("failed_at", "failed_code", "failed_reason")),
        *(row[kind] for kind in TYPES),
        address_of(row["sender"], row["address"]),
    )


def _source(now: Snapshot) -> Mapping[str, Any]:
    """Return whose history it is."""
    file = now.history.file if now.history else ""
    return {"history_file": file, "shares_port": now.shares_port}


# --- one sender ----------------------------------------------------------------------------------


def show_named(query: Query, now: Snapshot, history: Connection | None) -> View:
    """Show the sender that calls itself so."""
    return _one(query, now, history, query.parameters["name"], "")


def show_base64(query: Query, now: Snapshot, history: Connection | None) -> View:
    """Show the sender whose name is this in base64."""
    return _one(query, now, history, _from_base64(query.parameters["name"]), "")


def show_unnamed(query: Query, now: Snapshot, history: Connection | None) -> View:
    """Show the sender without a name at this address."""
    return _one(query, now, history, "", query.parameters["address"])


def pages_of_one(roles: frozenset[str]) -> Sequence[Page]:
    """Return the pages of one sender, for the table of pages."""
    shown = {
        BY_NAME + "{name}": show_named,
        BY_BASE64 + "{name}": show_base64,
        BY_ADDRESS + "{address}": show_unnamed,
    }
    choices = {"span": tuple(SPANS)}
    return [Page(path, roles, show, choices=choices) for path, show in shown.items()]


def _one(query: Query, now: Snapshot, history: Connection | None, name: str, address: str) -> View:
    title = name or (f"({address})" if address else "Unknown sender")
    data: dict[str, Any] = {"sender": name, "address": address, "no_history": query.no_history}
    if history is None:
        return View("sender.html", title, data)
    since = _begin(query.moment, SPANS[query.choices["span"]])
    row = senders.read_one(history, name, address, since, query.moment - SILENT_SECONDS)
    if row is None:
        return View("sender.html", title, data, status=404)
    hours = senders.hours(history, since, (name, address))
    members = dict(zip((column.name for column in COLUMNS), _cells(row), strict=True))
    data |= {
        **members,
        "since_at": since,
        "last_taken_at": row["taken_at"],
        "failure": sender_words.failure(row),
        "by_type": ", ".join(sender_words.by_type(row)),
        "pings": row["pings"],
        "answers": _answers(row),
        **_source(now),
    }
    figures = _figures(hours, since, query)
    return View("sender.html", title, data, _hour_table(hours), figures=figures)


# --- addresses -----------------------------------------------------------------------------------


def address_of(name: str, address: str) -> str:
    """Return the path of a sender's page.

    A name that no path can bear is in base64: browsers drop segments of dots, one that ends as a
    form of the page would be taken for it, and a long one makes a request too long.

    >>> address_of("slurm:ce 1/a%2Fb", "192.0.2.1"), address_of("", "192.0.2.1")
    ('/collector/senders/slurm%3Ace%201%2Fa%252Fb', '/collector/addresses/192.0.2.1')
    >>> address_of("..", "192.0.2.1")
    '/collector/senders/base64/Li4'
    """
    if not name:
        return BY_ADDRESS + quote(address, safe="")
    segment = quote(name, safe="")
    if name.strip(".") and not name.endswith(FORMS) and len(segment) <= MAX_SEGMENT:
        return BY_NAME + segment
    return BY_BASE64 + base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _from_base64(text: str) -> str:
    """Return the name; "" where it is none, which no sender in that table has."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return ""


# --- hours ---------------------------------------------------------------------------------------


def _begin(moment: float, hours: int) -> int:
    """Return the beginning of the hour so many hours ago."""
    return (int(moment) // HOUR_SECONDS - hours) * HOUR_SECONDS


def _hour_table(hours: _Hours) -> Table:
    """Return the hours, the latest first."""
    names = [column.name for column in HOUR_COLUMNS[1:]]
    rows = [(begin, *(hours[begin][name] for name in names)) for begin in sorted(hours)[::-1]]
    return Table(HOUR_COLUMNS, rows, "Nothing came in this time.")


def _total(hours: _Hours) -> Mapping[str, int]:
    return {name: sum(hour[name] for hour in hours.values()) for name in senders.HOURLY}


def _answers(totals: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the answers that were given, with what each means."""
    named = ((code, totals[f"code_{code}"], words) for code, words in ANSWERS.items())
    return [{"code": code, "count": n, "words": words} for code, n, words in named if n]


def _figures(hours: _Hours, since: int, query: Query) -> Mapping[str, str]:
    """Return the charts of an hour each bar: records a second by type, and bundles by outcome."""
    rates = _rates(hours, query.moment)
    charts = (
        _chart("records", "Records a second", TYPE_WORDS, rates, since, query),
        _chart("bundles", "Bundles an hour", OUTCOMES, hours, since, query),
    )
    return {chart.name: chart.legend() + chart.svg() for chart in charts}


def _rates(hours: _Hours, moment: float) -> dict[int, dict[str, float]]:
    """Return the records a second of each type, in each hour as far as it has passed."""
    return {
        begin: {kind: hour[kind] / _seconds(begin, moment) for kind in TYPES}
        for begin, hour in hours.items()
    }


def _current_rate(hours: _Hours, moment: float) -> float:
    """Return the records a second of this hour."""
    return sum(_rates(hours, moment).get(_begin(moment, 0), {}).values())


def _seconds(begin: int, moment: float) -> float:
    """Return how much of an hour has passed."""
    return min(float(HOUR_SECONDS), max(1.0, moment - begin))


def _chart(
    name: str,
    title: str,
    words: Mapping[str, str],
    hours: Mapping[int, Mapping[str, float]],
    since: int,
    query: Query,
) -> TimeChart:
    """Return bars on each other, one for each hour and name that has any."""
    known = [each for each in words if any(hour[each] for hour in hours.values())]
    series = [
        Series(words[each], _points(hours, each), style)
        for each, style in zip(known, _STYLES, strict=False)
    ]
    most = max((sum(hour[each] for each in known) for hour in hours.values()), default=0.0)
    is_rate = name == "records"
    return TimeChart(
        name,
        title,
        series or [Series(title, [])],
        begin=since,
        end=_begin(query.moment, -1),
        step_seconds=HOUR_SECONDS,
        unit="records/s" if is_rate else "bundles",
        digits=0 if not is_rate or most >= 100 else 1 if most >= 10 else 2 if most >= 1 else 3,
        is_bars=True,
    )


def _points(hours: Mapping[int, Mapping[str, float]], name: str) -> list[Point]:
    """Return a point in the middle of each hour that has any."""
    found = ((begin + HOUR_SECONDS / 2, hour[name]) for begin, hour in sorted(hours.items()))
    return [Point(at, float(value)) for at, value in found if value]
