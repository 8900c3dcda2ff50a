"""What a role does, in the line that `systemctl status` shows.

In: a Snapshot, and why its role is not ready. Out: a line. Pure. Rules: it says first what an
operator must know first; figures are rounded so that a role which does nothing says nothing new.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import MappingProxyType

from tixd.runtime.status import CycleView, Snapshot

#: What a role does that can.
_DOING = MappingProxyType(
    {
        "standalone": "leading",
        "dispatcher": "leading",
        "worker": "working",
        "collector": "collecting",
    }
)

#: How long workers, volume and broker may take to answer for the first time.
STARTING_SECONDS = 10.0

#: Units of an age, the longest first, and their seconds: the first that fits is named alone.
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def sentence(now: Snapshot, not_ready: Sequence[str]) -> str:
    """The line.

    >>> from dataclasses import replace
    >>> collector = Snapshot("1", "collector", 7, "running", 0.0, 0.0, 0.0, open=3)
    >>> sentence(collector, ())
    'collecting; 0 records, 3 requests in hand'
    >>> sentence(replace(collector, state="stopping"), ())
    'stopping: 3 requests in hand'
    """
    return "; ".join(part for part in (*_parts(now, not_ready), now.not_renewed) if part)


def _parts(now: Snapshot, not_ready: Sequence[str]) -> Iterator[str]:
    if now.state == "stopping":
        yield f"stopping: {_in_hand(now)} in hand"
    elif now.state == "standing by":
        yield f"standing by for {now.leader or 'another process'}"
    elif now.state == "starting":
        yield "starting"
    else:
        yield _verdict(now, not_ready)
        if now.api.reason:
            yield f"results are kept: {now.api.reason}"
        yield from _work(now)


def _verdict(now: Snapshot, not_ready: Sequence[str]) -> str:
    """Whether it can work; in the first seconds nothing is wrong yet with one that cannot."""
    if not not_ready:
        return _DOING[now.role]
    told = "starting" if now.moment - now.started < STARTING_SECONDS else "NOT READY"
    return f"{told}: {', '.join(reason.rstrip('.') for reason in not_ready)}"


def _work(now: Snapshot) -> Iterator[str]:
    """What was done, is in hand, and waits."""
    if now.role == "collector":
        yield f"{_many(now.counts.get('Records', 0), 'record')}, {_in_hand(now)} in hand"
    elif now.role != "dispatcher":
        workers = _many(len(now.workers), "worker")
        yield f"{_busy(now)} of {workers} busy, {_many(now.waiting, 'job')} waiting"
    if now.role in ("standalone", "dispatcher"):
        yield _scan(now.cycle, now.moment)


def _busy(now: Snapshot) -> int:
    return sum(worker.busy for worker in now.workers)


def _in_hand(now: Snapshot) -> str:
    collecting = now.role == "collector"
    return _many(now.open, "request") if collecting else _many(_busy(now), "window")


def _scan(cycle: CycleView, moment: float) -> str:
    if cycle.scanning_since is not None:
        return "scanning"
    return f"last scan {age(moment - cycle.scanned)} ago" if cycle.scanned else "no scan yet"


def _many(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def age(seconds: float) -> str:
    """One unit, so that it seldom changes.

    >>> age(-1), age(59), age(150), age(7300), age(200_000)
    ('under 1 min', 'under 1 min', '2 min', '2 h', '2 d')
    """
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "under 1 min"
