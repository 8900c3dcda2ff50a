"""The parameters of a request, read within its limits.

In: aiohttp's request, when its time is up, what it may hold. Out: the parameters of its query and
its body, or BadRequest, RequestTimeout, OverLimit, WrongType, Unavailable, Left. Rules: what can be
refused by its head is refused before anything of it is read; a client that asks is told to go on
only then; what arrives is decoded at once, and only that is held; a compressed body is inflated
once it is whole, piece by piece, straight into the form.

Bodies that were compressed: gzip and deflate, within limits.

In: the body as sent. Out: its content, or OverLimit, BadRequest, WrongType. Pure.
Rules: every byte is inflated once, in pieces of bounded size; the work grows with body and content
alone, however many streams (gzip's members) follow each other; a stream must be whole; deflate may
come with zlib's header, as it should, or bare.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from tixd import bounded, errors
from tixd.collector.admission import ClientGone, Reservation
from tixd.collector.cooperative import Limited, Scheduler
from tixd.collector.form import Form
from tixd.collector.steps import Steps
from tixd.config.collector_settings import CollectorSettings

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


#: The only content type that a form may have here.
FORM = "application/x-www-form-urlencoded"

#: How much of a content type is repeated to its sender.
_TYPE_CHARACTERS = 100


class Reader:
    """Reads requests within these settings."""

    def __init__(self, settings: CollectorSettings, scheduler: Scheduler) -> None:
        self._settings, self._scheduler = settings, scheduler

    async def parameters(
        self, request: web.BaseRequest, share: Reservation, deadline: float
    ) -> dict[str, bytes]:
        """What query and body say, the body where both do; `deadline`: of the loop's clock."""
        async with Limited(share, deadline):
            query = request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")
            asked, posted = Form(), Form()
            if request.method == "POST" and request.can_read_body:
                await self._read(request, posted, share)
            share.is_whole = True
            if query:
                await self._scheduler.run(asked.feeding(query), share)
            return {**asked.values(), **posted.values()}

    async def _read(self, request: web.BaseRequest, form: Form, share: Reservation) -> None:
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        _check_head(request, encoding, self._settings)
        try:
            await _tell_to_go_on(request)
            if not is_compressed(encoding):
                await self._decode(request, form, share)
                return
            body = await self._received(request, share)
        except ConnectionError:
            raise ClientGone from None
        except (web.RequestPayloadError, HttpProcessingError):
            raise errors.BadRequest("body is not as its head says") from None
        share.is_whole = True
        await self._scheduler.run(self._inflating(body, encoding, form), share)
        share.take(-len(body))

    async def _decode(self, request: web.BaseRequest, form: Form, share: Reservation) -> None:
        """Decode a body as it arrives."""
        before, size = share.bytes, 0
        while piece := await request.content.readany():
            size = self._checked(size + len(piece))
            share.take(len(piece))
            form.feed(piece)
            share.hold(before + form.held_bytes)

    async def _received(self, request: web.BaseRequest, share: Reservation) -> bytearray:
        """A body as sent."""
        body = bytearray()
        while piece := await request.content.readany():
            self._checked(len(body) + len(piece))
            share.take(len(piece))
            body += piece
        return body

    def _checked(self, size: int) -> int:
        if size > self._settings.max_body_bytes:
            raise errors.OverLimit(
                f"body of more than {self._settings.max_body_bytes} bytes (maxBody)"
            )
        return size

    def _inflating(self, body: bytearray, encoding: str, form: Form) -> Steps[None]:
        most_bytes, most_members = self._settings.max_inflated_bytes, self._settings.max_members
        for piece in pieces(body, encoding, most_bytes, most_members):
            form.feed(piece)
            yield form.held_bytes


def _check_head(request: web.BaseRequest, encoding: str, settings: CollectorSettings) -> None:
    """Raises what a request's head says of its body."""
    if (request.content_length or 0) > settings.max_body_bytes:
        raise errors.OverLimit(f"body of more than {settings.max_body_bytes} bytes (maxBody)")
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media != FORM:
        found = bounded.text(media, _TYPE_CHARACTERS)
        raise errors.WrongType(f"content type {found!r} is not {FORM}")
    check_encoding(encoding)


async def _tell_to_go_on(request: web.BaseRequest) -> None:
    """Answer `Expect: 100-continue`, which curl sends before a large body."""
    expected = request.headers.get("Expect", "").lower() == "100-continue"
    if expected and request.version >= HttpVersion11 and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
