"""The parameters of a request, read within its limits.

In: aiohttp's request, when its time is up, what it may hold. Out: the parameters of its query and
its body, or BadRequest, TooSlow, OverLimit, WrongType, NotAccepted, Left. Rules: what can be
refused by its head is refused before anything of it is read; a client that asks is told to go on
only then; what arrives is decoded at once, and only that is held; a compressed body is inflated
once it is whole, piece by piece, straight into the form.
"""

from __future__ import annotations

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from tixd import bounded, errors
from tixd.collector import inflate
from tixd.collector.admission import Left, Share
from tixd.collector.cooperative import Limited, Scheduler
from tixd.collector.form import Form
from tixd.collector.steps import Steps
from tixd.config.collector import CollectorSettings

#: The only content type that a form may have here.
FORM = "application/x-www-form-urlencoded"

#: How much of a content type is repeated to its sender.
_TYPE_CHARACTERS = 100


class Reader:
    """Reads requests within these settings."""

    def __init__(self, settings: CollectorSettings, scheduler: Scheduler) -> None:
        self._settings, self._scheduler = settings, scheduler

    async def parameters(
        self, request: web.BaseRequest, share: Share, deadline: float
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

    async def _read(self, request: web.BaseRequest, form: Form, share: Share) -> None:
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        _check_head(request, encoding, self._settings)
        try:
            await _tell_to_go_on(request)
            if not inflate.is_compressed(encoding):
                await self._decode(request, form, share)
                return
            body = await self._received(request, share)
        except ConnectionError:
            raise Left from None
        except (web.RequestPayloadError, HttpProcessingError):
            raise errors.BadRequest("body is not as its head says") from None
        share.is_whole = True
        await self._scheduler.run(self._inflating(body, encoding, form), share)
        share.take(-len(body))

    async def _decode(self, request: web.BaseRequest, form: Form, share: Share) -> None:
        """Decode a body as it arrives."""
        before, size = share.bytes, 0
        while piece := await request.content.readany():
            size = self._checked(size + len(piece))
            share.take(len(piece))
            form.feed(piece)
            share.hold(before + form.held_bytes)

    async def _received(self, request: web.BaseRequest, share: Share) -> bytearray:
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
        for piece in inflate.pieces(body, encoding, most_bytes, most_members):
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
    inflate.check_encoding(encoding)


async def _tell_to_go_on(request: web.BaseRequest) -> None:
    """Answer `Expect: 100-continue`, which curl sends before a large body."""
    expected = request.headers.get("Expect", "").lower() == "100-continue"
    if expected and request.version >= HttpVersion11 and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
