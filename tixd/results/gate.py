"""When this worker may post; pure: the time (seconds of a clock that never steps) comes in.

In: each Answer. Out: a reason to wait, and the changes of state worth a log line.
Rules: an unreachable tix-api is left alone for most of a period, so a dead one costs a cycle one
connect time-out; 401 and 403 pause the user; refused for three users in a row, the credentials are
wrong: everything waits but one trial in five minutes, until a post is accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tixd.results.answer import Answer
from tixd.results.backoff import pause_seconds

#: Share of the period for which an unreachable tix-api is left alone; below 1, so that the first
#: job of the next cycle tries again although cycles are not exact.
BREAKER_PERIODS = 0.9

#: So many users refused, with no post accepted between, mean wrong credentials (operations.md 5.4).
USERS_TO_PAUSE_ALL = 3

#: Time between two trial posts while all posting is paused (operations.md 5.4).
TRIAL_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Change:
    """A change of state: the level says who must act, the event is a log line's name."""

    level: Literal["info", "warning", "error"]
    event: str
    reason: str
    user: int | None = None


@dataclass(frozen=True, slots=True)
class _UserPause:
    failures: int
    until: float


class Gate:
    """What one worker knows about the tix-api and its users; forgotten when it ends."""

    __slots__ = (
        "_breaker_seconds",
        "_retry_at",
        "_suspects",
        "_taken",
        "_trial_at",
        "_users",
        "trouble",
    )

    def __init__(self, period_seconds: float) -> None:
        self._breaker_seconds = BREAKER_PERIODS * period_seconds
        #: When an unreachable tix-api may be tried again; None: it answers.
        self._retry_at: float | None = None
        #: When the next trial may go while all posting is paused; None: it is not paused.
        self._trial_at: float | None = None
        #: Users refused since the last accepted post.
        self._suspects: set[int] = set()
        self._users: dict[int, _UserPause] = {}
        #: The user whose post was accepted last.
        self._taken: int | None = None
        #: Why posts of all users are in vain, as far as is known; "": they are not.
        self.trouble = ""

    def reason_to_wait(self, user: int, now: float) -> str:
        """Why a post of this user must not be tried now; empty: go."""
        if self._retry_at is not None and now < self._retry_at:
            return "the tix-api is unreachable"
        if self._trial_at is not None:
            return "" if now >= self._trial_at else "the tix-api refuses the credentials"
        pause = self._users.get(user)
        return "the tix-api refuses this user" if pause and now < pause.until else ""

    def heard(self, user: int, answer: Answer, now: float) -> list[Change]:
        """Learn from the answer to a post of `user`; returns what changed."""
        if answer.outcome == "held":
            return []
        changes = self._changes(user, answer, now)
        self.trouble = self._trouble(user, answer)
        return changes

    def _changes(self, user: int, answer: Answer, now: float) -> list[Change]:
        changes = self._reachability(answer, now)
        if answer.outcome == "accepted":
            return changes + self._accepted(user)
        if self._trial_at is not None:
            self._trial_at = now + TRIAL_SECONDS
        elif answer.outcome == "unauthorised":
            changes += self._unauthorised(user, answer.reason, now)
        return changes

    def _trouble(self, user: int, answer: Answer) -> str:
        if answer.outcome != "unauthorised":
            return answer.reason if answer.outcome == "later" else ""
        if self._trial_at is not None:
            return f"the credentials are refused: {answer.reason}"
        return answer.reason if self._taken in (None, user) else self.trouble

    def _reachability(self, answer: Answer, now: float) -> list[Change]:
        known_unreachable = self._retry_at is not None
        if answer.unreachable:
            self._retry_at = now + self._breaker_seconds
            return [] if known_unreachable else [Change("error", "api_unreachable", answer.reason)]
        if answer.status is None or not known_unreachable:
            return []
        self._retry_at = None
        return [Change("info", "api_back", answer.reason)]

    def _unauthorised(self, user: int, reason: str, now: float) -> list[Change]:
        before = self._users.get(user)
        failures = before.failures + 1 if before else 1
        self._users[user] = _UserPause(failures, now + pause_seconds(failures))
        self._suspects.add(user)
        if len(self._suspects) >= USERS_TO_PAUSE_ALL:
            self._trial_at = now + TRIAL_SECONDS
            return [Change("error", "api_credentials_refused", reason)]
        return [] if before else [Change("warning", "api_user_refused", reason, user)]

    def _accepted(self, user: int) -> list[Change]:
        self._suspects.clear()
        self._taken = user
        if self._trial_at is not None:
            self._trial_at = None
            self._users.clear()
            return [Change("info", "api_credentials_accepted", "a post was accepted")]
        if self._users.pop(user, None):
            return [Change("info", "api_user_accepted", "a post was accepted", user)]
        return []
