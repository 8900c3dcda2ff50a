"""What `tixd analyze` says of a window: members of JSON, columns of CSV, and how sure it is.

Rules: both are the same whatever the options; what is unknown is null, or an empty cell. Each
member and column stands here once, with its meaning, which the manual repeats. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from tixd.analysis.clock_steps import ClockVerdict
from tixd.analysis.summary import Direction, Estimator, Summary
from tixd.asn.origin import UNKNOWN, Origin
from tixd.results.payload import posted_usage
from tixd.simulation.evaluation import Agreement

Way = Literal["upstream", "downstream"]
WAYS: tuple[Way, ...] = ("upstream", "downstream")

#: A direction of a window without a short packet.
UNDEFINED = Direction(None, None, None, None)

#: Readings of the two estimators that differ by more leave usage by the mode in doubt. They do on
#: idle uplinks, which the mode reads as used by a third, and on lines that are full throughout.
DISPUTED = 0.3

#: How sure the values of a direction are, the worst that applies first; with what it means.
SURE = {
    "clock-bad": "the clocks do not fit together: distrust the usage by either estimator",
    "clock-set": "a clock was set within the window: distrust the usage by mode",
    "disputed": f"the other estimator's usage differs by more than {DISPUTED} from that by mode",
    "unsteady": "the two halves of the ten minutes differ: usage is a mean of unequal parts",
    "yes": "none of these was found",
}

#: The range that each value may have by its meaning; estimates of Hurst exponents may leave it.
RANGE = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Analysed:
    """One window and its result, by `estimator`, with usage by the other one beside it.

    top: the folder or archive that was read; path: the folder of the installation in it; first: the
    window's first epoch second; source: the address that all its reports came from; reports,
    observations: how many it holds, duplicates included; summary: None where it has no short
    packet; origin: the AS of `source`, None where no AS table is set; truth: usage up and down as
    the experiment's description states it, None where it is unknown.
    """

    top: str
    path: str
    first: int
    source: str
    reports: int
    observations: int
    estimator: Estimator
    summary: Summary | None
    origin: Origin | None
    truth: tuple[float | None, float | None] = (None, None)

    @property
    def name(self) -> str:
        """Return the installation's path below what was read."""
        return self.path.removeprefix(self.top).strip("/") or self.path.rsplit("/", 1)[-1]

    @property
    def ways(self) -> tuple[Direction, Direction]:
        """Return the results up and down."""
        if self.summary is None:
            return UNDEFINED, UNDEFINED
        return self.summary.upstream, self.summary.downstream

    @property
    def clock(self) -> ClockVerdict | None:
        """Return the verdict on the clocks; None without a short packet."""
        return self.summary.clock if self.summary else None

    @property
    def sure(self) -> str | None:
        """Return the worst word of SURE in either direction; None without a short packet."""
        words = {self.sure_of(way) for way in self.ways}
        return next((word for word in SURE if word in words), None)

    def sure_of(self, way: Direction) -> str | None:
        """Return the worst word of SURE for a direction; None without a short packet."""
        if self.summary is None:
            return None
        by_mode = self.estimator == "mode"
        found = {
            "clock-bad": self.clock == "not-credible",
            "clock-set": by_mode and self.clock == "set",
            "disputed": by_mode and _is_disputed(way),
            "unsteady": bool(way.unsteady),
        }
        return next((word for word, applies in found.items() if applies), "yes")


def _is_disputed(way: Direction) -> bool:
    usage, other = posted_usage(way.usage), posted_usage(way.usage_alt)
    return usage is not None and other is not None and abs(usage - other) > DISPUTED


def outside(value: float | None) -> bool:
    """Return whether a value lies outside the range that it may have by its meaning.

    >>> outside(1.01), outside(-0.1), outside(1.0), outside(None)
    (True, True, False, False)
    """
    return value is not None and not RANGE[0] <= value <= RANGE[1]


# --- JSON ----------------------------------------------------------------------------------------

#: Members of a direction, below result.upstream and result.downstream.
WAY_MEMBERS = {
    "usage": "as computed; by mode it may exceed 1",
    "usagePosted": "as it is posted: limited to 0..1",
    "usageAlt": "by the other estimator, as computed",
    "usageWidth": "of the usage by delayed probes: 95 of 100 readings are closer to the truth",
    "unsteady": "true where the two halves of the ten minutes read differently",
    "sure": f"how sure its usage is: {', '.join(reversed(SURE))}",
    "quality": "share of minutes that are not congested, 0..1",
    "hurst.rs": "Hurst exponent by rescaled range",
    "hurst.wavelet": "Hurst exponent by wavelets; it may exceed 1",
}

#: Members of a direction that have no mean.
_WORDS = ("unsteady", "sure")

#: Members of a window, with their meaning.
WINDOW_MEMBERS = {
    "type": "window",
    "path": "folder of the installation",
    "window": "first epoch second of the window",
    "ip": "address that the reports came from",
    "asn": "number of its AS; null without an AS table (TIX_ASN_TABLE)",
    "asName": "name of its AS",
    "reports": "reports in the window",
    "observations": "packets in them, duplicates included",
    "result.timestamp": "epoch second of the last short packet; values are of the 600 s up to it",
    "result.estimator": "how `usage` and `quality` were computed: mode, delayed-probes",
    **{f"result.upstream.{name}": meaning for name, meaning in WAY_MEMBERS.items()},
    **dict.fromkeys((f"result.downstream.{name}" for name in WAY_MEMBERS), "likewise"),
    "result.clock": "fine, set, not-credible",
    "result.sure": "the worse one of both directions",
    "truth.upstream": "usage that the experiment's description states, with --truth",
    "truth.downstream": "likewise",
}

#: Members of the lines that --truth adds after the windows.
AGREEMENT_MEMBERS = {
    "type": "agreement",
    "way": "upstream, downstream",
    "estimator": "mode, delayed-probes",
    "windows": "how many have a known truth",
    "error": "mean of |usage - truth|",
    "bias": "mean of usage - truth",
    "relative": "mean of |usage - truth| / truth, where truth is above 0",
    "correlation": "Pearson's, of usage and truth",
}

#: Members of a line of --by-as; values are means over the windows in which they are defined.
AS_MEMBERS = {
    "type": "as",
    "asn": "number of the AS; null for addresses without one",
    "asName": "its name",
    "installations": "folders with windows from there",
    "windows": "windows from there",
    "estimator": "mode, delayed-probes",
    **{f"upstream.{n}": m for n, m in WAY_MEMBERS.items() if n not in _WORDS},
    **dict.fromkeys((f"downstream.{n}" for n in WAY_MEMBERS if n not in _WORDS), "likewise"),
}


def way_values(window: Analysed, number: int) -> dict[str, Any]:
    """Return the values of a direction, 0 up and 1 down, by the names of WAY_MEMBERS."""
    way = window.ways[number]
    return {
        "usage": way.usage,
        "usagePosted": posted_usage(way.usage),
        "usageAlt": way.usage_alt,
        "usageWidth": way.width,
        "unsteady": way.unsteady,
        "sure": window.sure_of(way),
        "quality": way.quality,
        "hurst.rs": way.hurst_rs,
        "hurst.wavelet": way.hurst_wavelet,
    }


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """Make objects of dotted names.

    >>> nested({"a": 1, "b.c": 2, "b.d": 3})
    {'a': 1, 'b': {'c': 2, 'd': 3}}
    """
    made: dict[str, Any] = {}
    for name, value in values.items():
        *outer, last = name.split(".")
        place = made
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = value
    return made


def window_json(window: Analysed) -> dict[str, Any]:
    """Return the members of WINDOW_MEMBERS."""
    origin = window.origin or UNKNOWN
    return {
        "type": "window",
        "path": window.path,
        "window": window.first,
        "ip": window.source,
        "asn": origin.asn,
        "asName": origin.name,
        "reports": window.reports,
        "observations": window.observations,
        "result": _result(window),
        "truth": dict(zip(WAYS, window.truth, strict=True)),
    }


def _result(window: Analysed) -> dict[str, Any] | None:
    if window.summary is None:
        return None
    ways = (nested(way_values(window, number)) for number in (0, 1))
    return {
        "timestamp": window.summary.timestamp,
        "estimator": window.estimator,
        **dict(zip(WAYS, ways, strict=True)),
        "clock": window.clock,
        "sure": window.sure,
    }


def agreement_json(way: Way, estimator: Estimator, found: Agreement) -> dict[str, Any]:
    """Return the members of AGREEMENT_MEMBERS."""
    return {
        "type": "agreement",
        "way": way,
        "estimator": estimator,
        "windows": found.windows,
        "error": found.error,
        "bias": found.bias,
        "relative": found.relative,
        "correlation": found.correlation,
    }


# --- CSV -----------------------------------------------------------------------------------------

#: Columns of a direction in CSV, behind up_ and down_, each with its member of JSON.
_WAY_COLUMNS = {
    "usage_posted": "usagePosted",
    "usage_raw": "usage",
    "usage_alt": "usageAlt",
    "usage_width": "usageWidth",
    "unsteady": "unsteady",
    "sure": "sure",
    "quality": "quality",
    "hurst_rs": "hurst.rs",
    "hurst_wavelet": "hurst.wavelet",
}

#: Columns of CSV, one row a window, with their meaning.
CSV_COLUMNS = {
    "path": "folder of the installation",
    "source": "address that the reports came from",
    "asn": "number of its AS; empty without an AS table",
    "as_name": "name of its AS",
    "begin": "first second of the window, UTC",
    "until": "second of the last short packet, UTC; values are of the 600 s up to it",
    "timestamp": "the same as an epoch second, as it is posted",
    "reports": "reports in the window",
    "observations": "packets in them, duplicates included",
    "estimator": "how usage and quality were computed: mode, delayed-probes",
    "sure": "the worse one of up_sure and down_sure",
    "clock": "fine, set, not-credible",
    **{f"up_{name}": WAY_MEMBERS[member] for name, member in _WAY_COLUMNS.items()},
    "up_truth": "usage that the experiment's description states, with --truth",
    **dict.fromkeys((f"down_{name}" for name in (*_WAY_COLUMNS, "truth")), "likewise"),
}

#: Columns of CSV with --by-as, one row an AS.
AS_CSV_COLUMNS = (
    *("asn", "as_name", "installations", "windows", "estimator"),
    *(f"{way}_{name}" for way in ("up", "down") for name in _WAY_COLUMNS if name not in _WORDS),
)

Cell = str | float | None


def window_csv(window: Analysed, as_time: Callable[[float], str]) -> list[Cell]:
    """Return the cells of CSV_COLUMNS; as_time: makes an ISO time of an epoch second."""
    origin = window.origin or UNKNOWN
    until = window.summary.timestamp if window.summary else None
    cells: list[Cell] = [window.path, window.source, origin.asn, origin.name]
    cells += [as_time(window.first), None if until is None else as_time(until), until]
    cells += [window.reports, window.observations, window.estimator, window.sure, window.clock]
    for number, truth in enumerate(window.truth):
        values = way_values(window, number)
        cells += [_cell(values[member]) for member in _WAY_COLUMNS.values()]
        cells.append(truth)
    return cells


def _cell(value: Any) -> Cell:
    """Return the value; true and false as all programs read them."""
    return str(value).lower() if isinstance(value, bool) else value


# --- by AS ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """The windows of one AS, and means of each value over the windows in which it is defined.

    origin: as one of the windows has it; ways: means up and down by the names of WAY_MEMBERS.
    """

    origin: Origin
    installations: int
    windows: int
    estimator: Estimator
    ways: tuple[dict[str, float | None], dict[str, float | None]]


def by_as(analysed: Iterable[Analysed]) -> list[Group]:
    """Group windows by the number of their AS; that with most windows comes first."""
    by_asn: dict[int | None, list[Analysed]] = {}
    for window in analysed:
        by_asn.setdefault((window.origin or UNKNOWN).asn, []).append(window)
    groups = [_group(members) for members in by_asn.values()]
    return sorted(groups, key=lambda group: (-group.windows, group.origin.asn or 0))


def _group(members: list[Analysed]) -> Group:
    up, down = (_means([way_values(window, number) for window in members]) for number in (0, 1))
    return Group(
        origin=members[0].origin or UNKNOWN,
        installations=len({window.path for window in members}),
        windows=len(members),
        estimator=members[0].estimator,
        ways=(up, down),
    )


def _means(each: list[dict[str, Any]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in WAY_MEMBERS:
        if name not in _WORDS:
            defined = [values[name] for values in each if values[name] is not None]
            found[name] = fmean(defined) if defined else None
    return found


def group_json(group: Group) -> dict[str, Any]:
    """Return the members of AS_MEMBERS."""
    return {
        "type": "as",
        "asn": group.origin.asn,
        "asName": group.origin.name,
        "installations": group.installations,
        "windows": group.windows,
        "estimator": group.estimator,
        **dict(zip(WAYS, map(nested, group.ways), strict=True)),
    }


def group_csv(group: Group) -> list[Cell]:
    """Return the cells of AS_CSV_COLUMNS."""
    cells: list[Cell] = [group.origin.asn, group.origin.name]
    cells += [group.installations, group.windows, group.estimator]
    for values in group.ways:
        cells += [values[member] for member in _WAY_COLUMNS.values() if member not in _WORDS]
    return cells
