"""What became of one post, and how the status of an HTTP response reads; pure.

In: a status, a Retry-After header, a reason. Out: an Answer. Rules: only 2xx is acceptance;
408, 429, 5xx and everything below HTTP mean later; 401 and 403 speak about the credentials; other
4xx, and 3xx because redirects are not followed, are refusals.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Literal

#: Longest wait that a Retry-After may ask for, the longest pause there is (operations.md 5.4).
LONGEST_RETRY_AFTER_SECONDS = 3600.0

#: accepted: the tix-api has it. later: try again after a pause. refused: it does not want this one.
#: unauthorised: it does not want these credentials. held: it was not asked.
Outcome = Literal["accepted", "later", "refused", "unauthorised", "held"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one post.

    status: of the response, None without one; reason: for the log, never a secret;
    retry_after_seconds: what the tix-api asked for, 0..3600; unreachable: nothing came back from
    it, and that was not the fault of a connection kept from an earlier post.
    """

    outcome: Outcome
    reason: str
    status: int | None = None
    retry_after_seconds: float | None = None
    unreachable: bool = False


def held(reason: str) -> Answer:
    """The Answer for a post that was not tried."""
    return Answer("held", reason)


def of_status(status: int, retry_after: str | None, now: float) -> Answer:
    """The Answer that a response means; `now` (epoch seconds) turns dates into seconds."""
    return Answer(
        outcome=_outcome(status),
        reason=_phrase(status),
        status=status,
        retry_after_seconds=_seconds(retry_after, now),
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
    """The status in words of ours: what the other side wrote beside it may be anything."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _seconds(retry_after: str | None, now: float) -> float | None:
    """Seconds from now that Retry-After (a number or a date, RFC 9110) asks for; None: nothing."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)
