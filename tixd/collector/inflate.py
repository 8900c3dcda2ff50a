"""Bodies that were compressed: gzip and deflate, within limits.

In: the body as sent. Out: its content, or OverLimit, BadRequest, WrongType. Pure.
Rules: every byte is inflated once, in pieces of bounded size; the work grows with body and content
alone, however many streams (gzip's members) follow each other; a stream must be whole; deflate may
come with zlib's header, as it should, or bare.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from tixd import bounded, errors

#: How much is inflated at once; others have their turn between.
PIECE_BYTES = 256 * 1024

#: How much is given to zlib at once: what is left of it at a member's end is copied.
SLICE_BYTES = 16 * 1024

#: Window sizes that tell zlib which header to look for: gzip's, its own, none.
_GZIP, _ZLIB, _BARE = 31, 15, -15

#: What Content-Encoding may name, and the windows to try in turn.
_WINDOWS = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (_ZLIB, _BARE)}

#: How much of an encoding's name is repeated to its sender.
_NAME_CHARACTERS = 100


def check_encoding(encoding: str) -> None:
    """Raises WrongType where Content-Encoding names something else than gzip and deflate."""
    if encoding not in ("", "identity", *_WINDOWS):
        name = bounded.text(encoding, _NAME_CHARACTERS)
        raise errors.WrongType(f"content encoding {name!r} is neither gzip nor deflate")


def is_compressed(encoding: str) -> bool:
    """Whether the body has to be inflated."""
    return encoding in _WINDOWS


def pieces(
    body: bytes | bytearray, encoding: str, most_bytes: int, most_members: int
) -> Iterator[bytes]:
    """The content of the body, piece by piece.

    Raises BadRequest where it is damaged or cut off, OverLimit where it is over `most_bytes`, or of
    over `most_members` streams.
    """
    size = 0
    for piece in _inflated(body, _window(body, encoding), most_members):
        size += len(piece)
        if size > most_bytes:
            raise errors.OverLimit(
                f"body of more than {most_bytes} bytes when inflated (maxInflated)"
            )
        yield piece


def _window(body: bytes | bytearray, encoding: str) -> int:
    """The window that the beginning of the body asks for."""
    for window in _WINDOWS[encoding][:-1]:
        try:
            zlib.decompressobj(window).decompress(body[:64], 1)
        except zlib.error:
            continue
        return window
    return _WINDOWS[encoding][-1]


def _inflated(body: bytes | bytearray, window: int, most_members: int) -> Iterator[bytes]:
    """Every stream of the body in turn: gzip's may be several."""
    source = _Source(body)
    members = 0
    try:
        while source.has_more():
            members += 1
            if members > most_members:
                raise errors.OverLimit(f"gzip of more than {most_members} members (maxMembers)")
            yield from _member(source, zlib.decompressobj(window))
    except zlib.error:
        name = "gzip" if window == _GZIP else "deflate"
        raise errors.BadRequest(f"the body is not {name}, or it is damaged") from None


def _member(source: _Source, stream: zlib._Decompress) -> Iterator[bytes]:
    """What one stream holds; the source stands behind it then."""
    while not stream.eof:
        taken = source.take()
        piece = stream.decompress(taken, PIECE_BYTES)
        source.put_back(stream.unused_data or stream.unconsumed_tail)
        if piece:
            yield piece
        elif not stream.eof and not source.has_more():
            raise errors.BadRequest("body ends before its compressed data do")


class _Source:
    """The body in slices."""

    def __init__(self, body: bytes | bytearray) -> None:
        self._body, self._at, self._rest = memoryview(body), 0, b""

    def has_more(self) -> bool:
        return bool(self._rest) or self._at < len(self._body)

    def take(self) -> bytes | memoryview:
        """What was put back, else the next slice, which is empty at the end."""
        if self._rest:
            taken, self._rest = self._rest, b""
            return taken
        start, self._at = self._at, self._at + SLICE_BYTES
        return self._body[start : self._at]

    def put_back(self, rest: bytes) -> None:
        """What zlib has not looked at."""
        self._rest = rest
