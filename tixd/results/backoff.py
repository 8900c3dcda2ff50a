"""How long the stored results of an installation wait, and when one of them is rejected.

Rules: pauses double from 1 minute to 1 hour, with full jitter (a draw between nothing and the
pause, so that installations do not come back together); a refusal counts only if another
installation's post was accepted since the one before, because else the tix-api itself may be at
fault. A 5xx on one result counts as a refusal of that result; no answer pauses fresh results of the
installation too, for at least half the pause, because each try costs a whole read time-out. Pure.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from tixd.runtime.retry import Retry

#: Pause after the first failure (operations.md 5.4).
FIRST_PAUSE_SECONDS = 60.0

#: Longest pause, however many failures (operations.md 5.4).
LONGEST_PAUSE_SECONDS = 3600.0

#: After how many counted refusals a stored result is rejected (operations.md 5.4).
REFUSALS_TO_REJECT = 3

#: From this HTTP status on the other side has failed.
FIRST_ERROR = 500

#: So many results with refusals are remembered, those that came furthest; the journal stays small.
MOST_REFUSALS = 32

#: Longest reason that is remembered, characters.
LONGEST_REASON = 200


#: Pauses of an installation.
RETRY = Retry(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class Refusal:
    """How often a stored result was refused so far, when last (epoch seconds), with what status."""

    name: str
    count: int
    last: float
    status: int = 0


@dataclass(frozen=True, slots=True)
class Backoff:
    """An installation's pause: failures in a row, no post before (epoch seconds), refusals.

    reason: why the last post was not accepted; unanswered: it got no answer at all; unfinished:
    the last job left work for another one in the same cycle.
    """

    failures: int = 0
    not_before: float = 0.0
    refusals: tuple[Refusal, ...] = ()
    reason: str = ""
    unanswered: bool = False
    unfinished: bool = False

    def paused(self, now: float) -> bool:
        """Tell whether stored results still wait; too long a pause means that a clock was set."""
        return 0.0 < self.not_before - now <= LONGEST_PAUSE_SECONDS

    def holds_fresh(self, now: float) -> bool:
        """Tell whether fresh results wait as well."""
        return self.unanswered and self.paused(now)

    def failed(self, now: float, retry_after: float | None, jitter: random.Random) -> Backoff:
        """Pause after a post that must come later; within a pause a failure does not lengthen it.

        retry_after: seconds that the tix-api asked for, already limited; they are kept in any case.
        """
        asked = now + (retry_after or 0.0)
        if self.paused(now):
            return replace(self, not_before=max(self.not_before, asked))
        failures = self.failures + 1
        drawn = now + RETRY.draw_seconds(failures, jitter, 0.0)
        return replace(self, failures=failures, not_before=max(drawn, asked), unanswered=False)

    def got_no_answer(self, now: float, jitter: random.Random) -> Backoff:
        """Pause after a post that was never answered; fresh results keep this pause as well."""
        failures = self.failures + 1
        until = now + RETRY.draw_seconds(failures, jitter)
        return replace(self, failures=failures, not_before=until, unanswered=True)

    def answered(self) -> Backoff:
        """End a pause that began because there was no answer: now there is one."""
        if not self.unanswered:
            return self
        return replace(self, failures=0, not_before=0.0, unanswered=False)

    def because(self, reason: str) -> Backoff:
        """Note the reason why results are kept."""
        return replace(self, reason=reason[:LONGEST_REASON])

    def accepted(self, name: str) -> Backoff:
        """End the pause: the stored result `name` was accepted, and is gone."""
        return replace(self.removed(name), failures=0, not_before=0.0, unanswered=False)

    def removed(self, name: str) -> Backoff:
        """Forget the stored result `name`, which has gone; without refusals there is no reason."""
        left = self.without(name)
        return left if left.refusals else replace(left, reason="")

    def refused(
        self, name: str, now: float, accepted_elsewhere: float | None, status: int = 0
    ) -> Backoff:
        """Count a refusal of `name`.

        accepted_elsewhere: when this worker last had another installation's post accepted (epoch
        seconds); None: never.
        """
        before = self._refusal(name)
        counts = before is None or (
            accepted_elsewhere is not None and accepted_elsewhere > before.last
        )
        count = (before.count if before else 0) + counts
        return self.with_refusal(Refusal(name, count, now, status))

    def with_refusal(self, refusal: Refusal) -> Backoff:
        """Put this refusal in place of the one before; of too many keep the highest counts."""
        refusals = (*self.without(refusal.name).refusals, refusal)
        furthest = sorted(refusals, key=lambda one: -one.count)[:MOST_REFUSALS]
        return replace(self, refusals=tuple(r for r in refusals if r in furthest))

    def must_reject(self, name: str) -> bool:
        """Tell whether `name` was refused often enough to be rejected."""
        refusal = self._refusal(name)
        return refusal is not None and refusal.count >= REFUSALS_TO_REJECT

    def in_turn(self, names: list[str]) -> list[str]:
        """Return the names in the order of their tries: those never refused first.

        Those that met an error have had their try of this cycle where the job is a continuation.
        """
        refused = {r.name: r.status for r in self.refusals}
        had = {n for n, status in refused.items() if self.unfinished and status >= FIRST_ERROR}
        left = [name for name in names if name not in had]
        return sorted(left, key=lambda name: name in refused)

    def without(self, name: str) -> Backoff:
        """Forget the refusals of `name`."""
        if self._refusal(name) is None:
            return self
        return replace(self, refusals=tuple(r for r in self.refusals if r.name != name))

    def only(self, names: list[str]) -> Backoff:
        """Forget all refusals but those of `names`, so that the list stays short."""
        known = set(names)
        return replace(self, refusals=tuple(r for r in self.refusals if r.name in known))

    def _refusal(self, name: str) -> Refusal | None:
        return next((r for r in self.refusals if r.name == name), None)
