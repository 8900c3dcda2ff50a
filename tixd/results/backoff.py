"""How long the kept results of an installation wait, and when one of them is rejected.

Rules: pauses double from 1 minute to 1 hour, with full jitter (a random time up to the pause, so
that installations do not retry together); a refusal counts only if another installation's post was
accepted since the last one, because otherwise the tix-api itself may have failed. A 5xx for a
result counts as a refusal of it; after no answer fresh results of the installation wait too, for at
least half the pause, because each try takes a whole read time-out. Pure.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from tixd.runtime.retry import Retry

#: Pause after the first failure.
FIRST_PAUSE_SECONDS = 60.0

#: Longest pause.
MAX_PAUSE_SECONDS = 3600.0

#: After this many counted refusals a kept result is rejected.
REFUSALS_TO_REJECT = 3

#: Lowest HTTP status that means a failure of the tix-api.
FIRST_ERROR = 500

#: At most this many results with refusals are remembered, those with the most refusals.
MAX_REFUSALS = 32

#: Longest reason that is remembered, characters.
MAX_REASON_CHARACTERS = 200

#: Pauses of an installation.
RETRY = Retry(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class Refusal:
    """How often a kept result was refused, when last (epoch seconds), with which status."""

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
        """Return whether kept results still wait; too long a pause means that a clock was set."""
        return 0.0 < self.not_before - now <= MAX_PAUSE_SECONDS

    def holds_fresh(self, now: float) -> bool:
        """Return whether fresh results wait as well."""
        return self.unanswered and self.paused(now)

    def failed(self, now: float, retry_after: float | None, jitter: random.Random) -> Backoff:
        """Pause after a post that must come later; a failure within a pause does not extend it.

        retry_after: seconds that the tix-api asked for, already limited; they always apply.
        """
        asked = now + (retry_after or 0.0)
        if self.paused(now):
            return replace(self, not_before=max(self.not_before, asked))
        failures = self.failures + 1
        drawn = now + RETRY.draw_seconds(failures, jitter, 0.0)
        return replace(self, failures=failures, not_before=max(drawn, asked), unanswered=False)

    def got_no_answer(self, now: float, jitter: random.Random) -> Backoff:
        """Pause after a post without an answer; fresh results wait as well."""
        failures = self.failures + 1
        until = now + RETRY.draw_seconds(failures, jitter)
        return replace(self, failures=failures, not_before=until, unanswered=True)

    def answered(self) -> Backoff:
        """End a pause that began because there was no answer."""
        if not self.unanswered:
            return self
        return replace(self, failures=0, not_before=0.0, unanswered=False)

    def left_unfinished(self, *, unfinished: bool) -> Backoff:
        """Note whether the job leaves work for another one."""
        return self if unfinished == self.unfinished else replace(self, unfinished=unfinished)

    def because(self, reason: str) -> Backoff:
        """Note the reason why results are kept."""
        return replace(self, reason=reason[:MAX_REASON_CHARACTERS])

    def accepted(self, name: str) -> Backoff:
        """End the pause: the kept result `name` was accepted and removed."""
        return replace(self.removed(name), failures=0, not_before=0.0, unanswered=False)

    def removed(self, name: str) -> Backoff:
        """Forget the kept result `name`, which was removed; without refusals there is no reason."""
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
        """Replace the refusal of this name; of too many, those with the highest counts stay."""
        refusals = (*self.without(refusal.name).refusals, refusal)
        furthest = sorted(refusals, key=lambda one: -one.count)[:MAX_REFUSALS]
        return replace(self, refusals=tuple(r for r in refusals if r in furthest))

    def must_reject(self, name: str) -> bool:
        """Return whether `name` was refused often enough to be rejected."""
        refusal = self._refusal(name)
        return refusal is not None and refusal.count >= REFUSALS_TO_REJECT

    def in_turn(self, names: list[str]) -> list[str]:
        """Return the names in the order of their tries: those never refused first.

        Where the job continues an unfinished one, results that got a 5xx are not tried again.
        """
        refused = {r.name: r.status for r in self.refusals}
        tried = {n for n, status in refused.items() if self.unfinished and status >= FIRST_ERROR}
        left = [name for name in names if name not in tried]
        return sorted(left, key=lambda name: name in refused)

    def without(self, name: str) -> Backoff:
        """Forget the refusals of `name`."""
        if self._refusal(name) is None:
            return self
        return replace(self, refusals=tuple(r for r in self.refusals if r.name != name))

    def only(self, names: list[str]) -> Backoff:
        """Forget all refusals except those of `names`, so that the list stays short."""
        if not self.refusals:
            return self
        known = set(names)
        return replace(self, refusals=tuple(r for r in self.refusals if r.name in known))

    def _refusal(self, name: str) -> Refusal | None:
        return next((r for r in self.refusals if r.name == name), None)
