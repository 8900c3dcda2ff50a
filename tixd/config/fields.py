"""How a setting is declared: its default, variable, key and help, and what a secret is.

Durations as Go writes them: "300ms", "1.5h", "2h45m".

In: text. Out: seconds. Rules: decimal numbers, each with a unit of ns, us, µs, ms, s, m, h;
a plain 0 has no unit. Whether a duration may be negative or zero is for others to say. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A text that no message, log, status or JSON shows."""

    _text: str = ""

    def __str__(self) -> str:
        return "***" if self._text else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"

    def __bool__(self) -> bool:
        return bool(self._text)

    def reveal(self) -> str:
        """The text itself, for the one place that sends it."""
        return self._text


def setting(default: Any, env: str, key: str, help: str, **facts: Any) -> Any:  # noqa: A002
    """A field that an operator can set; its metadata: env, key, help, and facts.

    env: its environment variable; key: its place in tixd.toml; `facts`: unit, minimum, maximum.
    """
    return field(default=default, metadata={"env": env, "key": key, "help": help, **facts})


#: Seconds of each unit; the micro sign and the Greek letter are both in use.
_UNITS = MappingProxyType(
    {
        "ns": 1e-9,
        "us": 1e-6,
        "\u00b5s": 1e-6,
        "\u03bcs": 1e-6,
        "ms": 1e-3,
        "s": 1.0,
        "m": 60.0,
        "h": 3600.0,
    }
)

_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)", re.ASCII)

_WHOLE = re.compile(rf"([+-]?)((?:{_PART.pattern})+|0)", re.ASCII)


def seconds(text: str) -> float:
    """The duration in seconds; raises ValueError where it is none.

    >>> seconds("300ms"), seconds("1.5h"), seconds("2h45m"), seconds("-.5s")
    (0.3, 5400.0, 9900.0, -0.5)
    """
    found = _WHOLE.fullmatch(text)
    if not found:
        raise ValueError("is no duration")
    total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(found[2]))
    return -total if found[1] == "-" else total
