"""Figures: paper, colours, axes, and their files; the only door to matplotlib, an extra.

Rules: matplotlib is imported when a figure is made; nothing that a user has set for it counts; the
same values give the same bytes of SVG; names from outside are text, never mathematics.
"""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tixd import display, errors
from tixd.analysis.observations import Floats, Integers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: File formats of figures, as the file's name ends.
FORMATS = ("svg", "png", "pdf")

#: A4, upright, in inches.
PAGE_INCHES = (8.27, 11.69)

#: Dots an inch of PNG, and of crowded panels in SVG and PDF.
DOTS_PER_INCH = 150

#: Colours of the two directions (Okabe and Ito): told apart by colour-blind readers, and in grey.
UP, DOWN = "#0072B2", "#D55E00"

#: The same for what is neither.
OTHER, SOFT, LINE = "#CC79A7", "#999999", "#000000"

#: Behind the ten minutes that are shown in detail.
BAND = "#F1F1F1"

#: Markers of the two directions.
UP_MARK, DOWN_MARK = "o", "s"

#: A panel with more points is drawn as dots, because SVG and PDF would become too large.
MAX_SHAPES = 2500

#: The same in a report, which has many pictures.
FEW_SHAPES = 100

#: Share of the values that an axis shows; the others stand at its edge, and are counted.
SHOWN_SHARE = 0.995

#: Characters of an installation's name that are shown.
MAX_NAME = 70

#: Nanoseconds in a millisecond.
MS_ns = 1e6

_SETTINGS: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 7.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "figure.dpi": DOTS_PER_INCH,
    "font.size": 7.5,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "legend.borderaxespad": 0.2,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "savefig.dpi": DOTS_PER_INCH,
    "svg.hashsalt": "tixd",
    "text.parse_math": False,
    "timezone": "UTC",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}

#: What no file says, so that the same figure has the same bytes.
_METADATA = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


def check_installed() -> None:
    """Raise NotDone where matplotlib is missing."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its font cache
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 - an extra
    except ImportError:
        raise errors.NotDone(_how_to_install(frozen=getattr(sys, "frozen", False))) from None


def _how_to_install(*, frozen: bool) -> str:
    """Say how to get matplotlib; frozen: in the package or the one file."""
    if frozen:
        return (
            "pictures need matplotlib, which the package and the one file do not contain: install"
            " tixd in a Python environment too (python3 -m venv DIR; DIR/bin/pip install"
            " 'TIXD.whl[plot]', the wheel is in the same release), and draw with DIR/bin/tixd"
        )
    return (
        "pictures need matplotlib, which is not installed: pip install 'tixd[plot]', or beside"
        " tixd: pip install matplotlib; as a service: EXTRAS=plot scripts/install"
    )


@contextmanager
def style() -> Iterator[None]:
    """Let our settings hold, and no others."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a font without a character of a name
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def drawn(form: str, draw: Callable[[Figure], None], *, small: bool = False) -> bytes:
    """Return a page with a figure as a file of `form`: one of FORMATS.

    small: draw lines of many points as dots, so that an SVG is a third as large.
    """
    content = io.BytesIO()
    with style():
        figure = page(draw)
        for line in (line for axes in figure.axes for line in axes.lines if small):
            line.set_rasterized(len(line.get_xdata()) > FEW_SHAPES)  # type: ignore[arg-type]
        figure.savefig(content, format=form, metadata=_METADATA[form])
    return content.getvalue()


def page(draw: Callable[[Figure], None]) -> Figure:
    """Return a page with a figure; where style() holds."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    figure = Figure(figsize=PAGE_INCHES, layout="constrained")
    draw(figure)
    return figure


# --- axes ----------------------------------------------------------------------------------------


def head(figure: Figure, title: str, *lines: str) -> None:
    """Write the title of a figure, and lines below it."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    if lines:
        at = figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7.5)
        at.set_linespacing(1.4)


def times(second: Integers | Floats) -> Any:
    """Return epoch seconds as times on an axis."""
    return np.asarray(second).astype("datetime64[s]")


def time_axis(axes: Axes, first: float, last: float) -> None:
    """Make the lower axis one of UTC, from one epoch second to another."""
    from matplotlib import dates  # noqa: PLC0415 - an extra

    locator = dates.AutoDateLocator(maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        dates.ConciseDateFormatter(locator, show_offset=False)  # type: ignore[no-untyped-call]
    )
    margin = max(last - first, 60.0) * 0.01
    axes.set_xlim(*times(np.array([first - margin, last + margin])))
    day, other = display.minute(first)[:10], display.minute(last)[:10]
    axes.set_xlabel(f"time (UTC), {day}" + (f" to {other}" if other != day else ""))


def legend(axes: Axes) -> None:
    """Put the legend above the axes, at their right end."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 - an extra

    handles, labels = axes.get_legend_handles_labels()
    if handles:
        made = axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(labels), columnspacing=1.4
        )
        for handle in made.legend_handles:
            if isinstance(handle, Line2D):
                handle.set_markersize(9 if handle.get_marker() == "." else 4.5)


def log_axis(axes: Axes, heights: Floats) -> None:
    """Make the left axis logarithmic, with plain numbers, for these heights above 0."""
    from matplotlib import ticker  # noqa: PLC0415 - an extra

    axes.set_yscale("log")
    axes.set_ylim(heights.min() / 2, heights.max() * 2)
    narrow = heights.max() < 50 * heights.min()
    subs = (1.0, 2.0, 5.0) if narrow else (1.0,)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=subs, numticks=6))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda height, _: f"{height:g}"))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())


def note(axes: Axes, text: str) -> None:
    """Say in empty axes why there is nothing."""
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#444444")


def upper_edge(values: Floats, *others: float | None) -> float:
    """Return the upper end of an axis that shows most values, and all `others`."""
    known = [each for each in others if each is not None]
    most = float(np.quantile(values, SHOWN_SHARE))
    lowest = float(values.min())
    highest = max(most, *known) if known else most
    return highest + 0.08 * (highest - lowest or 1.0)


def points(
    axes: Axes, x: Any, y: Floats, color: str, label: str, top: float, unit: str = "ms"
) -> None:
    """Draw points; those above `top` as triangles at the edge, counted in the legend."""
    inside = y <= top
    crowded = len(y) > MAX_SHAPES
    size = 2.6 if len(y) > FEW_SHAPES else 6
    axes.plot(
        x[inside], y[inside], ".", ms=size, mew=0, color=color, label=label, rasterized=crowded
    )
    if not inside.all():
        above = f"{np.count_nonzero(~inside)} above, up to {y.max():,.0f} {unit}"
        at = np.full(np.count_nonzero(~inside), top)
        axes.plot(x[~inside], at, "^", ms=4, mew=0, color=color, label=above, clip_on=False)


def levels(
    axes: Axes, spans: Sequence[tuple[float, float]], heights: Sequence[float | None], **how: Any
) -> None:
    """Draw a level for each span of epoch seconds whose height is known."""
    known = [
        (span, height) for span, height in zip(spans, heights, strict=True) if height is not None
    ]
    if not known:
        return
    begin, end = (times(np.array([span[side] for span, _ in known])) for side in (0, 1))
    axes.hlines([height for _, height in known], begin, end, **how)


def short(name: str) -> str:
    """Return a name that has room on a page.

    >>> short("a" * 100)[-5:], short("1/2")
    ('aaaa…', '1/2')
    """
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
