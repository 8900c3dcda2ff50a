"""The ledger of a soak: what was sent, and what became of it. Pure.

A key is a window (user, installation, timestamp) or a record's id. What is taken comes as a list
in its order; a disturbance says between which places of that list a fault acted.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence, Set
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Disturbance:
    """A fault that may repeat what was in flight.

    first, last: how many had been taken when it began, and when the next one did; allowed: how many
    it may repeat; repeated: how many it has.
    """

    name: str
    first: int
    last: int
    allowed: int
    repeated: int = 0


@dataclass(slots=True)
class Account:
    """Figures of one ledger; each problem is a broken promise."""

    of: str
    sent: int = 0
    taken: int = 0
    lost: int = 0
    unexpected: int = 0
    repeated: int = 0
    unanswered: int = 0
    held_back: int = 0
    held_at_end: int = 0
    repeated_by: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def settle(
    account: Account,
    sent: Set[Hashable],
    taken: Sequence[tuple[Hashable, bool]],
    held: Set[Hashable],
    disturbances: Iterable[Disturbance],
) -> None:
    """Fill in what was lost and repeated, and by which fault.

    taken: each key with whether its sender heard of it; one that did not hear has to send again.
    held: what is still kept at the end.
    """
    keys = {key for key, _ in taken}
    account.sent, account.taken = len(sent), len(keys)
    account.held_at_end = len(held - keys)
    lost, strange = sent - keys - held, keys - sent
    account.lost, account.unexpected = len(lost), len(strange)
    account.problems += [f"lost: {key}" for key in _few(lost)]
    account.problems += [f"never sent: {key}" for key in _few(strange)]
    account.problems += [f"still held back after the drain: {key}" for key in _few(held - keys)]
    _explain(account, taken, list(disturbances))


def _few(keys: Iterable[Hashable], most: int = 10) -> list[Hashable]:
    return sorted(keys, key=repr)[:most]


def _explain(
    account: Account, taken: Sequence[tuple[Hashable, bool]], disturbances: list[Disturbance]
) -> None:
    """Find the fault of each repeat."""
    seen: dict[Hashable, tuple[int, bool]] = {}
    spans: list[tuple[int, int, Hashable]] = []
    for place, (key, heard) in enumerate(taken):
        if key in seen:
            account.repeated += 1
            before, was_heard = seen[key]
            if was_heard:
                spans.append((before, place, key))
            else:
                account.unanswered += 1
        seen[key] = place, heard
    _blame(account, spans, [fault for fault in disturbances if fault.allowed])
    for fault in disturbances:
        if fault.repeated:
            by = account.repeated_by
            by[fault.name] = by.get(fault.name, 0) + fault.repeated
        if fault.repeated > fault.allowed:
            account.problems.append(
                f"{fault.name} repeated {fault.repeated}, of {fault.allowed} that may be in flight"
            )


def _blame(
    account: Account, spans: Iterable[tuple[int, int, Hashable]], faults: Sequence[Disturbance]
) -> None:
    """Count each repeat at a fault between its two posts, none at more than it may have repeated.

    faults: one after the other. From the last to the first each takes, of the repeats that may be
    its, those that no earlier one can take, then others; so as many as possible are explained.
    """
    firsts: dict[int, list[int]] = {}
    for before, place, key in spans:
        near = [n for n, one in enumerate(faults) if before <= one.last and one.first <= place]
        if near:
            firsts.setdefault(near[-1], []).append(near[0])
        else:
            account.problems.append(f"repeated without a fault: {key}, posts {before} and {place}")
    left: list[int] = []
    for number, fault in reversed([*enumerate(faults)]):
        left = sorted(left + firsts.get(number, []), reverse=True)
        own = left.count(number)
        fault.repeated = max(own, min(len(left), fault.allowed))
        del left[: fault.repeated]
