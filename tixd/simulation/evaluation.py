"""Compare estimates of usage with the truth that a description.yml states.

It belongs to a recorded experiment, in which a schedule throttled the download speed, or to a
simulation. usage = scheduled speed / connection_speed. A window lasts from its first second to its
result's timestamp. Where the speed changes inside it, the parts are weighted by time; in a gap
between two parts usage is 0; time before the first part or after the last one is unknown and
ignored. Other members are ignored; the YAML is loaded safely. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import StatisticsError, correlation, fmean

import yaml

from tixd import errors

#: A description has a few lines; a much larger file is something else.
MAX_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a schedule: epoch seconds, and the usage from `begin` to `end`, 0 and up."""

    begin: float
    end: float
    usage: float


@dataclass(frozen=True, slots=True)
class Truth:
    """The schedule of each direction in order of time; () where it was not throttled."""

    upstream: tuple[Part, ...]
    downstream: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How estimates agree with the truth, over `windows` of them.

    error: mean absolute error; bias: mean of estimate - truth; relative: mean of error / truth over
    windows whose truth is above 0; correlation: Pearson's. None where undefined.
    """

    windows: int
    error: float | None
    bias: float | None
    relative: float | None
    correlation: float | None


class _Loader(yaml.SafeLoader):
    """Refuse aliases: a few lines of them can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("has an alias (*), which no description needs")
        return super().compose_node(parent, index)


def read(content: bytes) -> Truth:
    """Read the truth in a description.yml; raises errors.BadDescription."""
    if len(content) > MAX_BYTES:
        raise errors.BadDescription(f"over {MAX_BYTES} bytes")
    try:
        stated = yaml.load(content, _Loader)  # noqa: S506 - a SafeLoader
        downstream = _schedule(stated, "")
        upstream = _schedule(stated, "upstream_") if "upstream_experiment" in stated else ()
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise errors.BadDescription(" ".join(str(error).split())[:200]) from None
    except KeyError as error:
        raise errors.BadDescription(f"no member {error}") from None
    return Truth(upstream, downstream)


def _schedule(stated: dict[str, object], prefix: str) -> tuple[Part, ...]:
    """Read the parts of one direction."""
    full = _number(stated[f"{prefix}connection_speed"])
    members = stated[f"{prefix}experiment"]
    if full <= 0 or not isinstance(members, list):
        raise ValueError(f"{prefix}connection_speed must be above 0, {prefix}experiment a list")
    parts = []
    for member in members:
        begin, speed, lapse = (_number(member[name]) for name in ("start", "speed", "lapse"))
        parts.append(Part(begin, begin + lapse, speed / full))
    parts.sort(key=lambda part: part.begin)
    if any(after.begin < before.end for before, after in pairwise(parts)):
        raise ValueError("parts overlap")
    return tuple(parts)


def _number(value: object) -> float:
    """Check that a value is a finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a speed, time or lapse is not a number")
    if not 0 <= value < math.inf:
        raise ValueError(f"{value} is not a speed, time or lapse")
    return float(value)


def expected(schedule: tuple[Part, ...], first: float, last: float) -> float | None:
    """Return the mean usage from `first` to `last`, epoch seconds; None where it is unknown.

    >>> half_then_full = (Part(100, 200, 0.5), Part(250, 350, 1.0))
    >>> expected(half_then_full, 110, 190), expected(half_then_full, 350, 400)
    (0.5, None)
    >>> expected(half_then_full, 150, 350), expected(half_then_full, 0, 225)
    (0.625, 0.5)
    """
    touched = [part for part in schedule if part.begin < last and part.end > first]
    if not touched:
        return None
    begin, end = max(first, touched[0].begin), min(last, touched[-1].end)
    carried = (part.usage * (min(end, part.end) - max(begin, part.begin)) for part in touched)
    return sum(carried) / (end - begin)


def covered(schedule: tuple[Part, ...], first: float, last: float) -> float:
    """Compute the share of the time from `first` to `last` that the schedule covers, 0..1.

    >>> covered((Part(100, 200, 0.5), Part(250, 350, 1.0)), 300, 400)
    0.5
    """
    if not schedule:
        return 0.0
    known = min(last, schedule[-1].end) - max(first, schedule[0].begin)
    return max(known, 0.0) / (last - first)


def agreement(pairs: Iterable[tuple[float, float]]) -> Agreement:
    """Compute the agreement of (estimate, truth) pairs.

    >>> agreement([(0.25, 0.0), (0.25, 0.5)])
    Agreement(windows=2, error=0.25, bias=0.0, relative=0.5, correlation=None)
    >>> round(agreement([(0.25, 0.0), (0.25, 0.5), (1.0, 1.0)]).correlation, 3)
    0.866
    """
    both = list(pairs)
    if not both:
        return Agreement(0, None, None, None, None)
    errors_made = [estimate - truth for estimate, truth in both]
    shares = [abs(estimate - truth) / truth for estimate, truth in both if truth > 0]
    try:
        together = correlation(*zip(*both, strict=True))
    except StatisticsError:  # fewer than two, or all equal
        together = None
    return Agreement(
        len(both),
        fmean(map(abs, errors_made)),
        fmean(errors_made),
        fmean(shares) if shares else None,
        together,
    )
