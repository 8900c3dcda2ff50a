"""Every fault, by the decorator that declares it. Pure but for what faults do."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Protocol, TypeVar

from soaking.plan import Fault

#: Roles that process reports, and all.
STANDALONE, HOSTS, COLLECTOR = ("standalone",), ("hosts",), ("collector",)
PROCESSING = (*STANDALONE, *HOSTS)
EVERY = (*PROCESSING, *COLLECTOR)

#: Every fault that is declared.
FAULTS: list[Fault] = []

Act = TypeVar("Act", bound=Callable[[Any, Random], str])


class Declare(Protocol):
    """What declares a fault and returns it as it is."""

    def __call__(self, act: Act, /) -> Act:
        """Declare it."""


def fault(*kinds: str, roles: tuple[str, ...], ends: bool = False, repeats: int = 0) -> Declare:
    """Declare a fault; its name is that of the function, with blanks."""

    def declare(act: Act) -> Act:
        name = act.__name__.replace("_", " ")
        FAULTS.append(Fault(name, kinds, roles, ends, repeats, act))
        return act

    return declare
