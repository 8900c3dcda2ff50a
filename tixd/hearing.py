"""One line of JSON from a socket, whoever may be at its other end.

In: a connected socket. Out: what the line says, fit to be shown. Rules: whoever answers may be a
user that root only asks: it has a limited time, its line a limited length, and its texts no
characters that a terminal obeys.
"""

from __future__ import annotations

import socket
import time
from typing import Any

import orjson

from tixd import bounded

#: The longest answer; 100,000 installations whose results wait are about 12 MB.
LONGEST_ANSWER_BYTES = 64 * 2**20

#: Characters of a text that are shown.
LONGEST_TEXT = 1000

#: Bytes taken from a socket at once.
_PIECE_BYTES = 2**18


def heard(sock: socket.socket, deadline: float) -> Any:
    """What the line says; deadline: monotonic seconds.

    Raises ValueError where it says nothing, OSError where it does not come in time.
    """
    line = bytearray()
    while not line.endswith(b"\n") and len(line) <= LONGEST_ANSWER_BYTES:
        left_seconds = deadline - time.monotonic()
        if left_seconds <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left_seconds)
        piece = sock.recv(_PIECE_BYTES)
        if not piece:
            break
        line += piece
    return harmless(orjson.loads(line))


def harmless(value: Any) -> Any:
    """The value with a question mark for each character that is not printed; long texts are cut.

    >>> harmless({"a": ["red\\x1b[31m", 1]})
    {'a': ['red?[31m', 1]}
    """
    if isinstance(value, str):
        value = bounded.text(value, LONGEST_TEXT)
        plain = value.isprintable()
        return value if plain else "".join(c if c.isprintable() else "?" for c in value)
    if isinstance(value, dict):
        return {harmless(name): harmless(member) for name, member in value.items()}
    return [harmless(member) for member in value] if isinstance(value, list) else value
