"""Bodies that were compressed: gzip and deflate, within limits.

In: the body as sent. Out: its content, or OverLimit, BadRequest, WrongType. Pure.
Rules: it is measured before anything of it is kept, so that a bomb costs time and no memory; a
stream must be whole; deflate may come with zlib's header, as it should, or bare.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from tixd import errors

#: How much is inflated at once; others have their turn between.
PIECE_BYTES = 256 * 1024

#: Window sizes that tell zlib which header to look for: gzip's, its own, none.
_GZIP, _ZLIB, _BARE = 31, 15, -15

#: What Content-Encoding may name, and the windows to try in turn.
_WINDOWS = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (_ZLIB, _BARE)}


def check_encoding(encoding: str) -> None:
    """Raises WrongType where Content-Encoding names something else than gzip and deflate."""
    if encoding not in ("", "identity", *_WINDOWS):
        raise errors.WrongType(f"content encoding {encoding!r} is neither gzip nor deflate")


def is_compressed(encoding: str) -> bool:
    """Whether the body has to be inflated."""
    return encoding in _WINDOWS


def pieces(body: bytes, encoding: str, most_bytes: int) -> Iterator[bytes]:
    """The content of the body, piece by piece.

    Raises BadRequest where it is damaged or cut off, OverLimit where it is over `most_bytes`.
    """
    size = 0
    for piece in _inflated(body, _window(body, encoding)):
        size += len(piece)
        if size > most_bytes:
            raise errors.OverLimit(f"body of more than {most_bytes} bytes when inflated")
        yield piece


def _window(body: bytes, encoding: str) -> int:
    """The window that the beginning of the body asks for."""
    for window in _WINDOWS[encoding][:-1]:
        try:
            zlib.decompressobj(window).decompress(body[:64], 1)
        except zlib.error:
            continue
        return window
    return _WINDOWS[encoding][-1]


def _inflated(body: bytes, window: int) -> Iterator[bytes]:
    """Every stream of the body in turn: gzip's may be several."""
    rest = body
    try:
        while rest:
            stream = zlib.decompressobj(window)
            while not stream.eof:
                piece = stream.decompress(rest, PIECE_BYTES)
                rest = stream.unconsumed_tail
                if not piece and not rest and not stream.eof:
                    raise errors.BadRequest("body ends before its compressed data do")
                yield piece
            rest = stream.unused_data
    except zlib.error as error:
        raise errors.BadRequest(f"body cannot be inflated: {error}") from None
