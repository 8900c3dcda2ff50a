"""How a setting is declared: its default, variable, key and help, and what a secret is."""

from __future__ import annotations

from dataclasses import dataclass, field
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
