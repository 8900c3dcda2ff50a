"""Charts as SVG text: values over time, sparklines, bars, quartiles.

Rules: colours are classes of the style sheet, and directions differ in their dashes too; positions
along and across are shares of the box, so that texts keep their size in any width; a value that is
missing is a gap; what comes from outside is escaped. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import NamedTuple

#: Most ticks of an axis of values, and of time.
MAX_TICKS, MAX_TIME_TICKS = 6, 9

#: Values that differ by less are drawn as one.
MIN_RANGE = 1e-9

_HOUR, _DAY = 3600, 86_400

#: Distances between ticks of time, seconds.
_TIME_STEPS = (60, 300, 600, 1800, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY)

#: Width and height in which lines are drawn, before they are stretched to the box.
_WIDTH, _HEIGHT = 1000, 100

#: Width and height of a sparkline, and of a bar of quartiles, pixels.
SPARK = 96, 24
BOX = 160, 16

#: Room for a mark in the legend, and for a character behind it, pixels.
_MARK, _CHARACTER = 26, 7.5


class Point(NamedTuple):
    """A value at an epoch second; None: unknown; low, high: the range of what it is a mean of."""

    at: float
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one thing in order of time. name: in words; style: a class: down, up, one."""

    name: str
    points: Sequence[Point]
    style: str = "one"


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of values: lowest and highest, where it has ticks, and how they are written."""

    low: float
    high: float
    ticks: Sequence[float]
    digits: int

    def share(self, value: float) -> float:
        """Return how far from the low end a value lies, 0 to 1; beyond an end it is that end."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def axis(low: float, high: float, most: int = MAX_TICKS) -> Axis:
    """Return an axis that holds both values, with round numbers at its ticks and ends.

    >>> axis(0.0, 1.0).ticks, axis(0.0, 1234.0).ticks
    ((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), (0.0, 250.0, 500.0, 750.0, 1000.0, 1250.0))
    """
    if high - low < MIN_RANGE:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < MIN_RANGE:
        low, high = 0.0, 1.0
    power = 10.0 ** math.floor(math.log10((high - low) / (most - 1)))
    for step in (power * factor for factor in (1, 2, 2.5, 5, 10, 20)):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            break
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) + (step / power == 2.5 and power <= 1)
    ticks = tuple(round(n * step, digits) for n in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks, digits)


def time_ticks(begin: float, end: float, most: int = MAX_TIME_TICKS) -> list[tuple[float, str]]:
    """Return ticks between two epoch seconds, each with its label in UTC.

    >>> [label for _, label in time_ticks(0, 86_400)]
    ['1 Jan', '03:00', '06:00', '09:00', '12:00', '15:00', '18:00', '21:00', '2 Jan']
    >>> [label for _, label in time_ticks(0, 7 * 86_400)][:2]
    ['Thu 1', 'Fri 2']
    """
    fitting = (step for step in _TIME_STEPS if (end - begin) / step < most)
    step = next(fitting, _DAY * math.ceil((end - begin) / _DAY / (most - 2)))
    first = math.ceil(begin / step)
    return [(n * step, _label(n * step, step)) for n in range(first, int(end // step) + 1)]


def _label(second: float, step: float) -> str:
    moment = datetime.fromtimestamp(second, UTC)
    if step == _DAY:
        return f"{moment:%a} {moment.day}"
    is_date = step > _DAY or second % _DAY == 0
    return f"{moment.day} {moment:%b}" if is_date else f"{moment:%H:%M}"


def moment(second: float) -> str:
    """Return a time as it stands before values.

    >>> moment(0)
    '1 Jan 00:00 UTC'
    """
    found = datetime.fromtimestamp(second, UTC)
    return f"{found.day} {found:%b %H:%M} UTC"


# --- values over time ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimeChart:
    """A chart of one or several series over a time, in epoch seconds.

    name: unique on its page; title: what a screen reader says; step_seconds: between points, a gap
    is longer than twice that; unit: behind values; digits: of values; low, high: what the axis
    holds in any case; is_bars: bars in place of lines, of each series on those before it;
    are_means: points are of a whole step, as those of bars always are.
    """

    name: str
    title: str
    series: Sequence[Series]
    begin: float
    end: float
    step_seconds: float
    unit: str = ""
    digits: int = 2
    low: float = 0.0
    high: float = 0.0
    is_bars: bool = False
    are_means: bool = False

    def svg(self) -> str:
        """Return the chart."""
        values = self._sums() if self.is_bars else self._all()
        scale = axis(min([self.low, *values]), max([self.high, *values]))
        drawn = self._bars(scale) if self.is_bars else self._lines(scale)
        return (
            f'<svg class="plot" role="img" aria-labelledby="{self.name}-title {self.name}-desc">'
            f'<title id="{self.name}-title">{escape(self.title)}</title>'
            f'<desc id="{self.name}-desc">{escape(self._words())}</desc>'
            f"{''.join(_grid(scale))}{''.join(self._times())}"
            f'<svg class="stretched" width="100%" height="100%" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
            f' preserveAspectRatio="none" aria-hidden="true">{"".join(drawn)}</svg>'
            f"{''.join(self._legend())}{''.join(self._values())}</svg>"
        )

    def _x(self, second: float) -> float:
        return (second - self.begin) / (self.end - self.begin)

    def _times(self) -> Iterator[str]:
        for place, (second, label) in enumerate(time_ticks(self.begin, self.end)):
            x = f"{100 * self._x(second):.2f}%"
            minor = " minor" if place % 2 else ""
            yield f'<line class="tick" x1="{x}" x2="{x}" y1="100%" y2="100%"/>'
            yield f'<text class="time{minor}" x="{x}" y="100%" dy="16">{label}</text>'

    def _lines(self, scale: Axis) -> Iterator[str]:
        for one in self.series:
            runs = [[(self._x(p.at) * _WIDTH, p) for p in run] for run in self._runs(one.points)]
            if ranges := "".join(_range(scale, run) for run in runs):
                yield f'<path class="range {one.style}" d="{ranges}"/>'
            lines = [[(x, _y(scale, p.value or 0.0)) for x, p in run] for run in runs]
            for style in ("line", "dot"):
                if path := "".join(_path(at) for at in lines if (len(at) > 1) == (style == "line")):
                    yield f'<path class="{style} {one.style}" d="{path}"/>'

    def _all(self) -> list[float]:
        return [value for one in self.series for point in one.points for value in _of(point)]

    def _sums(self) -> list[float]:
        """Return the heights of the bars, of all series together."""
        sums: dict[float, float] = {}
        for point in (point for one in self.series for point in one.points):
            sums[point.at] = sums.get(point.at, 0.0) + (point.value or 0.0)
        return [*sums.values()]

    def _bars(self, scale: Axis) -> Iterator[str]:
        wide = max(1.0, self.step_seconds / (self.end - self.begin) * _WIDTH * 0.8)
        below: dict[float, float] = {}
        for one in self.series:
            for point in one.points:
                if point.value is not None:
                    base = below.get(point.at, 0.0)
                    below[point.at] = base + point.value
                    top, bottom = _y(scale, base + point.value), _y(scale, base)
                    yield (
                        f'<rect class="bar {one.style}" width="{wide:.1f}"'
                        f' x="{self._x(point.at) * _WIDTH - wide / 2:.1f}"'
                        f' y="{top:.2f}" height="{bottom - top:.2f}"/>'
                    )

    def _runs(self, points: Iterable[Point]) -> Iterator[list[Point]]:
        """Yield the points between gaps."""
        run: list[Point] = []
        for point in points:
            if run and (point.value is None or point.at - run[-1].at > 2 * self.step_seconds):
                yield run
                run = []
            if point.value is not None:
                run.append(point)
        if run:
            yield run

    def legend(self) -> str:
        """Return the names of bars, each behind its mark, as a list that folds where it is long."""
        marks = (
            f'<li><svg class="mark" aria-hidden="true"><rect class="bar {one.style}"/></svg>'
            f"{escape(one.name)}</li>"
            for one in self.series
        )
        return f'<ul class="legend">{"".join(marks)}</ul>'

    def _legend(self) -> Iterator[str]:
        """Yield a mark and a name for each of several lines, above the chart."""
        x = 0.0
        for one in self.series if len(self.series) > 1 and not self.is_bars else ():
            ends = f'x1="{x:.0f}" x2="{x + 20:.0f}" y1="-12" y2="-12"'
            yield f'<line class="line {one.style}" {ends}/>'
            yield f'<text class="key" x="{x + _MARK:.0f}" y="-8">{escape(one.name)}</text>'
            x += _MARK + 14 + _CHARACTER * len(one.name)

    def _values(self) -> Iterator[str]:
        """Yield for each time a field over the chart's height that has the values in words."""
        found: dict[float, list[str]] = {}
        for one in self.series:
            name = f"{one.name} " if len(self.series) > 1 else ""
            for point in one.points:
                if point.value is not None:
                    found.setdefault(point.at, []).append(f"{name}{self._in_words(point)}")
        wide = self.step_seconds / (self.end - self.begin)
        for second, words in found.items():
            value = escape(f"{self._when(second)}: {', '.join(words)}")
            yield (
                f'<rect class="field" x="{100 * (self._x(second) - wide / 2):.2f}%" y="0"'
                f' width="{100 * wide:.2f}%" height="100%" data-value="{value}">'
                f"<title>{value}</title></rect>"
            )

    def _when(self, second: float) -> str:
        """Return the time of a point; of a bar or a mean that from its begin to its end."""
        if not (self.is_bars or self.are_means):
            return moment(second)
        begin, end = second - self.step_seconds / 2, second + self.step_seconds / 2
        return f"{moment(begin).removesuffix(' UTC')} to {moment(end)[-9:]}"

    def _in_words(self, point: Point) -> str:
        words = self._number(point.value)
        if point.low is not None and point.high is not None and point.low < point.high:
            words += f" ({self._number(point.low)} to {self._number(point.high)})"
        return words

    def _number(self, value: float | None) -> str:
        return f"{value or 0.0:z,.{self.digits}f}{f' {self.unit}' if self.unit else ''}"

    def _words(self) -> str:
        """Describe the chart for those who do not see it."""
        found = [f"From {moment(self.begin)} to {moment(self.end)}."]
        for one in self.series:
            values = [point.value for point in one.points if point.value is not None]
            if values:
                low, last, high = map(self._number, (min(values), values[-1], max(values)))
                found.append(f"{one.name}: lowest {low}, highest {high}, last {last}.")
            else:
                found.append(f"{one.name}: no value.")
        return " ".join(found)


def _of(point: Point) -> Iterator[float]:
    return (value for value in point[1:] if value is not None)


def _y(scale: Axis, value: float) -> float:
    return (1 - scale.share(value)) * _HEIGHT


def _path(corners: Iterable[tuple[float, float]]) -> str:
    """Return the line through the corners; of one corner a line without length, drawn as a dot."""
    found = [f"{x:.1f} {y:.2f}" for x, y in corners]
    return f"M{'L'.join(found)}" + ("h0" if len(found) == 1 else "")


def _range(scale: Axis, run: Sequence[tuple[float, Point]]) -> str:
    """Return the outline of the ranges of a run of points; "" where one has none, or all are 0."""
    over = [(x, _y(scale, p.high)) for x, p in run if p.high is not None]
    under = [(x, _y(scale, p.low)) for x, p in run if p.low is not None]
    is_whole = len(run) == len(over) == len(under) > 1
    return f"{_path([*over, *reversed(under)])}Z" if is_whole and over != under else ""


def _grid(scale: Axis) -> Iterator[str]:
    for value in scale.ticks:
        y = f"{100 * (1 - scale.share(value)):.2f}%"
        yield f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>'
        yield f'<text class="number" x="-6" y="{y}" dy="4">{value:z,.{scale.digits}f}</text>'


# --- small ones ----------------------------------------------------------------------------------


def sparkline(
    name: str, points: Sequence[Point], begin: float, end: float, style: str, gap_seconds: float
) -> str:
    """Return a line of values of 0 to 1 without axes, and its lowest, highest and last in words.

    name: what it shows; gap_seconds: a longer pause between points is a gap.
    """
    wide, high = SPARK
    known = [point for point in points if point.value is not None]
    path, last = "", -math.inf
    for at, value in ((point.at, point.value) for point in known):
        x = 1 + (at - begin) / (end - begin) * (wide - 2)
        y = 2 + (1 - min(1.0, max(0.0, value or 0.0))) * (high - 4)
        if at - last > gap_seconds:
            path += f"M{x:.1f} {y:.1f}h0"
        else:
            path += f"L{x:.1f} {y:.1f}"
        last = at
    values = [point.value for point in known if point.value is not None]
    words = f"{name}: no value"
    if values:
        words = (
            f"{name}: lowest {min(values):.2f}, highest {max(values):.2f}, last {values[-1]:.2f}"
        )
    return (
        f'<svg class="spark" role="img" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}">'
        f'<title>{escape(words)}</title><path class="base" d="M0 {high - 2}H{wide}"/>'
        f'<path class="line {style}" d="{path}"/></svg>'
    )


def quartile_bar(name: str, low: float, q1: float, median: float, q3: float, high: float) -> str:
    """Return a bar of 0 to 1: a line from low to high, a box of the quartiles, the median."""
    wide, tall = BOX
    x = {
        key: f"{1 + min(1.0, max(0.0, value)) * (wide - 2):.1f}"
        for key, value in zip("lamzh", (low, q1, median, q3, high), strict=True)
    }
    box = max(1.0, float(x["z"]) - float(x["a"]))
    words = (
        f"{name}: median {median:.2f}, half of them from {q1:.2f} to {q3:.2f},"
        f" all from {low:.2f} to {high:.2f}"
    )
    return (
        f'<svg class="box" role="img" width="{wide}" height="{tall}" viewBox="0 0 {wide} {tall}">'
        f"<title>{escape(words)}</title>"
        f'<path class="base" d="M0 {tall - 1}H{wide}"/>'
        f'<path class="whisker" d="M{x["l"]} {tall / 2}H{x["h"]}"/>'
        f'<rect class="half" x="{x["a"]}" y="3" width="{box:.1f}" height="{tall - 7}"/>'
        f'<path class="median" d="M{x["m"]} 1V{tall - 2}"/></svg>'
    )
