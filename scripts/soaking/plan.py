"""Which faults a seed gives, and in which order. Pure.

Faults come in rounds: each round has every fault once, in an order of its own. In the second half
of a soak nothing ends a process, so that there are lives long enough to judge their memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

#: Seconds between the end of a fault and the next one, least and most.
PAUSE_SECONDS = (1.0, 5.0)

#: A fault and the pause after it take this long at the least, seconds.
MIN_STEP_SECONDS = 2.0


class NotActed(Exception):
    """The fault was tried, and nothing shows that it acted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What can be done to a role.

    kinds: rows of faults.md and field.md that it belongs to; ends: it ends processes; repeats: how
    many posts it may repeat at most; act: does it, ends it, and returns the proof that it acted.
    """

    name: str
    kinds: tuple[str, ...]
    roles: tuple[str, ...]
    ends: bool
    repeats: int
    act: Callable[[Any, Random], str]


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault of a plan; key: what its own choices are made of."""

    number: int
    fault: Fault
    pause_seconds: float
    key: str


def planned(
    faults: Sequence[Fault], role: str, seed: int, minutes: float
) -> tuple[tuple[Planned, ...], tuple[Planned, ...]]:
    """Return the faults of both halves, more than there is time for: the same for the same seed."""
    own = sorted((fault for fault in faults if role in fault.roles), key=lambda fault: fault.name)
    count = round(minutes * 60 / 2 / MIN_STEP_SECONDS) + 1
    halves = []
    for half, kept in enumerate((own, [fault for fault in own if not fault.ends])):
        random = Random(f"{seed}.{role}.{half}")
        drawn = _rounds(kept, random, count)
        halves.append(
            tuple(
                Planned(
                    number, fault, random.uniform(*PAUSE_SECONDS), f"{seed}.{role}.{half}.{number}"
                )
                for number, fault in enumerate(drawn, 1)
            )
        )
    return halves[0], halves[1]


def _rounds(faults: Sequence[Fault], random: Random, count: int) -> Iterator[Fault]:
    given = 0
    while faults and given < count:
        yield from random.sample(faults, len(faults))
        given += len(faults)
