"""The windows of `tixd analyze --by-as`: one row for each AS.

In: folder, origin and result of each window. Out: a table, or one JSON object a line. Rules: values
are means over the windows in which they are defined; the AS with most windows comes first.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, fields

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tixd.analysis.summary import Direction, Summary
from tixd.asn.origin import UNKNOWN, Origin
from tixd.results.payload import WindowResult, failed_report

#: Width of the table where nobody looks at it on a terminal: no line of it is ever folded.
_PLAIN_COLUMNS = 10_000

Window = tuple[str, Origin | None, Summary | None]


@dataclass(frozen=True, slots=True)
class Group:
    """What is known of the windows of one AS; origin: as one of them has it."""

    origin: Origin
    installations: int
    windows: int
    upstream: Direction
    downstream: Direction


def show_by_as(windows: Iterable[Window], form: str) -> None:
    """Print the groups as `form` says: "table" or "json"."""
    groups = grouped(windows)
    if form == "json":
        for group in groups:
            click.echo(_as_json(group))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("AS", no_wrap=True)
    ways = (f"{way} {name}" for way in ("up", "down") for name in ("usage", "qual.", "R/S", "wav."))
    for heading in ("inst.", "windows", *ways):
        table.add_column(heading, justify="right")
    for group in groups:
        counts = (str(group.installations), str(group.windows))
        table.add_row(Text(str(group.origin)), *counts, *_cells(group))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_COLUMNS
    if groups:
        console.print(table)


def grouped(windows: Iterable[Window]) -> list[Group]:
    """The windows by the number of their AS, that with most windows first."""
    by_asn: dict[int | None, list[Window]] = {}
    for window in windows:
        by_asn.setdefault((window[1] or UNKNOWN).asn, []).append(window)
    groups = [_group(members) for members in by_asn.values()]
    return sorted(groups, key=lambda group: (-group.windows, group.origin.asn or 0))


def _group(members: list[Window]) -> Group:
    summaries = [summary for _, _, summary in members if summary]
    return Group(
        origin=members[0][1] or UNKNOWN,
        installations=len({path for path, _, _ in members}),
        windows=len(members),
        upstream=_mean([summary.upstream for summary in summaries]),
        downstream=_mean([summary.downstream for summary in summaries]),
    )


def _mean(directions: list[Direction]) -> Direction:
    """The mean of each value; None where it is defined nowhere."""
    means = []
    for member in fields(Direction):
        values = [getattr(direction, member.name) for direction in directions]
        defined = [value for value in values if value is not None]
        means.append(statistics.fmean(defined) if defined else None)
    return Direction(*means)


def _values(way: Direction) -> list[float | None]:
    return [way.usage, way.quality, way.hurst_rs, way.hurst_wavelet]


def _cells(group: Group) -> list[str]:
    values = _values(group.upstream) + _values(group.downstream)
    return ["-" if value is None else f"{value:.2f}" for value in values]


def _as_json(group: Group) -> bytes:
    """One line: number and name of the AS, counts, and means of the values as computed."""
    means = WindowResult("", Summary(0, group.upstream, group.downstream))
    results = orjson.loads(failed_report(means))["results"]
    return orjson.dumps(
        {
            "asn": group.origin.asn,
            "asName": group.origin.name,
            "installations": group.installations,
            "windows": group.windows,
            "upstream": results["upstream"],
            "downstream": results["downstream"],
        }
    )
