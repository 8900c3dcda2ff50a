"""Post the results of one installation: fresh ones as they come, kept ones again, oldest first.

Rules: a fresh result that is not accepted is kept; no kept result is posted before the pause has
passed; a result that gets a 5xx does not hold up the others, as long as the tix-api accepts results
of some installation; no answer, and any other answer but acceptance or refusal, ends the round; a
kept result leaves failed-results only for a 2xx, or to rejected/ after three counted refusals or
errors, or at once if it cannot be read. No file in failed-results stops the fresh ones.

Why a result is kept: user or password not set (client.py); tix-api not reachable, credentials or
this user refused (circuit_breaker.py: hold_reason); the installation got no answer (backoff.py:
holds_fresh); else the answer to this post. `tixd failed list` shows the last reason of each
installation, `tixd status` only one that holds for all: ApiClient.outage, which a worker reports
with each job as unposted_reason.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from tixd import errors, logs
from tixd.asn.origin import Origin
from tixd.reports.model import Installation
from tixd.results.backoff import Backoff
from tixd.results.client import ApiClient
from tixd.results.failed_results import FOLDER_NAME, FailedResults
from tixd.results.payload import WindowResult
from tixd.results.response import Posting, PostOutcome, skipped

#: The names of this many rounds are read, oldest first, so that results that get errors do not hide
#: the others.
ROUNDS_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Reposted:
    """What a round of re-posting did; stopped: why it ended early, None: it did not.

    has_more: results are left for another round, which will get on as this one did.
    """

    backoff: Backoff
    accepted: int = 0
    refused: int = 0
    rejected: int = 0
    stopped: str | None = None
    has_more: bool = False


#: What became of a result: the tix-api has it; it is kept; the tix-api refused it for good.
Fate = Literal["posted", "kept", "rejected"]


#: Whether a result is new, or had been kept before.
Was = Literal["fresh", "kept"]


def _warn(event: str, file: str, reason: str) -> None:
    logs.warning(event, file=file, reason=reason)


@dataclass(frozen=True, slots=True)
class Poster:
    """Posts the results of one installation, and decides how long it waits afterwards.

    clock: epoch seconds; jitter: of the pauses; origin_of: the AS of an address, which is posted
    with it; warn: called with event, file and reason for each file that is skipped; note: called
    with each result, what it was, what became of it, and why; tally: what became of posts, by names
    of counts.
    """

    installation: Installation
    failed_results: FailedResults
    client: ApiClient
    clock: Callable[[], float]
    jitter: random.Random
    origin_of: Callable[[str], Origin | None] = lambda _: None
    warn: Callable[[str, str, str], None] = _warn
    note: Callable[[WindowResult, Was, Fate, PostOutcome], None] = lambda *_: None
    tally: Counter[str] = field(default_factory=Counter)

    def post(self, result: WindowResult, backoff: Backoff) -> Posting[PostOutcome]:
        """Post one result, once: here, and only here, a job waits for the tix-api.

        The AS is looked up at each post, so a kept result gets the AS as of now.
        """
        origin = self.origin_of(result.ip)
        located = replace(result, origin=origin) if origin != result.origin else result
        silent = backoff.unanswered
        return self.client.post(self.installation, located, self.tally, after_silence=silent)

    # --- a fresh result --------------------------------------------------------------------------

    def post_or_keep(
        self, result: WindowResult, backoff: Backoff
    ) -> Posting[tuple[PostOutcome, Backoff]]:
        """Post a fresh result, or keep it where it is not accepted: then it is safe."""
        if backoff.holds_fresh(self.clock()):
            answer = skipped(backoff.reason)
        else:
            answer = yield from self.post(result, backoff)
        if answer.outcome == "accepted":
            self.note(result, "fresh", "posted", answer)
            return answer, backoff.answered()
        name = self.failed_results.add(result)
        self.note(result, "fresh", "kept", answer)
        return answer, self.after_kept(name, answer, backoff)

    def after_kept(self, name: str, answer: PostOutcome, backoff: Backoff) -> Backoff:
        """Return the Backoff after a fresh result, kept as `name`, got this answer."""
        backoff = backoff.because(answer.reason)
        if answer.status is not None:
            backoff = backoff.answered()
        if not answer.is_error:
            return self._pause(answer, backoff)
        backoff = self._count_refusal(name, answer, backoff)
        return self._pause(answer, backoff) if self.client.seems_broken() else backoff

    # --- kept results ----------------------------------------------------------------------------

    def repost(
        self, backoff: Backoff, *, limit: int, may_continue: Callable[[], bool]
    ) -> Posting[Reposted]:
        """Post at most `limit` kept results again, while `may_continue`, asked before each."""
        if backoff.paused(self.clock()):
            return Reposted(backoff, stopped="the pause has not passed")
        if reason := self.client.hold_reason(self.installation):
            return Reposted(backoff, stopped=reason)
        names = self._names(ROUNDS_AHEAD * limit)
        done = Reposted(backoff.only(names))
        if not names:
            return done
        for name in done.backoff.in_turn(names)[:limit]:
            if not may_continue():
                return replace(done, stopped="the job must end")
            done = yield from self._repost_one(name, done)
            if done.stopped:
                return done
        return replace(done, has_more=len(names) > limit and done.accepted + done.rejected > 0)

    def _names(self, limit: int) -> list[str]:
        """Return the names to post; none where an accepted result could not be removed."""
        try:
            names = self.failed_results.oldest(limit)
        except errors.VolumeError as error:
            self.warn("failed_results_unusable", FOLDER_NAME, str(error))
            return []
        if names and not self.failed_results.is_writable():
            self.warn("failed_results_unusable", FOLDER_NAME, "not writable")
            return []
        return names

    def _repost_one(self, name: str, done: Reposted) -> Posting[Reposted]:
        if done.backoff.must_reject(name):  # moving it failed before: it is not posted again
            return self._reject(name, PostOutcome("refused", done.backoff.reason), done)
        try:
            result = self.failed_results.load(name)
        except errors.BadFailedResult as error:
            return self._reject(name, PostOutcome("refused", str(error)), done)
        except errors.VolumeError as error:
            self.warn("kept_result_unreadable", name, str(error))
            return done
        answer = yield from self.post(result, done.backoff)
        after = self._after_repost(name, answer, done)
        self.note(result, "kept", _fate(answer, done, after), answer)
        return after

    def _after_repost(self, name: str, answer: PostOutcome, done: Reposted) -> Reposted:
        if answer.outcome == "accepted":
            self.failed_results.remove(name)
            return replace(done, backoff=done.backoff.accepted(name), accepted=done.accepted + 1)
        done = replace(done, backoff=done.backoff.because(answer.reason))
        if answer.outcome == "refused" or answer.is_error:
            done = self._refused(name, answer, done)
            if not (answer.is_error and self.client.seems_broken()):
                return done
        return replace(done, backoff=self._pause(answer, done.backoff), stopped=answer.reason)

    def _refused(self, name: str, answer: PostOutcome, done: Reposted) -> Reposted:
        """Count a refusal, or an error (5xx), of this result; reject it the third time."""
        backoff = self._count_refusal(name, answer, done.backoff.answered())
        refused = done.refused + (answer.outcome == "refused")
        done = replace(done, backoff=backoff, refused=refused)
        return self._reject(name, answer, done) if backoff.must_reject(name) else done

    def _reject(self, name: str, answer: PostOutcome, done: Reposted) -> Reposted:
        """Reject `name`; where that fails it stays, and the next one is tried."""
        try:
            self.failed_results.reject(name, answer.reason, answer.words)
        except errors.VolumeError as error:
            self.warn("failed_result_not_rejected", name, str(error))
            return done
        folder, reason = self.installation.path, answer.reason
        logs.warning("failed_result_rejected", folder=folder, name=name, reason=reason)
        return replace(done, backoff=done.backoff.removed(name), rejected=done.rejected + 1)

    # --- the pauses ------------------------------------------------------------------------------

    def _count_refusal(self, name: str, answer: PostOutcome, backoff: Backoff) -> Backoff:
        elsewhere = self.client.accepted_elsewhere(self.installation)
        return backoff.refused(name, self.clock(), elsewhere, answer.status or 0)

    def _pause(self, answer: PostOutcome, backoff: Backoff) -> Backoff:
        """Return the Backoff after a round's last post; only `later` makes kept results wait."""
        if answer.outcome != "later":
            return backoff
        if answer.unanswered:
            return backoff.got_no_answer(self.clock(), self.jitter)
        return backoff.failed(self.clock(), answer.retry_after_seconds, self.jitter)


def _fate(answer: PostOutcome, before: Reposted, after: Reposted) -> Fate:
    """Return what became of a kept result by this answer."""
    if answer.outcome == "accepted":
        return "posted"
    return "rejected" if after.rejected > before.rejected else "kept"
