"""Shorten values from outside for log lines and messages; bound what is remembered.

Rules: a short value stays as it is; a longer one becomes its beginning, "…" and its length; the
cost does not depend on the value's size, so nothing long is formatted or copied whole. Pure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

#: Characters of a text that are shown.
MAX_CHARACTERS = 300

#: Larger integers are described by their number of bits: writing them takes quadratic time.
MAX_BITS = 256

#: Characters that each level of nested lists uses up, so that none is too deep.
LEVEL_CHARACTERS = 10


def text(value: str, most: int = MAX_CHARACTERS) -> str:
    """Return the text, cut where it is longer than `most` characters.

    >>> text("abcdef", 3)
    'abc… (6 characters)'
    """
    return value if len(value) <= most else f"{value[:most]}… ({len(value)} characters)"


def printable(value: str, instead: str | None = None) -> str:
    """Return the text with each unprintable character escaped, or replaced by `instead`.

    >>> printable("Ärger\\x1b[31m\\n"), printable("a\\x07b", "?")
    ('Ärger\\\\x1b[31m\\\\n', 'a?b')
    """
    if value.isprintable():
        return value
    return "".join(c if c.isprintable() else _escape(c, instead) for c in value)


def _escape(character: str, instead: str | None) -> str:
    return ascii(character)[1:-1] if instead is None else instead


def value(found: object, most: int = MAX_CHARACTERS) -> object:
    """Return a value as a log line shows it; numbers and short lists stay as they are.

    >>> value({"sizes": [1, 2], "name": "abcdef"}, 50)
    {'sizes': [1, 2], 'name': 'abcdef'}
    >>> value([1.5, "abcdefgh", 3], 18)
    [1.5, 'abc… (8 characters)', '… (3 items)']
    """
    if found is None or isinstance(found, int | float):
        return _number(found)
    if isinstance(found, bytes | bytearray | memoryview):
        return _octets(bytes(found[:most]), len(found), most)
    if isinstance(found, Mapping):
        return _members(found, most - LEVEL_CHARACTERS)
    if isinstance(found, list | tuple | set | frozenset):
        return _items(found, len(found), most - LEVEL_CHARACTERS)
    return text(found if isinstance(found, str) else _as_text(found), most)


def error(found: BaseException, most: int = MAX_CHARACTERS) -> str:
    """Return kind and message of an exception: `ValueError: no number`.

    >>> error(ValueError("no number"))
    'ValueError: no number'
    """
    words = _as_text(found)
    return text(f"{type(found).__name__}: {words[:most]}" if words else type(found).__name__, most)


def forget_oldest(memory: dict[Any, Any], most: int) -> None:
    """Drop the first entries of a dictionary that has more than `most`.

    >>> memory = {"a": 1, "b": 2, "c": 3}
    >>> forget_oldest(memory, 2)
    >>> memory
    {'b': 2, 'c': 3}
    """
    while len(memory) > most:
        del memory[next(iter(memory))]


def _number(found: int | float | None) -> object:
    if isinstance(found, float):
        return found if math.isfinite(found) else str(found)
    if found is not None and found.bit_length() > MAX_BITS:
        return f"a number of {found.bit_length()} bits"
    return found


def _octets(start: bytes, length: int, most: int) -> str:
    return repr(start) if length <= most else f"{start!r}… ({length} bytes)"


def _members(found: Mapping[object, object], most: int) -> dict[str, object]:
    shown: dict[str, object] = {}
    for key, member in found.items():
        if most <= 0:
            shown["…"] = f"{len(found)} members"
            break
        name = str(value(key, most))
        shown[name] = value(member, max(0, most - len(name)))
        most -= len(name) + _size(shown[name])
    return shown


def _items(found: Iterable[object], length: int, most: int) -> list[object]:
    shown: list[object] = []
    for item in itertools.islice(found, most + 1):
        if most <= 0:
            return [*shown, f"… ({length} items)"]
        shown.append(value(item, most))
        most -= _size(shown[-1])
    return shown


def _size(shown: object) -> int:
    return len(str(shown)) + 2


def _as_text(found: object) -> str:
    """Return the text of an object; of one whose __str__ fails, its type and the error's."""
    if isinstance(found, BaseException) and type(found).__str__ in _PLAIN:
        return str(value(found.args[0] if len(found.args) == 1 else found.args or ""))
    try:
        return str(found)
    except Exception as problem:  # noqa: BLE001 - a log line must not fail for what it shows
        return f"{type(found).__name__} ({type(problem).__name__} while it was shown)"


#: Methods that show the arguments of an exception and nothing else.
_PLAIN = (BaseException.__str__, KeyError.__str__)
