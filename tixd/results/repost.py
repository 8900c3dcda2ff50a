"""Post the stored results of one installation again, oldest first.

In: its outbox, its Backoff from the journal, the worker's client. Out: the new Backoff and counts.
Rules: nothing before the pause has passed; one result that the tix-api fails over holds up no
other, as long as it takes somebody's; no answer, and any other answer but acceptance or refusal,
ends the round; a result leaves failed-results only for a 2xx, or to rejected/ after three counted
refusals or errors, or there at once because it cannot be read. No file stops the main path.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from tixd import errors, logs
from tixd.asn.origin import Origin
from tixd.reports.model import Installation
from tixd.results.backoff import Backoff
from tixd.results.failed_results import FOLDER_NAME, FailedResults
from tixd.results.payload import WindowResult
from tixd.results.response import PostOutcome

#: Of so many times the results of one round the oldest are looked at, so that those which meet
#: errors do not hide the others.
ROUNDS_AHEAD = 2


class Client(Protocol):
    """What is needed of client.ApiClient, and of its twin in the tests."""

    def reason_to_wait(self, installation: Installation) -> str:
        """Why a post would be held; empty: it would be tried."""
        ...

    def post(
        self, installation: Installation, result: WindowResult, *, known_silent: bool = False
    ) -> PostOutcome:
        """Post one result; known_silent: the one before got no answer."""
        ...

    def seems_broken(self) -> bool:
        """Whether an error is the tix-api's own."""
        ...

    def accepted_elsewhere(self, installation: Installation) -> float | None:
        """Epoch second of the last accepted post of another installation."""
        ...


@dataclass(frozen=True, slots=True)
class Reposted:
    """What a round of re-posting did; `stopped` says why it ended early, empty: it did not."""

    backoff: Backoff
    accepted: int = 0
    refused: int = 0
    parked: int = 0
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class _Round:
    """Everything that stays the same while one installation's results are posted again."""

    installation: Installation
    outbox: FailedResults
    client: Client
    clock: Callable[[], float]
    jitter: random.Random
    origin_of: Callable[[str], Origin | None]
    warn: Callable[[str, str, str], None]


def _warn(event: str, file: str, reason: str) -> None:
    logs.warning(event, file=file, reason=reason)


def repost(
    installation: Installation,
    outbox: FailedResults,
    client: Client,
    backoff: Backoff,
    *,
    limit: int,
    clock: Callable[[], float],
    jitter: random.Random,
    go_on: Callable[[], bool],
    origin_of: Callable[[str], Origin | None] = lambda _: None,
    warn: Callable[[str, str, str], None] = _warn,
) -> Reposted:
    """Post at most `limit` stored results again.

    clock: epoch seconds; go_on: asked before each result, False ends the round (a stop, a limit).
    origin_of: the AS of an address, as posted with it; warn: told event, file and reason of what
    is left alone.
    """
    if backoff.paused(clock()):
        return Reposted(backoff, stopped="the pause has not passed")
    if reason := client.reason_to_wait(installation):
        return Reposted(backoff, stopped=reason)
    this = _Round(installation, outbox, client, clock, jitter, origin_of, warn)
    names = _names(this, ROUNDS_AHEAD * limit)
    backoff = backoff.only(names)
    done = Reposted(backoff)
    for name in backoff.in_turn(names)[:limit]:
        if not go_on():
            return replace(done, stopped="the job must end")
        done = _one(this, name, done)
        if done.stopped:
            break
    return done


def _names(this: _Round, limit: int) -> list[str]:
    """What may be posted: nothing, where an accepted result could not be removed afterwards."""
    try:
        names = this.outbox.oldest(limit)
    except errors.VolumeError as error:
        this.warn("failed_results_unusable", FOLDER_NAME, str(error))
        return []
    if names and not this.outbox.writable():
        this.warn("failed_results_unusable", FOLDER_NAME, "not writable")
        return []
    return names


def _one(this: _Round, name: str, done: Reposted) -> Reposted:
    """Post the result `name`; what follows from the answer.

    One that is given up and could not be parked before is not posted again.
    """
    if done.backoff.given_up(name):
        return _park(this, name, PostOutcome("refused", done.backoff.reason), done)
    try:
        result = this.outbox.load(name)
    except errors.BadFailedResult as error:
        return _park(this, name, PostOutcome("refused", str(error)), done)
    except errors.VolumeError as error:
        this.warn("failed_result_left", name, str(error))
        return done
    located = replace(result, origin=this.origin_of(result.ip))
    silent = done.backoff.unanswered
    answer = this.client.post(this.installation, located, known_silent=silent)
    if answer.outcome == "accepted":
        this.outbox.remove(name)
        return replace(done, backoff=done.backoff.accepted(name), accepted=done.accepted + 1)
    backoff = done.backoff.because(answer.reason)
    if answer.outcome == "refused" or answer.is_error:
        done = _refused(this, name, answer, replace(done, backoff=backoff.answered()))
        broken = answer.is_error and this.client.seems_broken()
        return _stopped(this, answer, done) if broken else done
    return _stopped(this, answer, replace(done, backoff=backoff))


def _stopped(this: _Round, answer: PostOutcome, done: Reposted) -> Reposted:
    """No more in this round, and maybe none for a while."""
    backoff = later(answer, done.backoff, this.clock(), this.jitter)
    return replace(done, backoff=backoff, stopped=answer.reason)


def later(answer: PostOutcome, backoff: Backoff, now: float, jitter: random.Random) -> Backoff:
    """The Backoff after a post that ended a round: only `later` makes stored ones wait."""
    if answer.outcome != "later":
        return backoff
    if answer.unanswered:
        return backoff.got_no_answer(now, jitter)
    return backoff.failed(now, answer.retry_after_seconds, jitter)


def after_fresh(
    answer: PostOutcome,
    name: str,
    backoff: Backoff,
    client: Client,
    installation: Installation,
    now: float,
    jitter: random.Random,
) -> Backoff:
    """The Backoff after a fresh result, which is stored as `name`, was not accepted."""
    backoff = backoff.because(answer.reason)
    if answer.status is not None:
        backoff = backoff.answered()
    if not answer.is_error:
        return later(answer, backoff, now, jitter)
    elsewhere = client.accepted_elsewhere(installation)
    backoff = backoff.refused(name, now, elsewhere, answer.status or 0)
    return later(answer, backoff, now, jitter) if client.seems_broken() else backoff


def _refused(this: _Round, name: str, answer: PostOutcome, done: Reposted) -> Reposted:
    """The tix-api wants nothing of this one, or fails over it; the third time it is parked."""
    elsewhere = this.client.accepted_elsewhere(this.installation)
    backoff = done.backoff.refused(name, this.clock(), elsewhere, answer.status or 0)
    done = replace(done, backoff=backoff, refused=done.refused + (answer.outcome == "refused"))
    return _park(this, name, answer, done) if backoff.given_up(name) else done


def _park(this: _Round, name: str, answer: PostOutcome, done: Reposted) -> Reposted:
    """Park `name`; where that fails it stays, and those after it have their turn."""
    try:
        this.outbox.park(name, answer.reason, answer.words)
    except errors.VolumeError as error:
        this.warn("failed_result_not_parked", name, str(error))
        return done
    folder, reason = this.installation.path, answer.reason
    logs.warning("failed_result_parked", folder=folder, name=name, reason=reason)
    return replace(done, backoff=done.backoff.parked(name), parked=done.parked + 1)
