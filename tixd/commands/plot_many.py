"""Draw many installations: usage over time, beside the truth where it is known, with its errors.

Rules: estimates, truth and errors are those of `tixd analyze` and of its --truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tixd import __version__, display
from tixd.analysis.observations import Floats
from tixd.commands import plot_style
from tixd.commands.compare_truth import ESTIMATORS, Compared, agreements, compared
from tixd.commands.plot_installation import WAYS
from tixd.commands.plot_style import LINE, levels, times
from tixd.commands.window_values import Analysed
from tixd.results.payload import posted_usage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Installations that are named beside each other; of more the busiest.
MAX_NAMED = 40

#: Characters of their names.
MAX_CHARACTERS = 28

#: Colour and marker of each estimator (Okabe and Ito).
_ESTIMATORS = (("#009E73", "o"), ("#CC79A7", "D"))


def draw(figure: Figure, windows: Sequence[Analysed]) -> None:
    """Draw windows of several installations, one with a short packet at least."""
    known = [window for window in windows if window.summary]
    ends = [window.summary.timestamp for window in known if window.summary]
    if any(window.truth != (None, None) for window in known):
        rows = _beside_truth(figure, known)
    else:
        rows = _alone(figure, known)
    for axes in rows:
        plot_style.time_axis(axes, min(window.first for window in known), max(ends))
        if axes is not rows[-1]:
            axes.set_xlabel("")
            axes.tick_params(labelbottom=False)
    paths = len({window.path for window in windows})
    tops = list(dict.fromkeys(window.top for window in windows))
    more = f" and {len(tops) - 1} more" * (len(tops) > 1)
    plot_style.head(
        figure,
        plot_style.short(tops[0].rstrip("/").rsplit("/", 1)[-1] or tops[0]) + more,
        f"{paths:,} installations, {len(windows):,} windows; usage by {known[0].estimator};"
        f" tixd {__version__}. What each word means: tixd explain",
    )


def _ends(windows: Sequence[Analysed]) -> Floats:
    return np.array([window.summary.timestamp for window in windows if window.summary], float)


# --- beside the truth ----------------------------------------------------------------------------


def _beside_truth(figure: Figure, windows: Sequence[Analysed]) -> list[Axes]:
    """Draw estimates, errors and relative errors of each direction whose truth is known."""
    ways = [way for way in (0, 1) if any(window.truth[way] is not None for window in windows)]
    rows: list[Axes] = list(np.ravel(figure.subplots(3 * len(ways), 1)))
    for way, (usage, error, relative) in zip(
        ways, zip(*[iter(rows)] * 3, strict=True), strict=True
    ):
        found = [window for window in windows if window.truth[way] is not None]
        word = WAYS[way][1]
        spans = [
            (window.first, float(end)) for window, end in zip(found, _ends(found), strict=True)
        ]
        truths = [window.truth[way] for window in found]
        levels(usage, spans, truths, colors=LINE, lw=1.4, label="truth, mean over the window")
        each = [compared(window, way) for window in found]
        _estimates(usage, found, [[c.estimate for c in pair] for pair in each], ESTIMATORS)
        usage.set(title=f"Usage {word}", ylabel="usage (0 to 1)", ylim=(-0.05, 1.05))
        _errors(error, found, way, each)
        _estimates(relative, found, [[c.relative for c in pair] for pair in each], ("", ""))
        relative.set(title=f"Relative error {word}", ylabel="|error| / truth above 0")
        relative.set_ylim(bottom=-0.02)
        for axes in (usage, error):
            plot_style.legend(axes)
    return rows


def _errors(
    axes: Axes, windows: Sequence[Analysed], way: int, each: Sequence[Sequence[Compared]]
) -> None:
    """Draw estimate - truth of each window; the legend has the means."""
    means = {name: found for found_way, name, found in agreements(windows) if found_way == way}
    labels = [
        f"{name}: mean error {display.number(means[name].error, 3)},"
        f" bias {display.number(means[name].bias, 3)}"
        if name in means
        else ""
        for name in ESTIMATORS
    ]
    axes.axhline(0, color=LINE, lw=0.8)
    _estimates(axes, windows, [[c.error for c in pair] for pair in each], labels)
    axes.set(title=f"Error {WAYS[way][1]}", ylabel="estimate - truth")


def _estimates(
    axes: Axes,
    windows: Sequence[Analysed],
    pairs: Sequence[Sequence[float | None]],
    labels: Sequence[str],
) -> None:
    """Draw a value of each window by either estimator, at the end of the window."""
    ends = _ends(windows)
    crowded = len(windows) > plot_style.MAX_SHAPES
    for number, (color, mark) in enumerate(_ESTIMATORS):
        values = np.array([pair[number] for pair in pairs], float)
        there = np.isfinite(values)
        axes.plot(
            times(ends[there]),
            values[there],
            mark,
            ms=4 - crowded * 2,
            color=color,
            mfc="none" if number else color,
            label=labels[number] or None,
            rasterized=crowded,
        )


# --- without truth -------------------------------------------------------------------------------


def _alone(figure: Figure, windows: Sequence[Analysed]) -> list[Axes]:
    """Draw usage over time, and below it the range of each installation."""
    by_path: dict[str, list[Analysed]] = {}
    for window in windows:
        by_path.setdefault(window.path, []).append(window)
    grid = figure.add_gridspec(4, 2)
    rows = [figure.add_subplot(grid[way, :]) for way in (0, 1)]
    for way, axes in enumerate(rows):
        if len(by_path) <= MAX_NAMED:
            _joined(axes, by_path.values(), way)
        _over_time(axes, windows, way)
    ranges = {path: [_usages(found, way) for way in (0, 1)] for path, found in by_path.items()}
    busiest = sorted(ranges, key=lambda path: -_median(ranges[path][1]))[:MAX_NAMED]
    names = [_name(by_path[path][0]) for path in busiest]
    for way in (0, 1):
        axes = figure.add_subplot(grid[2:, way])
        _ranges(axes, [ranges[path][way] for path in busiest], way)
        axes.set_yticks(range(len(names)), names if way == 0 else [""] * len(names))
        axes.set_title(f"Usage {WAYS[way][1]}: {_which(len(busiest), len(by_path))}")
    return rows


def _which(shown: int, of: int) -> str:
    return f"the {shown} busiest of {of:,}" if shown < of else "by installation"


def _name(window: Analysed) -> str:
    name = window.name
    return name if len(name) <= MAX_CHARACTERS else "…" + name[1 - MAX_CHARACTERS :]


def _usages(windows: Sequence[Analysed], way: int) -> Floats:
    """Return the usage of windows as it is posted, where it is defined."""
    found = (posted_usage(window.ways[way].usage) for window in windows)
    return np.array([usage for usage in found if usage is not None], float)


def _median(values: Floats) -> float:
    return float(np.median(values)) if len(values) else -1.0


def _joined(axes: Axes, installations: Iterable[Sequence[Analysed]], way: int) -> None:
    """Join the windows of each installation by a line."""
    for windows in installations:
        defined = [window for window in windows if window.ways[way].usage is not None]
        x, y = times(_ends(defined)), _usages(defined, way)
        axes.plot(x, y, lw=0.6, alpha=0.4, color=WAYS[way][0])


def _over_time(axes: Axes, windows: Sequence[Analysed], way: int) -> None:
    """Draw the usage of each window."""
    color, word, mark = WAYS[way]
    defined = [window for window in windows if window.ways[way].usage is not None]
    crowded = len(defined) > plot_style.MAX_SHAPES
    axes.plot(
        times(_ends(defined)),
        _usages(defined, way),
        mark,
        ms=1.5 if crowded else 3,
        mew=0,
        alpha=0.4 if crowded else 0.7,
        color=color,
        label="a window of an installation",
        rasterized=crowded,
    )
    axes.set(title=f"Usage {word}", ylabel="usage (0 to 1)", ylim=(-0.05, 1.05))
    plot_style.legend(axes)


def _ranges(axes: Axes, ranges: Sequence[Floats], way: int) -> None:
    """Draw least, most, quartiles and median of each installation, one below the other."""
    color, _, mark = WAYS[way]
    for row, values in enumerate(ranges):
        if len(values):
            low, first, middle, third, high = np.quantile(values, (0, 0.25, 0.5, 0.75, 1))
            axes.plot((low, high), (row, row), color=color, lw=0.8, alpha=0.6)
            axes.plot(
                (first, third), (row, row), color=color, lw=3.5, alpha=0.6, solid_capstyle="butt"
            )
            axes.plot(middle, row, mark, ms=3.5, color=color)
    axes.set(xlim=(-0.05, 1.05), ylim=(max(len(ranges), 10) - 0.5, -0.5))
    axes.set_xlabel("usage: median, quartiles, least and most")
    axes.grid(visible=False, axis="y")
