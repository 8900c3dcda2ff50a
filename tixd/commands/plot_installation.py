"""Draw one installation: its windows over time, and one of them in detail, from its traces.

Rules: only what the analysis used is drawn, and no value is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tixd import __version__, display
from tixd.analysis.hurst import FIRST_OCTAVE, Fit
from tixd.analysis.observations import Floats
from tixd.analysis.quality import CONGESTED_USAGE, MIN_PER_MINUTE, PERSISTENT_HURST, MINUTE_seconds
from tixd.analysis.summary import Estimator
from tixd.analysis.traces import Trace, WayTrace
from tixd.commands import plot_style
from tixd.commands.plot_style import DOWN, LINE, OTHER, SOFT, UP, MS_ns, levels, times
from tixd.commands.window_values import Analysed
from tixd.results.payload import posted_usage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Packets are drawn of so many windows of an installation, the last ones: about a day.
MAX_TRACES = 150

#: Minutes are drawn one by one of so many windows: about two hours.
MAX_MINUTES_OF = 12

#: Colour, word and marker of each direction.
WAYS = ((UP, "up", plot_style.UP_MARK), (DOWN, "down", plot_style.DOWN_MARK))


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """An installation to draw.

    windows: all of its windows; traces: of the last of them that have short packets, one at least;
    detail: the one among these whose distribution and Hurst estimates are shown.
    """

    windows: Sequence[Analysed]
    traces: Sequence[Trace]
    detail: Trace

    @property
    def begin(self) -> float:
        """Return the first epoch second of the packets that are drawn."""
        return float(min(trace.second[0] for trace in self.traces))

    @property
    def end(self) -> float:
        """Return the last one."""
        return float(max(trace.second[-1] for trace in self.traces))

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Return the first and last epoch second of the ten minutes of each trace."""
        return [(float(trace.recent[0]), float(trace.recent[-1])) for trace in self.traces]


def draw(figure: Figure, drawing: Drawing) -> None:
    """Draw the installation on a page; the ten minutes of the window in detail are shaded."""
    several = len(drawing.traces) > 1
    grid = figure.add_gridspec(7 + several, 6)
    rows = [figure.add_subplot(grid[row, :]) for row in range(5 + several)]
    if several:
        _usage(rows[0], drawing)
    for way in (0, 1):
        _delays(rows[several + way], drawing, way)
    _round_trips(rows[several + 2], drawing)
    _offset(rows[several + 3], drawing)
    _qualities(rows[several + 4], drawing)
    for axes in rows:
        plot_style.time_axis(axes, drawing.begin, drawing.end)
        recent = times(drawing.detail.recent[[0, -1]])
        axes.axvspan(*recent, color=plot_style.BAND, zorder=0, lw=0)
        if axes is not rows[-1]:
            axes.set_xlabel("")
            axes.tick_params(labelbottom=False)
    for way in (0, 1):
        thirds = [figure.add_subplot(grid[5 + several + way, at : at + 2]) for at in (0, 2, 4)]
        _details(thirds, drawing.detail, way)
    plot_style.head(figure, *_head(drawing))


def _head(drawing: Drawing) -> list[str]:
    windows, last = drawing.windows, drawing.windows[-1]
    place = f", {plot_style.short(str(last.origin))}" if last.origin else ""
    source = plot_style.short(last.source)
    count = f"{len(windows)} window{'s' * (len(windows) != 1)}"
    left = len(windows) - len(drawing.traces)
    shown = f", packets of the last {len(drawing.traces)}" if left else ""
    detail = display.minute(drawing.detail.summary.timestamp)
    return [
        plot_style.short(last.name),
        f"from {source}{place}; {count}{shown}; usage by {last.estimator}; tixd {__version__}",
        f"The two last rows are of the shaded ten minutes, until {detail} UTC."
        " What each word means: tixd explain",
        _rule(drawing.detail.estimator),
    ]


def _rule(estimator: Estimator) -> str:
    """Say how to read what has no legend."""
    by_mode = estimator == "mode"
    side = "below" if by_mode else "above"
    dark = " The mode is looked for in the darker bins." if by_mode else ""
    return (
        f"A minute is congested with a usage {side} {CONGESTED_USAGE:g}, where the mean of the two"
        f" Hurst exponents is above {PERSISTENT_HURST:g}.{dark}"
    )


# --- over time -----------------------------------------------------------------------------------


def _usage(axes: Axes, drawing: Drawing) -> None:
    """Draw the usage of each window as it is posted, and the truth."""
    usages = [[posted_usage(_result(t, way).usage) for t in drawing.traces] for way in (0, 1)]
    _per_window(axes, drawing, usages)
    for way, dash in enumerate(("dotted", "solid")):
        spans = [(w.first, w.summary.timestamp) for w in drawing.windows if w.summary]
        truths = [w.truth[way] for w in drawing.windows if w.summary]
        label = f"truth {WAYS[way][1]}"
        levels(axes, spans, truths, colors=LINE, linestyles=dash, lw=1.1, label=label)
    axes.set(ylim=(-0.05, 1.05), ylabel="usage (0 to 1)", title="Usage of each window")
    plot_style.legend(axes)


def _per_window(axes: Axes, drawing: Drawing, values: Sequence[Sequence[float | None]]) -> None:
    """Draw a value of each window and direction: a level for its ten minutes, a mark at the end."""
    for (color, word, mark), found in zip(WAYS, values, strict=True):
        levels(axes, drawing.spans, found, colors=color, lw=1, alpha=0.6)
        spans = zip(drawing.spans, found, strict=True)
        known = [(end, value) for (_, end), value in spans if value is not None]
        ends, heights = np.array(known).reshape(-1, 2).T
        axes.plot(times(ends), heights, mark, ms=3, color=color, label=word)


def _result(trace: Trace, way: int) -> Any:
    return (trace.summary.upstream, trace.summary.downstream)[way]


def _delays(axes: Axes, drawing: Drawing, way: int) -> None:
    """Draw the packets of a direction, with the lines that part them."""
    color, word, _ = WAYS[way]
    traces = drawing.traces
    parts = [trace.ways[way] for trace in traces]
    x = times(np.concatenate([trace.recent for trace in traces]))
    by_mode = traces[0].estimator == "mode"
    y = np.concatenate([part.delays_ns if by_mode else part.waiting_ns for part in parts]) / MS_ns
    marks = _marks(parts, by_mode=by_mode)
    top = plot_style.upper_edge(y, *(each for _, _, heights in marks for each in heights))
    plot_style.points(axes, x, y, color, "packet", top)
    for label, dash, heights in marks:
        levels(axes, drawing.spans, heights, colors=LINE, linestyles=dash, lw=1.1, label=label)
    axes.set_ylim(top=top)
    what = "One-way delay" if by_mode else "Waiting in queues"
    usage = f": usage {_number(_result(traces[0], way).usage)}" if len(traces) == 1 else ""
    axes.set(ylabel="delay (ms)" if by_mode else "waiting (ms)", title=f"{what} {word}{usage}")
    plot_style.legend(axes)


def _marks(
    parts: Sequence[WayTrace], *, by_mode: bool
) -> list[tuple[str, str, list[float | None]]]:
    """Return label, dash and heights in ms of the lines of each window of a direction."""
    if not by_mode:
        return [("tau: above it a packet was delayed", "dashed", [p.tau_ns / MS_ns for p in parts])]
    lines = (("mode", "solid", "mode_ns"), ("threshold", "dashed", "threshold_ns"))
    return [
        (label, dash, [_ms(getattr(part, name)) for part in parts]) for label, dash, name in lines
    ]


def _ms(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / MS_ns


def _round_trips(axes: Axes, drawing: Drawing) -> None:
    """Draw all packets once, and those that the clock offset was taken from."""
    seconds, trips, chosen = [], [], []
    after = -np.inf
    for trace in drawing.traces:
        fresh = trace.second > after
        seconds.append(trace.second[fresh])
        trips.append(trace.round_trips_ns[fresh] / MS_ns)
        chosen.append(np.isin(trace.second[fresh], trace.known_at))
        after = trace.second[-1]
    x, y = np.concatenate(seconds), np.concatenate(trips)
    top = plot_style.upper_edge(y)
    plot_style.points(axes, times(x), y, SOFT, "packet", top)
    axes.set_ylim(top=top)
    axes.set(ylabel="round trip (ms)", title="Round-trip time")
    _clock_steps(axes, drawing)
    plot_style.legend(axes)


def _offset(axes: Axes, drawing: Drawing) -> None:
    """Draw the offset of the clocks: points of the shortest round trips, and the line through."""
    traces = drawing.traces
    base = float(np.round(traces[0].known_ns[0] / MS_ns))
    known_at = np.concatenate([trace.known_at for trace in traces])
    known = np.concatenate([trace.known_ns for trace in traces]) / MS_ns - base
    few = len(known) <= plot_style.FEW_SHAPES
    how: Any = {"ms": 6 if few else 4, "mew": 0, "rasterized": len(known) > plot_style.MAX_SHAPES}
    axes.plot(times(known_at), known, ".", color=OTHER, label="shortest round trips", **how)
    seconds, heights = [], []
    for number, trace in enumerate(traces):
        own = trace.second >= (trace.recent[0] if number else 0)
        seconds.append(trace.second[own][[*range(own.sum()), -1]])
        heights.append(np.append(trace.offset_ns[own] / MS_ns - base, np.nan))  # a line each
    x, y = times(np.concatenate(seconds)), np.concatenate(heights)
    axes.plot(x, y, lw=0.9, color=LINE, zorder=3, label="offset used")
    _clock_steps(axes, drawing)
    axes.set(
        ylabel="offset (ms)",
        title=f"Client's clock ahead of the server's, relative to {base:,.0f} ms",
    )
    plot_style.legend(axes)


def _clock_steps(axes: Axes, drawing: Drawing) -> None:
    """Mark where the client's clock was set."""
    found = {int(trace.second[at]) for trace in drawing.traces for at in trace.set_at}
    for number, second in enumerate(sorted(found)):
        at = times(np.array([second]))[0]
        label = None if number else "clock was set"
        axes.axvline(at, color=OTHER, ls="dashdot", lw=1.2, label=label)


def _qualities(axes: Axes, drawing: Drawing) -> None:
    """Draw the quality of each window where there are many, else the minutes that it comes from."""
    if len(drawing.traces) > MAX_MINUTES_OF:
        values = [[_result(trace, way).quality for trace in drawing.traces] for way in (0, 1)]
        _per_window(axes, drawing, values)
        axes.set(ylim=(-0.05, 1.05), ylabel="quality (0 to 1)")
        axes.set_title("Quality of each window: share of free minutes")
    else:
        if not any(len(trace.minute_begin) for trace in drawing.traces):
            axes.text(0.5, 0.6, f"no minute has {MIN_PER_MINUTE} packets", **_in_the_middle(axes))
        for way in (0, 1):
            _minutes(axes, drawing, way)
        axes.axhline(CONGESTED_USAGE, color=LINE, lw=0.8, ls="dashed")
        axes.set(ylabel="usage of a minute", title="Quality: free and congested minutes")
        axes.set_ylim(-0.05, max(1.05, axes.get_ylim()[1]))
    plot_style.legend(axes)


def _in_the_middle(axes: Axes) -> Any:
    return {"transform": axes.transAxes, "ha": "center", "color": "#444444"}


def _minutes(axes: Axes, drawing: Drawing, way: int) -> None:
    """Draw the usage of each minute of a direction; those that are congested are filled."""
    color, word, mark = WAYS[way]
    x = np.concatenate([trace.minute_begin for trace in drawing.traces]) + MINUTE_seconds // 2
    y = np.concatenate([trace.ways[way].minute_usage for trace in drawing.traces])
    full = np.concatenate([trace.ways[way].congested for trace in drawing.traces])
    free = "free" if len(drawing.traces) > 1 else _quality(drawing.traces[0], way)
    how: Any = {"ms": 3.5, "color": color, "ls": ""}
    axes.plot(times(x[~full]), y[~full], marker=mark, mfc="none", label=f"{word}: {free}", **how)
    if full.any():
        axes.plot(times(x[full]), y[full], marker=mark, label="congested", **how)


def _quality(trace: Trace, way: int) -> str:
    congested = trace.ways[way].congested
    free = np.count_nonzero(~congested)
    return f"{_number(_result(trace, way).quality)}, {free} of {len(congested)} free"


# --- one window in detail ------------------------------------------------------------------------


def _details(thirds: Sequence[Axes], trace: Trace, way: int) -> None:
    result, part = _result(trace, way), trace.ways[way]
    if trace.estimator == "mode":
        _histogram(thirds[0], part, way, result.usage)
    else:
        _exceeded(thirds[0], part, way, result.usage)
    _fit(
        thirds[1],
        part.rescaled_range,
        way,
        f"R/S {WAYS[way][1]}: H = {_number(result.hurst_rs)}",
        ("log10 of lag (packets)", "log10(R/S)"),
    )
    _fit(
        thirds[2],
        part.wavelet,
        way,
        f"Wavelets {WAYS[way][1]}: H = {_number(result.hurst_wavelet)}",
        ("octave j", "(log2 of energy + j) / 2"),
    )
    if len(part.wavelet.x):
        thirds[2].set_xticks(np.arange(FIRST_OCTAVE, part.wavelet.x[-1] + 1))


def _histogram(axes: Axes, part: WayTrace, way: int, usage: float | None) -> None:
    """Draw bins of equal counts as high as they are dense."""
    color, word, _ = WAYS[way]
    axes.set_title(f"Delays {word}: usage {_number(usage)}")
    bins = part.bins
    if bins is None or part.mode_ns is None or part.threshold_ns is None:
        plot_style.note(axes, "no mode: fewer than 4 packets")
        return
    low, width = bins.low / MS_ns, (bins.high - bins.low) / MS_ns
    finite = np.isfinite(bins.density)
    if not finite.any():
        plot_style.note(axes, "all delays are equal")
        return
    height = np.where(finite, bins.density * MS_ns, 0.0)
    height[~finite] = 1.5 * height.max()
    width = np.where(finite, width, 0.002 * (low[-1] - low[0] or 1.0))
    first = np.arange(len(low)) < bins.candidates
    for chosen, alpha in ((first, 0.75), (~first, 0.3)):
        axes.bar(low[chosen], height[chosen], width[chosen], align="edge", color=color, alpha=alpha)
    axes.axvline(part.mode_ns / MS_ns, color=LINE, lw=1.1)
    axes.axvline(part.threshold_ns / MS_ns, color=LINE, lw=1.1, ls="dashed")
    edge = plot_style.upper_edge(part.delays_ns / MS_ns, part.threshold_ns / MS_ns)
    axes.set_xlim(right=edge)
    plot_style.log_axis(axes, height[height > 0])
    axes.set(xlabel="delay (ms)", ylabel="share of packets per ms")


def _exceeded(axes: Axes, part: WayTrace, way: int, usage: float | None) -> None:
    """Draw which share of the packets waited longer than each time."""
    color, word, _ = WAYS[way]
    waiting = np.sort(part.waiting_ns) / MS_ns
    share = 1 - np.arange(1, len(waiting) + 1) / len(waiting)
    tau = part.tau_ns / MS_ns
    delayed = np.count_nonzero(part.waiting_ns > part.tau_ns) / len(waiting)
    axes.step(waiting, share, where="post", color=color, lw=1.1)
    axes.axvline(tau, color=LINE, lw=1.1, ls="dashed")
    axes.axhline(delayed, color=LINE, lw=0.8, ls="dotted")
    axes.set_xlim(-0.02 * tau, plot_style.upper_edge(waiting, 2 * tau))
    axes.set(ylim=(0, 1.02), xlabel="waiting (ms)", ylabel="share that waited longer")
    axes.set_title(f"Waiting {word}: usage {_number(usage)}")
    at = ("bottom", 0.02) if delayed < 0.5 else ("top", -0.02)
    text = f"{delayed:.2f} of all above tau"
    right = axes.get_yaxis_transform()
    axes.text(0.98, delayed + at[1], text, transform=right, ha="right", va=at[0], fontsize=6.5)


def _fit(axes: Axes, fit: Fit, way: int, title: str, labels: tuple[str, str]) -> None:
    """Draw the points of a Hurst estimate and the line through them."""
    color, _, mark = WAYS[way]
    axes.set_title(title)
    if fit.slope is None:
        plot_style.note(axes, "undefined: too few packets,\nor delays without variation")
        return
    axes.plot(fit.x, fit.y, mark, ms=2.5, mfc="none", mew=0.6, color=color)
    ends: Floats = np.array([fit.x.min(), fit.x.max()])
    axes.plot(ends, fit.line(ends), color=LINE, lw=1.1)
    axes.set(xlabel=labels[0], ylabel=labels[1])


def _number(value: float | None) -> str:
    return display.number(value, 2)
