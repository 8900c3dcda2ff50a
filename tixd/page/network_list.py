"""The page `/as`: networks compared by the last results of their installations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tixd.history import networks
from tixd.history.networks import COMPARED, MIN_INSTALLATIONS, Network, Quartiles
from tixd.page import grades
from tixd.page.charts import quartile_bar
from tixd.page.views import Column, Query, Table, View
from tixd.runtime.status import Snapshot

if TYPE_CHECKING:
    from tixd.history.store import Connection

#: A title for each of COMPARED, in its order.
TITLES = ("Usage down", "Usage up", "Quality down", "Quality up")

COLUMNS = (
    Column("asn", "AS"),
    Column("as_name", "Name"),
    Column("installations", "Installations", kind="number"),
    *(
        Column(f"{name}_{part}", f"{title}, {part}", kind="number", digits=2)
        for name, title in zip(COMPARED, TITLES, strict=True)
        for part in Quartiles._fields
    ),
)

EMPTY = (
    f"No AS has {MIN_INSTALLATIONS} installations with a result in the last 24 hours. The AS of an"
    " address is known where a table is set: TIX_ASN_TABLE. How to make one: tixd manual as-table."
)


#: What the template has beside the data.
SHOWN = {"titles": dict(zip(COMPARED, TITLES, strict=True)), "grades": grades.TONES}


def show(query: Query, _: Snapshot, history: Connection | None) -> View:
    """Show the networks, the worst first."""
    found = networks.networks(history, query.moment) if history else []
    data = {
        "no_history": query.no_history,
        "least_installations": MIN_INSTALLATIONS,
        "networks": [_members(network) for network in found],
    }
    figures = {
        f"{network.asn} {name}": quartile_bar(title, *values)
        for network in found
        for name, title, values in zip(COMPARED, TITLES, network.values, strict=True)
        if values
    }
    rows = [[*_cells(network)] for network in found]
    table = Table(COLUMNS, rows, "" if query.no_history else EMPTY)
    return View("networks.html", "Networks", data, table, figures=figures, shown=SHOWN)


def _cells(network: Network) -> Iterator[Any]:
    yield from (network.asn, network.name, network.installations)
    for values in network.values:
        yield from values or [None] * len(Quartiles._fields)


def _members(network: Network) -> dict[str, Any]:
    """Return a network with the words for its medians, by the names of COMPARED."""
    by_name = dict(zip(COMPARED, network.values, strict=True))
    return {
        "asn": network.asn,
        "as_name": network.name,
        "installations": network.installations,
        **{name: values._asdict() if values else None for name, values in by_name.items()},
        "grades": {name: _grade(name, values) for name, values in by_name.items()},
    }


def _grade(name: str, values: Quartiles | None) -> str:
    median = values.median if values else None
    return grades.of_usage(median) if name.endswith("usage") else grades.of_quality(median)
