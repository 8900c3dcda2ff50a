"""A request to the tix-api, its outcome, and the meaning of an HTTP status.

Rules: only 2xx is acceptance; 408, 429, 5xx and every error below HTTP mean later; 401 and 403
concern the credentials; other 4xx, and 3xx because redirects are not followed, are refusals. Pure.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Literal, TypeVar

import orjson

from tixd import bounded

#: Longest wait that a Retry-After may ask for: the longest pause of backoff.py.
MAX_RETRY_AFTER_SECONDS = 3600.0

#: accepted: the tix-api has it. later: try again after a pause. refused: it does not want this one.
#: unauthorised: it does not want these credentials. skipped: nothing was posted.
Outcome = Literal["accepted", "later", "refused", "unauthorised", "skipped"]

#: Why no response came. Before the request was sent: proxy, name (unknown), connect, connect_time,
#: tls, setup and setup_time (TLS or the way through a proxy broke, or took too long). After it:
#: silent, late (the total deadline), cut; idle: cut, on a connection kept from an earlier post.
Cause = Literal[
    "proxy",
    "name",
    "connect",
    "connect_time",
    "tls",
    "setup",
    "setup_time",
    "silent",
    "late",
    "cut",
    "idle",
]

#: The request was sent, so it may be what the tix-api crashed on.
_AFTER_SENDING = frozenset[Cause | None](("silent", "late", "cut"))

#: Longest excerpt of a body that is shown to people, characters.
_MAX_WORDS_CHARACTERS = 1000


_Returned = TypeVar("_Returned")


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the tix-api: a POST, or without a body a GET.

    seconds: a deadline for it all, where it is shorter than that of the settings.
    """

    path: str
    body: bytes | None
    headers: Mapping[str, str] = field(repr=False)
    seconds: float = float("inf")


@dataclass(frozen=True, slots=True)
class PostOutcome:
    """The outcome of a post.

    status: of the response, None without one; reason: for the log, never a secret;
    retry_after_seconds: what the tix-api asked for, 0..3600; cause: why there was no response;
    body: the beginning of the response's; after_silence: the installation's post before this one
    got no answer either.
    """

    outcome: Outcome
    reason: str
    status: int | None = None
    retry_after_seconds: float | None = None
    cause: Cause | None = None
    body: bytes = field(default=b"", repr=False)
    after_silence: bool = False

    @property
    def unreachable(self) -> bool:
        """Whether the request could not be sent, so no other one could be, either."""
        return self.cause not in (None, "idle") and not self.unanswered

    @property
    def unanswered(self) -> bool:
        """Whether the request was sent and got no answer, maybe because of its content."""
        return self.cause in _AFTER_SENDING

    @property
    def newly_unanswered(self) -> bool:
        """Whether it is the first unanswered post of its installation in a row."""
        return self.unanswered and not self.after_silence

    @property
    def is_error(self) -> bool:
        """Whether the tix-api failed on it (5xx) without asking for a pause."""
        failed = self.status is not None and self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return failed and self.retry_after_seconds is None

    @property
    def words(self) -> str:
        """Return what the tix-api wrote, on one line of printable characters."""
        text = self.body[: 4 * _MAX_WORDS_CHARACTERS].decode(errors="replace")
        shown = bounded.printable(text, " ")
        return " ".join(shown.split())[:_MAX_WORDS_CHARACTERS]

    def says(self, name: str) -> object:
        """Return a member of an accepted answer's JSON object; None where there is none."""
        if self.outcome != "accepted":
            return None
        try:
            content = orjson.loads(self.body)
        except ValueError:
            return None
        return content.get(name) if isinstance(content, dict) else None


#: Steps of a caller that yield each request and are resumed with its outcome, so that others can
#: take steps while it waits.
Posting = Generator[Request, PostOutcome, _Returned]


def skipped(reason: str) -> PostOutcome:
    """Return the outcome of a post that was not tried."""
    return PostOutcome("skipped", reason)


def of_status(status: int, retry_after: str | None, now: float, body: bytes = b"") -> PostOutcome:
    """Return what a response means; `now` (epoch seconds) turns dates into seconds."""
    return PostOutcome(
        outcome=_outcome(status),
        reason=_phrase(status),
        status=status,
        retry_after_seconds=_seconds(retry_after, now),
        body=body,
    )


def _outcome(status: int) -> Outcome:
    if 200 <= status < 300:
        return "accepted"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "unauthorised"
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS):
        return "later"
    return "refused" if 300 <= status < 500 else "later"


def _phrase(status: int) -> str:
    """Return the status with its standard phrase: that of the response may be anything."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


#: Beginning of a reason why a result is kept -> where to look.
_HINTS = {
    "HTTP 3": "redirects are not followed: correct TIX_API_HOST, TIX_API_PORT, TIX_API_SSL",
    "HTTP 401": "TIX_API_USER, TIX_API_PASSWORD",
    "HTTP 403": "TIX_API_USER must be an admin",
    "HTTP 404": "no such installation there, or TIX_API_HOST is another server",
    "the tix-api is unreachable": "TIX_API_HOST, TIX_API_PORT; see tixd status",
    "the tix-api refuses the credentials": "TIX_API_USER, TIX_API_PASSWORD",
    "the tix-api refuses this user": "TIX_API_USER, TIX_API_PASSWORD; see tixd status",
}


def with_hint(reason: str) -> str:
    """Return the reason why a result is kept, with the setting to look at where there is one.

    >>> with_hint("HTTP 401 Unauthorized")
    'HTTP 401 Unauthorized (TIX_API_USER, TIX_API_PASSWORD)'
    """
    hint = next((hint for begin, hint in _HINTS.items() if reason.startswith(begin)), "")
    return f"{reason} ({hint})" if hint else reason


def _seconds(retry_after: str | None, now: float) -> float | None:
    """Return the seconds from now in a Retry-After (number or date, RFC 9110); None: nothing."""
    if not retry_after:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
