"""`tixd analyze --report`: one page of HTML that needs nothing else: tables, pictures, settings.

Rules: everything from outside is escaped; the page has no script, asks nobody for anything, and
shows how much of a large tree it leaves out; jinja2 is imported when the page is made.
"""

from __future__ import annotations

import base64
import hashlib
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from itertools import product
from statistics import median
from typing import TYPE_CHECKING

from tixd import __version__, display
from tixd.commands import plot_installation, plot_many, plot_style
from tixd.commands.compare_truth import agreements
from tixd.commands.plot_installation import Drawing
from tixd.commands.window_tables import VALUE_HEADINGS, WAYS, Style, until, value_cells
from tixd.commands.window_values import Analysed, way_values
from tixd.results.payload import posted_usage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Installations that have a section with a picture, the first ones; all stand in the table.
MAX_PICTURES = 50

#: Rows of a table of windows, the last ones.
MAX_ROWS = 150

#: Headings of the table of installations, behind the name.
_HEADINGS = ("source", "AS", "windows", "first (UTC)", "last (UTC)")
_MEDIANS = ("usage up", "usage down", "quality up", "quality down", "sure")

#: Headings of the agreement with the truth.
_AGREEMENT = ("way", "estimator", "windows", "error", "bias", "relative", "correlation")

#: Looks of this page beside those of the page of a role.
_OWN_STYLE = """
.picture { margin: 0 0 1rem; overflow-x: auto; background: #fff; border: 1px solid var(--line);
  border-radius: .25rem; max-width: 60rem; }
.picture img { display: block; width: 100%; min-width: 40rem; height: auto; }
.picture:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
td.name { overflow-wrap: anywhere; white-space: normal; min-width: 8rem; }
h1, h2, dd { overflow-wrap: anywhere; }
details { margin: 0 0 1.5rem; }
summary { cursor: pointer; padding: .3rem 0; }
@media print { section { break-before: page; } }
"""


@dataclass(frozen=True, slots=True)
class _Section:
    """An installation: its row of the table, and a section where there is a picture (base64)."""

    number: int
    name: str
    cells: Sequence[str]
    about: str
    summary: str
    rows: Sequence[Sequence[str]]
    picture: str


class Report:
    """The page, while windows come; pictures are drawn as each installation is complete."""

    def __init__(self) -> None:
        self._sections: list[_Section] = []
        self.pictures = 0

    def add(self, windows: Sequence[Analysed], drawing: Drawing | None) -> None:
        """Take a complete installation; drawing: None without a short packet."""
        picture = ""
        if drawing and self.pictures < MAX_PICTURES:
            found = drawing
            picture = _svg(lambda figure: plot_installation.draw(figure, found))
            self.pictures += 1
        last = windows[-1]
        count = f"{len(windows):,} window{'s' * (len(windows) != 1)}"
        shown = f"The last {MAX_ROWS} of {count}" if len(windows) > MAX_ROWS else count
        place = f", {last.origin}" if last.origin else ""
        self._sections.append(
            _Section(
                number=len(self._sections) + 1,
                name=last.name,
                cells=_cells(windows),
                about=f"{last.path}, from {last.source}{place}",
                summary=f"{shown} in a table",
                rows=[_row(window) for window in windows[-MAX_ROWS:]] if picture else (),
                picture=picture,
            )
        )

    def page(self, windows: Sequence[Analysed], settings: Mapping[str, str]) -> bytes:
        """Return the page about all windows; settings: name and value of each, to be shown."""
        style = _style()
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        overview = ""
        if len(self._sections) > 1 and any(window.summary for window in windows):
            overview = _svg(lambda figure: plot_many.draw(figure, windows))
        text = _template()(
            title=_title(windows),
            style=_trusted(style),
            style_hash=f"sha256-{digest}",
            version=__version__,
            facts=[*_facts(windows, len(self._sections)), *settings.items()],
            overview=overview,
            agreement=_agreement(windows),
            agreement_headings=_AGREEMENT,
            headings=("installation", *_HEADINGS, *_MEDIANS),
            window_headings=(
                "until (UTC)",
                *(f"{name} {way}" for way, name in product(WAYS, VALUE_HEADINGS)),
                "sure",
            ),
            sections=self._sections,
            limit=_limit(self.pictures, len(self._sections)),
        )
        return text.encode()


def _svg(draw: Callable[[Figure], None]) -> str:
    return base64.b64encode(plot_style.drawn("svg", draw, small=True)).decode()


def _limit(pictures: int, installations: int) -> str:
    """Say how many installations have no picture; "" where all have that can have one."""
    if pictures < MAX_PICTURES or pictures == installations:
        return ""
    return (
        f"Pictures are of the first {pictures:,} of {installations:,} installations, so that the"
        " page does not become too large. For those of others, name their folders: tixd analyze"
        " FOLDER... --report FILE.html"
    )


# --- what is shown -------------------------------------------------------------------------------


def _title(windows: Sequence[Analysed]) -> str:
    tops = list(dict.fromkeys(window.top for window in windows))
    name = tops[0].rstrip("/").rsplit("/", 1)[-1] or tops[0]
    return f"{name} and {len(tops) - 1} more" if len(tops) > 1 else name


def _facts(windows: Sequence[Analysed], installations: int) -> list[tuple[str, str]]:
    """Return what stands above everything: name and value."""
    tops = list(dict.fromkeys(window.top for window in windows))
    first = display.minute(min(window.first for window in windows))
    last = display.minute(max(_last(window) for window in windows))
    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "matplotlib"))
    return [
        ("read", ", ".join(tops)),
        ("found", f"{installations:,} installations, {len(windows):,} windows"),
        ("time (UTC)", f"{first} to {last}"),
        ("usage by", windows[0].estimator),
        ("made with", f"tixd {__version__}, Python {platform.python_version()}, {libraries}"),
    ]


def _last(window: Analysed) -> int:
    return window.summary.timestamp if window.summary else window.first


def _cells(windows: Sequence[Analysed]) -> list[str]:
    """Return the cells of _HEADINGS and _MEDIANS."""
    last = windows[-1]
    usages = [
        _median([posted_usage(window.ways[way].usage) for window in windows]) for way in (0, 1)
    ]
    qualities = [_median([window.ways[way].quality for window in windows]) for way in (0, 1)]
    return [
        last.source,
        str(last.origin) if last.origin else "-",
        f"{len(windows):,}",
        display.minute(windows[0].first),
        display.minute(_last(last)),
        *usages,
        *qualities,
        f"{sum(window.sure == 'yes' for window in windows):,} of {len(windows):,}",
    ]


def _median(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return display.number(median(known) if known else None, 2)


def _row(window: Analysed) -> list[str]:
    """Return a window as `tixd analyze` shows it."""
    ways = (value_cells(way_values(window, way), Style(), window) for way in (0, 1))
    return [until(window), *(cell for cells in ways for cell in cells), window.sure or "-"]


def _agreement(windows: Sequence[Analysed]) -> list[list[str]]:
    rows = []
    for way, estimator, found in agreements(windows):
        numbers = (found.error, found.bias, found.relative, found.correlation)
        shown = [display.number(number, 3) for number in numbers]
        rows.append([WAYS[way], estimator, f"{found.windows:,}", *shown])
    return rows


# --- HTML ----------------------------------------------------------------------------------------


def _style() -> str:
    """Return the looks: those of the page of a role, and our own."""
    shared = resources.files("tixd.page") / "static" / "page.css"
    return shared.read_text(encoding="utf-8") + _OWN_STYLE


def _template() -> Callable[..., str]:
    import jinja2  # noqa: PLC0415 - only this page needs it

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    file = resources.files("tixd.commands") / "templates" / "report.html"
    return environment.from_string(file.read_text(encoding="utf-8")).render


def _trusted(text: str) -> object:
    """Mark a text of ours as one that is not escaped."""
    import markupsafe  # noqa: PLC0415 - comes with jinja2

    return markupsafe.Markup(text)  # noqa: S704 - see above
