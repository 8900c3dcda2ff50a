"""An answer over HTTP, and its way to whoever asked.

In: a status, a body, headers. Out: bytes on the connection. Rules: what was not read to its end
closes its connection; whoever does not read the answer in time is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

#: How long an answer may take to be written.
ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a body and headers."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def text(words: str, status: int = 200, **headers: str) -> Answer:
    """An answer in plain text."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, words.encode(), {"Content-Type": "text/plain; charset=utf-8", **named})


#: Answers a request.
Handler = Callable[[web.BaseRequest], Awaitable[Answer]]


async def other(request: web.BaseRequest, paths: Mapping[str, Handler]) -> Answer:
    """The answer to a request that only looks."""
    say = paths.get(request.path)
    if say is None:
        return text("not found\n", 404)
    if request.method not in ("GET", "HEAD"):
        return text("only GET and HEAD\n", 405, Allow="GET, HEAD")
    return await say(request)


async def written(request: web.BaseRequest, said: Answer) -> web.StreamResponse:
    """Write the answer now, because a sender that does not read it is not waited for."""
    response = web.Response(status=said.status, body=said.body, headers=said.headers)
    response.headers.update({"Server": "tixd", "Cache-Control": "no-store"})
    if not request.content.at_eof():
        response.force_close()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await response.prepare(request)
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        if request.transport:
            request.transport.abort()
    return response
