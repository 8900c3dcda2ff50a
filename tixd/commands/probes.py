"""`tixd probes`: what each sender of usage records has sent to the collectors here, and when.

Reads the history of every collector that runs here; collectors that share a port share senders.
Rules: nothing is changed; senders that need attention come first; names were made harmless when
they were stored (history/senders.py).
"""

from __future__ import annotations

import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import orjson

from tixd import errors
from tixd.commands import AnyInvocation, CollectorInvocation, ask_collectors
from tixd.commands.output import as_seconds, format_option, print_csv, terminal_columns
from tixd.display import iso_time, minute
from tixd.history import sender_words, senders, store
from tixd.history.sender_words import Row
from tixd.runtime.status import duration

#: Histories of the services tixd@collector, and tixd with the collector as its role.
SYSTEM_FILES = tuple(
    f"/var/lib/{folder}/{store.COLLECTOR_FILE_NAME}" for folder in ("tixd-collector", "tixd")
)

#: Most senders in a table; the others are counted.
MAX_ROWS = 500

#: Longest name that stands in its column; a longer one has a line of its own.
MAX_NAME_COLUMNS = 60

#: The columns of CSV: times are ISO 8601.
CSV = (
    "sender", "address", "state", "first_seen", "last_seen", "last_taken",
    *senders.HOURLY, "last_failure", "last_failure_code", "last_failure_reason",
)  # fmt: skip


@click.command()
@click.option(
    "--since",
    metavar="DURATION",
    callback=as_seconds,
    default="24h",
    show_default=True,
    help="count what came in this time, from a full hour on",
)
@click.option(
    "--silent",
    metavar="DURATION",
    callback=as_seconds,
    default="2h",
    show_default=True,
    help="a sender that sent nothing for so long is SILENT",
)
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="a history to read instead, as of a collector that does not run",
)
@format_option("a table to read, one JSON object a line for each sender, or CSV", "csv")
@click.pass_obj
def command(
    invocation: AnyInvocation, *, since: float, silent: float, file: Path | None, form: str
) -> None:
    """Show what each probe, or other sender, has sent to the collectors here.

    First those of which nothing is taken, then those that are SILENT, then the others by name. A
    sender counts as seen whatever it was answered, and one that gives no name is shown by its
    address. Records are those of bundles that were taken.

    \b
    Examples: which probe has stopped; what came this week, for a spreadsheet
      tixd probes
      tixd probes --since 168h --format csv > week.csv
    """
    now = time.time()
    since, silent = now - since, now - silent
    most = MAX_ROWS if form == "table" else None
    files = [str(file)] if file else _histories(invocation)
    rows, states, dropped = _read(files, since, silent, most)
    if form == "json":
        sys.stdout.writelines(f"{orjson.dumps(row).decode()}\n" for row in rows)
    elif form == "csv":
        print_csv(CSV, map(_cells, rows))
    else:
        _print_table(rows, _summary(states, since, dropped), now, since)


def _print_table(rows: Sequence[Row], summary: Iterable[str], now: float, since: float) -> None:
    width = terminal_columns()
    if rows:
        print(*table(rows, width, now, since), "", sep="\n")
    for text in summary:
        print(*_folded(text, width), sep="\n")


def _read(
    files: Sequence[str], since: float, silent_before: float, most: int | None
) -> tuple[Sequence[Row], Mapping[str, int], int]:
    """Return the first senders, how many are in each state, and how many were dropped."""
    with ExitStack() as stack:
        opened = [stack.enter_context(store.reading(file)) for file in files]
        dropped = sum(map(senders.dropped, opened))
        if len(opened) == 1:
            states = senders.states(opened[0], silent_before)
            return senders.read(opened[0], since, silent_before, most), states, dropped
        rows = merged(senders.read(each, since, silent_before) for each in opened)
    states = Counter(row["state"] for row in rows)
    return rows[:most], states, dropped


def _histories(invocation: AnyInvocation) -> list[str]:
    """Return the files of the collectors that run here, or of those that ran here.

    Raises NotRunning, or NotDone where they keep none.
    """
    try:
        histories = [role["history"] for role in ask_collectors(invocation)]
    except errors.NotRunning:
        named = [_own(invocation)] if isinstance(invocation, CollectorInvocation) else SYSTEM_FILES
        found = [*filter(store.size_bytes, named)]
        if not found:
            raise
        return found
    files = list(dict.fromkeys(history["file"] for history in histories if history))
    if not files:
        raise errors.NotDone(
            "the collector keeps no history: set historyFile (TIX_HISTORY) to a file whose name"
            " ends in .sqlite, and restart it"
        )
    return files


def _own(invocation: CollectorInvocation) -> str:
    """Return the history of the collector that the settings describe; "": it keeps none."""
    loaded = invocation.load_for_asking()
    return store.path_of(
        loaded.settings.history, loaded.environment.state_folder, store.COLLECTOR_FILE_NAME
    )


def merged(found: Iterable[Iterable[Row]]) -> list[Row]:
    """Return the senders of several histories; one that is in two has one row."""
    rows: dict[tuple[str, str], Row] = {}
    for row in (row for part in found for row in part):
        key = row["sender"], "" if row["sender"] else row["address"]
        rows[key] = _sum(rows[key], row) if key in rows else row
    return sorted(rows.values(), key=_order)


def _sum(one: Row, other: Row) -> Row:
    """Return what two collectors know of a sender."""
    older, newer = sorted((one, other), key=lambda row: float(row["last_seen"]))
    failed = max(one, other, key=lambda row: row["failed_at"] or 0)
    taken = max(row["taken_at"] or 0 for row in (one, other))
    found = {
        **newer,
        **{name: older[name] + newer[name] for name in senders.COUNTS},
        **{name: failed[name] for name in ("failed_at", "failed_code", "failed_reason")},
        "first_seen": min(one["first_seen"], other["first_seen"]),
        "taken_at": taken or None,
    }
    if newer["state"] != "silent":
        found["state"] = "failing" if (failed["failed_at"] or 0) > taken else ""
    return found


def _order(row: Row) -> tuple[object, ...]:
    """Sort as the history does: failing, then silent, those first that stopped last; by name."""
    state = row["state"]
    latest = -row["last_seen"] if state == "silent" else 0
    rank = ("failing", "silent", "").index(state)
    return rank, row["taken_at"] is None, latest, row["sender"]


def _cells(row: Row) -> Iterator[str | float | None]:
    """Yield the cells of a row of CSV."""
    yield from (row["sender"], row["address"], row["state"])
    for moment in (row["first_seen"], row["last_seen"], row["taken_at"]):
        yield _iso(moment)
    yield from (row[name] for name in senders.HOURLY)
    yield from (_iso(row["failed_at"]), row["failed_code"], row["failed_reason"])


def _iso(moment: float | None) -> str | None:
    return None if moment is None else iso_time(moment)


# --- the table -----------------------------------------------------------------------------------


def table(rows: Sequence[Row], width: int, now: float, since: float) -> Iterator[str]:
    """Yield the lines about senders, none wider than `width` columns where names allow it.

    What is wrong with a sender, its records by type, and why the last bundle failed that came since
    then, stand below its line.
    """
    cells = [("sender", *_HEADINGS), *(_columns(row, now) for row in rows)]
    keep = [n for n, least in enumerate(_LEAST_WIDTHS) if width >= least]
    lines = [tuple(line[n] for n in keep) for line in cells]
    longest = [max(map(len, column)) for column in zip(*lines, strict=True)]
    names = min(longest[0], MAX_NAME_COLUMNS, max(6, width - sum(longest[1:]) - 2 * len(longest)))
    for number, (name, *others) in enumerate(lines):
        fits = len(name) <= names
        if not fits:
            yield from textwrap.wrap(name, width)
        words = map(str.rjust, others, longest[1:])
        yield "  ".join([(name if fits else "").ljust(names), *words]).rstrip()
        if number:
            for part in _details(rows[number - 1], since, has_address=1 in keep):
                yield from _folded(part, width, "    ")


#: Columns beside the name, and the width from which on each column is shown, the name's first.
_HEADINGS = ("address", "first seen (UTC)", "last seen", "bundles", "records", "failed")
_LEAST_WIDTHS = (0, 100, 120, 0, 0, 0, 0)


def _columns(row: Row, now: float) -> tuple[str, ...]:
    """Return the cells of a line, the name's first."""
    numbers = row["taken"], sender_words.records(row), sender_words.failed(row)
    ago = f"{duration(now - row['last_seen'])} ago"
    return (
        sender_words.name(row),
        row["address"],
        minute(row["first_seen"]),
        ago,
        *(f"{n:,}" for n in numbers),
    )


def _folded(text: str, width: int, indent: str = "") -> list[str]:
    """Return the lines of a text."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    ) or [""]


def _details(row: Row, since: float, *, has_address: bool) -> Iterator[str]:
    """Yield what is wrong with a sender, where it is and what it sent, and why a bundle failed."""
    if row["state"]:
        yield sender_words.state(row)
    known = [*sender_words.by_type(row)]
    if not has_address and row["sender"]:
        known.insert(0, row["address"])
    if known:
        yield ", ".join(known)
    if row["failed_at"] and (row["state"] == "failing" or row["failed_at"] > since):
        yield f"last failure {sender_words.failure(row)}"


def _summary(states: Mapping[str, int], since: float, dropped: int) -> Iterator[str]:
    yield sender_words.summary(states)
    count = sum(states.values())
    if not count:
        return
    hour = minute(since // store.HOUR_SECONDS * store.HOUR_SECONDS)
    yield f"Bundles, records and failures are those since {hour} UTC."
    if count > MAX_ROWS:
        yield f"The first {MAX_ROWS:,} are shown; --format csv or json shows all."
    if dropped:
        yield sender_words.left_out(dropped)
