"""Read the parameters of a request, within its limits.

Rules:
- what can be refused by its head is refused before anything of it is read, and a client that
  expects 100-continue gets it only then;
- what arrives is decoded at once, and only that is held;
- a compressed body is inflated once it is whole, every byte once, in pieces of bounded size,
  straight into the form; the work grows with body and content alone, however many streams (gzip's
  members) follow each other; deflate may come with zlib's header, as it should, or bare.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from tixd import bounded, errors
from tixd.collector.admission import HEAD_COPIES, ClientGone, Reservation
from tixd.collector.cooperative import Steps, StepScheduler, interruptible
from tixd.collector.form import Form
from tixd.config.collector_settings import CollectorSettings

#: The only content type that a body may have.
FORM = "application/x-www-form-urlencoded"

#: Bytes of a query that are decoded between two pauses: under 1 ms of work.
QUERY_STEP_BYTES = 256 * 1024

#: How much of a content type or an encoding is repeated to its sender, characters.
_SHOWN_CHARACTERS = 100

#: How much is inflated between two pauses, bytes.
PIECE_BYTES = 256 * 1024

#: How much is given to zlib at once, bytes: what is left of it at a member's end is copied.
SLICE_BYTES = 16 * 1024

#: The window size that tells zlib to look for gzip's header.
_GZIP = 31

#: The window size that tells zlib to look for its own header.
_ZLIB = 15

#: The window size that tells zlib to look for no header.
_BARE = -15

#: What Content-Encoding may name, and the windows to try in turn.
_WINDOWS = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (_ZLIB, _BARE)}


class RequestReader:
    """Reads requests within these settings."""

    def __init__(self, settings: CollectorSettings, scheduler: StepScheduler) -> None:
        self._settings = settings
        self._scheduler = scheduler

    async def read(
        self, request: web.BaseRequest, reservation: Reservation, deadline: float
    ) -> dict[str, bytes]:
        """Return the parameters of query and body, the body's where both have one.

        `deadline`: of the loop's clock.
        """
        reservation.add(HEAD_COPIES * _head_bytes(request))
        async with interruptible(reservation, deadline):
            query = request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")
            asked, posted = Form(), Form()
            if request.method == "POST" and request.can_read_body:
                await self._read_body(request, posted, reservation)
            reservation.is_whole = True
            if query:
                await self._scheduler.run(decoding(query, asked), reservation)
            return {**asked.values(), **posted.values()}

    async def _read_body(
        self, request: web.BaseRequest, form: Form, reservation: Reservation
    ) -> None:
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        self._check_head(request, encoding)
        try:
            await _tell_to_continue(request)
            if encoding not in _WINDOWS:
                await self._decode(request, form, reservation)
                return
            body = await self._receive(request, reservation)
        except ConnectionError:
            raise ClientGone from None
        except (web.RequestPayloadError, HttpProcessingError):
            raise errors.BadRequest("body is not as its head says") from None
        reservation.is_whole = True
        await self._scheduler.run(self._inflating(body, encoding, form), reservation)
        reservation.add(-len(body))

    def _check_head(self, request: web.BaseRequest, encoding: str) -> None:
        """Reject a body by the request's head."""
        self._check_size(request.content_length or 0)
        media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media != FORM:
            shown = bounded.text(media, _SHOWN_CHARACTERS)
            raise errors.WrongType(f"content type {shown!r} is not {FORM}")
        check_encoding(encoding)

    def _check_size(self, size: int) -> None:
        limit = self._settings.max_body_bytes
        if size > limit:
            raise errors.OverLimit(f"body of more than {limit} bytes (maxBody)")

    async def _decode(self, request: web.BaseRequest, form: Form, reservation: Reservation) -> None:
        """Decode a body as it arrives."""
        before, size = reservation.bytes, 0
        while piece := await request.content.readany():
            size += len(piece)
            self._check_size(size)
            reservation.add(len(piece))
            form.feed(piece)
            reservation.resize(before + form.memory_bytes)

    async def _receive(self, request: web.BaseRequest, reservation: Reservation) -> bytearray:
        """Return a body as it was sent."""
        body = bytearray()
        while piece := await request.content.readany():
            self._check_size(len(body) + len(piece))
            reservation.add(len(piece))
            body += piece
        return body

    def _inflating(self, body: bytearray, encoding: str, form: Form) -> Steps[None]:
        settings = self._settings
        for piece in inflate(body, encoding, settings.max_inflated_bytes, settings.max_members):
            form.feed(piece)
            yield form.memory_bytes


def _head_bytes(request: web.BaseRequest) -> int:
    fields = sum(len(name) + len(field) for name, field in request.raw_headers)
    return len(request.raw_path) + fields


def decoding(query: bytes, form: Form) -> Steps[None]:
    """Decode a query into the form, in steps."""
    for start in range(0, len(query), QUERY_STEP_BYTES):
        form.feed(query[start : start + QUERY_STEP_BYTES])
        yield form.memory_bytes


async def _tell_to_continue(request: web.BaseRequest) -> None:
    """Answer `Expect: 100-continue`, which curl sends before a large body."""
    expected = request.headers.get("Expect", "").lower() == "100-continue"
    if expected and request.version >= HttpVersion11 and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


# --- compressed bodies ---------------------------------------------------------------------------


def check_encoding(encoding: str) -> None:
    """Raise WrongType where Content-Encoding names something else than gzip and deflate."""
    if encoding not in ("", "identity", *_WINDOWS):
        name = bounded.text(encoding, _SHOWN_CHARACTERS)
        raise errors.WrongType(f"content encoding {name!r} is neither gzip nor deflate")


def inflate(
    body: bytes | bytearray, encoding: str, max_bytes: int, max_members: int
) -> Iterator[bytes]:
    """Yield the content of the body, piece by piece.

    Raises BadRequest where it is damaged or cut off, OverLimit where it has over `max_bytes`, or
    over `max_members` streams.
    """
    size = 0
    for piece in _inflate_members(body, _window(body, encoding), max_members):
        size += len(piece)
        if size > max_bytes:
            raise errors.OverLimit(
                f"body of more than {max_bytes} bytes when inflated (maxInflated)"
            )
        yield piece


def _window(body: bytes | bytearray, encoding: str) -> int:
    """Return the window that the beginning of the body asks for."""
    for window in _WINDOWS[encoding][:-1]:
        try:
            zlib.decompressobj(window).decompress(body[:64], 1)
        except zlib.error:
            continue
        return window
    return _WINDOWS[encoding][-1]


def _inflate_members(body: bytes | bytearray, window: int, max_members: int) -> Iterator[bytes]:
    source = _Source(body)
    members = 0
    try:
        while source.has_more():
            members += 1
            if members > max_members:
                raise errors.OverLimit(f"gzip of more than {max_members} members (maxMembers)")
            yield from _inflate_member(source, zlib.decompressobj(window))
    except zlib.error:
        name = "gzip" if window == _GZIP else "deflate"
        raise errors.BadRequest(f"the body is not {name}, or it is damaged") from None


def _inflate_member(source: _Source, stream: zlib._Decompress) -> Iterator[bytes]:
    """Yield the content of one stream; leave the source behind its end."""
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
        self._body = memoryview(body)
        self._at = 0
        self._rest = b""

    def has_more(self) -> bool:
        return bool(self._rest) or self._at < len(self._body)

    def take(self) -> bytes | memoryview:
        """Return what was put back, else the next slice, which is empty at the end."""
        if self._rest:
            rest = self._rest
            self._rest = b""
            return rest
        self._at += SLICE_BYTES
        return self._body[self._at - SLICE_BYTES : self._at]

    def put_back(self, rest: bytes) -> None:
        """Put back what zlib has not read."""
        self._rest = rest
