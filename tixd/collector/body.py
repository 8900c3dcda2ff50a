"""The body of a request, read within its limits.

In: aiohttp's request, when its time is up, what it may hold. Out: the form as bytes, or BadRequest,
TooSlow, OverLimit, WrongType, NotAccepted, Left. Rules: what can be refused by its head is refused
before anything of it is read; whoever asks for it is told to go on only then; a body counts as
held as it arrives; a large one is inflated piece by piece, and others have their turn between.
"""

from __future__ import annotations

import asyncio
import time

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from tixd import errors
from tixd.collector import inflate
from tixd.collector.hand import Share
from tixd.collector.settings import CollectorSettings

#: The only content type that a form may have here.
FORM = "application/x-www-form-urlencoded"


class Left(Exception):
    """The sender has gone, nobody is there to be answered."""


async def read(
    request: web.BaseRequest, settings: CollectorSettings, share: Share, since: float
) -> bytes:
    """The form in the body, b"" where there is none; `since`: monotonic, when the request began."""
    if request.method != "POST" or not request.can_read_body:
        return b""
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    _check_head(request, encoding, settings)
    seconds = since + settings.timeout_seconds - time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            await _tell_to_go_on(request)
            body = await _received(request, settings.max_body_bytes, share)
    except TimeoutError:
        raise errors.TooSlow(f"not whole within {settings.timeout_seconds:g} s") from None
    except ConnectionError:
        raise Left from None
    except (web.RequestPayloadError, HttpProcessingError):
        raise errors.BadRequest("body is not as its head says") from None
    if not inflate.is_compressed(encoding):
        return body
    return await _inflated(body, encoding, settings.max_inflated_bytes, share)


def _check_head(request: web.BaseRequest, encoding: str, settings: CollectorSettings) -> None:
    """Raises what a request's head says of its body."""
    if (request.content_length or 0) > settings.max_body_bytes:
        raise errors.OverLimit(f"body of more than {settings.max_body_bytes} bytes")
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media != FORM:
        raise errors.WrongType(f"content type {media!r} is not {FORM}")
    inflate.check_encoding(encoding)


async def _tell_to_go_on(request: web.BaseRequest) -> None:
    """Answer `Expect: 100-continue`, which curl sends before a large body."""
    expected = request.headers.get("Expect", "").lower() == "100-continue"
    if expected and request.version >= HttpVersion11 and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _received(request: web.BaseRequest, most_bytes: int, share: Share) -> bytes:
    pieces, size = [], 0
    while piece := await request.content.readany():
        size += len(piece)
        if size > most_bytes:
            raise errors.OverLimit(f"body of more than {most_bytes} bytes")
        share.take(len(piece))
        pieces.append(piece)
    return b"".join(pieces)


async def _inflated(body: bytes, encoding: str, most_bytes: int, share: Share) -> bytes:
    """Measure first, then keep: a bomb is found out without being held."""
    size = 0
    for piece in inflate.pieces(body, encoding, most_bytes):
        size += len(piece)
        await asyncio.sleep(0)
    share.take(size)
    content = bytearray()
    for piece in inflate.pieces(body, encoding, most_bytes):
        content += piece
        await asyncio.sleep(0)
    return bytes(content)
