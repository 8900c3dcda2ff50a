"""What each bundle ended in: a warning where it was not taken, and how many in a row were not.

Rules: a warning for a sender comes once an hour, and for all senders at most MAX_WARNED times an
hour, because senders choose their names; a ping is no bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tixd import logs
from tixd.history.senders import SenderLog
from tixd.runtime.status import BundlesView

#: Warnings an hour about bundles that were not taken, of all senders together.
MAX_WARNED = 100

#: Answers after which the sender must correct its bundle.
REFUSED = (400, 413, 415)

#: Answers after which the sender repeats its bundle.
REPEATED = (408, 503)

#: Status of a request whose sender disconnected before the answer.
CLIENT_GONE = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one servlet request ended.

    sender: the name that it gives itself, or ""; code: status of the answer, or CLIENT_GONE;
    reason: why it is not 200; records: records and handshakes by type.
    """

    sender: str
    address: str
    code: int
    reason: str = ""
    records: Mapping[str, int] = field(default_factory=dict)
    is_ping: bool = False


class Outcomes:
    """What became of the bundles so far; senders: counts them for the history, if there is one."""

    def __init__(self, senders: SenderLog | None = None) -> None:
        self._senders = senders
        self._limiter = logs.RateLimiter()
        self._accepted_at: float | None = None
        self._since = 0.0
        self._last = Outcome("", "", 0)
        self._in_a_row = 0

    def add(self, outcome: Outcome, *, now: float) -> None:
        """Note how a request has ended; `now`: epoch seconds."""
        if self._senders:
            self._senders.add(
                outcome.sender,
                outcome.address,
                outcome.code,
                outcome.reason,
                outcome.records,
                is_ping=outcome.is_ping,
                now=now,
            )
        if outcome.is_ping or outcome.code == CLIENT_GONE:
            return
        if outcome.code == 200:
            self._accepted_at = now
            self._in_a_row = 0
            return
        self._warn(outcome, now)
        if outcome.code == 400 and not outcome.sender:
            return  # it was no bundle
        if not self._in_a_row:
            self._since = now
            self._last = outcome
        self._in_a_row += 1
        if outcome.code >= 500 or self._last.code < 500:  # the fault is here, not at the sender
            self._last = outcome

    def view(self) -> BundlesView:
        """Return when the last bundle was taken, and what became of those since."""
        if not self._in_a_row:
            return BundlesView(self._accepted_at)
        code, reason = self._last.code, self._last.reason
        return BundlesView(self._accepted_at, self._in_a_row, self._since, code, reason)

    def _warn(self, outcome: Outcome, now: float) -> None:
        if outcome.code not in REFUSED + REPEATED:
            return
        event = "bundle_refused" if outcome.code in REFUSED else "bundle_not_taken"
        self._limiter.log_each(
            logs.warning,
            event,
            "",
            outcome.sender or outcome.address,
            now=now,
            most=MAX_WARNED,
            sender=outcome.sender,
            address=outcome.address,
            code=outcome.code,
            reason=outcome.reason,
        )
