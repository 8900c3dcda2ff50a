"""Declare a setting: its default, variable, key and help; hide secrets; read durations. Pure."""

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
        """Return the text itself, for the one place that sends it."""
        return self._text


def setting(default: Any, env: str, key: str, help: str, **facts: Any) -> Any:  # noqa: A002
    """Declare a field that an operator can set; its metadata: env, key, help, and `facts`.

    env: its environment variable; key: its place in the file; unit; minimum, maximum; empty: it may
    be, although its default is not; shape: what its text must look like, a name in `values.SHAPES`;
    written: its default as operators write it; words, aliases: the words of a choice, where they
    are not those of its type, and other words that mean one of them; variable_words: the words that
    its variable can be, and what they mean; any_text_is_true: its variable turns it on whatever it
    says; note: what an error message about it adds.
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


def duration_seconds(text: str) -> float:
    """Return the seconds of a duration as Go writes it; raises ValueError where it is not one.

    Decimal numbers, each with a unit; a plain 0 has none. It may be negative.

    >>> duration_seconds("300ms"), duration_seconds("2h45m"), duration_seconds("-.5s")
    (0.3, 9900.0, -0.5)
    """
    found = _WHOLE.fullmatch(text)
    if not found:
        raise ValueError("is not a duration")
    total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(found[2]))
    return -total if found[1] == "-" else total
