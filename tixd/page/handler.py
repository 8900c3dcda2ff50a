"""Answer requests for pages: who may look, and one at a time in a thread.

Rules: the loop only checks the access and writes; all else, the import of the templates too, is
done in a thread that lives for one request, so that nobody looking costs nothing; a thread that a
volume holds holds no other request for long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from aiohttp import web

from tixd import bounded, logs
from tixd.config.fields import Secret
from tixd.page.access import PROXY_HEADERS, Caller, refusal
from tixd.page.views import Answer, Asked
from tixd.runtime import tasks
from tixd.runtime.http_server import Handler, plain_text
from tixd.runtime.status import Snapshot

#: Requests that wait for their turn; a further one is told to come again.
MAX_WAITING = 8

#: How long a request may take with all waiting, seconds.
ANSWER_SECONDS = 8.0

#: Longest rest after a request, seconds.
MAX_REST_SECONDS = 0.5

#: When to come again, seconds.
RETRY_SECONDS = 5

#: Longest target of a request, characters.
MAX_TARGET = 2048

#: What a page may load: only from here; nothing is inline.
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

#: Headers of every answer: nothing of it is guessed, shown in another site or told to one.
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Busy(Exception):
    """Too many requests wait, or the one in progress takes too long."""


class PageHandler:
    """The pages of a role."""

    def __init__(
        self, snapshot: Callable[[], Snapshot], token: Callable[[], Secret], setting: str
    ) -> None:
        """Load nothing. snapshot: of the role; token: asked for; setting: what has the token."""
        self._snapshot = snapshot
        self._token = token
        self._setting = setting
        self._turn = asyncio.Semaphore()
        self._waiting = 0
        self._limiter = logs.RateLimiter()

    def guarded(self, handler: Handler) -> Handler:
        """Wrap a handler in the page's access check."""

        async def answer(request: web.BaseRequest) -> web.Response:
            return self._refused(request) or await handler(request)

        return answer

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer a request for whatever may be a page."""
        if refused := self._refused(request):
            return refused
        url = request.rel_url
        if len(url.raw_path) + len(url.raw_query_string) > MAX_TARGET:
            return _plain("there is no page at so long an address", 404)
        known = request.headers.get("If-None-Match", "")
        asked = Asked(url.raw_path, url.raw_query_string, known, self._snapshot())
        try:
            found = await self._in_turn(asked)
        except _Busy:
            words = "the page is busy, or the volume of the history hangs; come again in a moment"
            return _plain(words, 503, Retry_After=str(RETRY_SECONDS))
        except ImportError as error:
            words = f"the pages cannot be loaded: {bounded.error(error)}"
            words += "; if tixd was replaced on disk since it started, restart it"
            return _plain(words, 503)
        except Exception as error:  # noqa: BLE001 - answered, and logged
            now = time.monotonic()
            self._limiter.log(logs.failure, "page_failed", now=now, problem=error)
            return _plain(f"{bounded.error(error)}: unexpected, see the log", 500)
        headers = {**HEADERS, **found.headers, "Content-Type": found.content_type}
        return web.Response(body=found.body, status=found.status, headers=headers)

    def _refused(self, request: web.BaseRequest) -> web.Response | None:
        transport = request.transport
        name = transport.get_extra_info("sockname") if transport else None
        caller = Caller(
            local=str(name[0]) if isinstance(name, tuple) else "",
            host=request.headers.get("Host", ""),
            authorization=request.headers.get("Authorization", ""),
            is_proxied=any(name in request.headers for name in PROXY_HEADERS),
        )
        why = refusal(caller, self._token(), self._setting)
        if why is None:
            return None
        challenge = {"WWW-Authenticate": why.challenge} if why.challenge else {}
        response = _plain(why.words, why.status)
        response.headers.update(challenge)
        return response

    async def _in_turn(self, asked: Asked) -> Answer:
        if self._waiting >= MAX_WAITING:
            raise _Busy
        self._waiting += 1
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._turn.acquire()
                return await asyncio.shield(self._begin(asked))
        except TimeoutError:
            raise _Busy from None
        finally:
            self._waiting -= 1

    def _begin(self, asked: Asked) -> asyncio.Future[Answer]:
        """Start the thread; the next request has its turn a while after it has ended."""
        begun = time.monotonic()
        try:
            done = tasks.in_thread(partial(_answer, asked), "page")
        except BaseException:  # no thread could be started, so none will end
            self._turn.release()
            raise
        done.add_done_callback(partial(self._ended, begun))
        return done

    def _ended(self, begun: float, done: asyncio.Future[Answer]) -> None:
        """Rest as long as it took, MAX_REST_SECONDS at most."""
        rest_seconds = min(time.monotonic() - begun, MAX_REST_SECONDS)
        asyncio.get_running_loop().call_later(rest_seconds, self._turn.release)
        done.exception()  # nobody may wait for it any more


def _answer(asked: Asked) -> Answer:
    from tixd.page.render import answer  # noqa: PLC0415 - only where somebody looks

    return answer(asked)


def _plain(words: str, status: int, **headers: str) -> web.Response:
    """Return an answer in words; `headers` have _ for -."""
    response = plain_text(words + "\n", status, **headers)
    response.headers.update(HEADERS)
    return response
