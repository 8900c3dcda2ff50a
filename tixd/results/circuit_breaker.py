"""When this worker may post: the time (seconds of a clock that never steps) comes in.

In: each Answer. Out: a reason to wait, and the changes of state worth a log line.
Rules: a tix-api that cannot be reached, or leaves two different installations in a row without an
answer and a question of ours too, is left alone for most of a period, so a dead one costs a cycle
one connect time-out or two posts; one installation that is never answered stops nobody else. 401
and 403 pause the user; refused for three users in a row, the credentials are wrong, unless the
tix-api says that their user may post for others: everything waits but one trial in five minutes,
until a post is accepted. What is remembered is bounded. Pure.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeVar

from tixd.bounded import forget_oldest
from tixd.results.backoff import RETRY
from tixd.results.response import PostOutcome

#: Share of the period for which an unreachable tix-api is left alone; below 1, so that the first
#: job of the next cycle tries again although cycles are not exact.
BREAKER_PERIODS = 0.9

#: So many installations without an answer, in a row, put the tix-api itself in doubt (field.md A1).
UNANSWERED_TO_DOUBT = 2

#: So many, and it takes no posts, though it answers other questions.
UNANSWERED_TO_STOP = 4

#: So many users refused, with no post accepted between, mean wrong credentials (operations.md 5.4).
USERS_TO_PAUSE_ALL = 3

#: Time between two trial posts while all posting is paused (operations.md 5.4).
TRIAL_SECONDS = 300.0

#: Pauses of so many users are remembered; where there are more, the oldest are forgotten.
MOST_USERS = 10_000

#: User and installation.
Key = tuple[int, int]

_Value = TypeVar("_Value")


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


class CircuitBreaker:
    """What one worker knows about the tix-api and its users; forgotten when it ends."""

    __slots__ = (
        "_accepted",
        "_accepted_at",
        "_failed",
        "_left_alone_seconds",
        "_period_seconds",
        "_retry_at",
        "_suspects",
        "_trial_at",
        "_tried",
        "_unanswered",
        "_users",
        "trouble",
    )

    def __init__(self, period_seconds: float) -> None:
        self._period_seconds = period_seconds
        self._left_alone_seconds = BREAKER_PERIODS * period_seconds
        #: When an unreachable tix-api may be tried again; None: it answers.
        self._retry_at: float | None = None
        #: When the next trial may go while all posting is paused; None: it is not paused.
        self._trial_at: float | None = None
        #: Users refused since the last accepted post, and those of them whose trial was refused.
        self._suspects: set[int] = set()
        self._tried: dict[int, None] = {}
        self._users: dict[int, _UserPause] = {}
        #: Whose post was accepted last, and when.
        self._accepted: Key | None = None
        self._accepted_at = float("-inf")
        #: Installations that got no answer, since the last answer to anybody.
        self._unanswered: set[Key] = set()
        #: The last installations that got an error (5xx), since the last accepted post.
        self._failed: deque[Key] = deque(maxlen=2)
        #: Why posts of all users are in vain, as far as is known; "": they are not.
        self.trouble = ""

    def reason_to_wait(self, user: int, now: float) -> str:
        """Why a post of this user must not be tried now; empty: go."""
        if self._retry_at is not None and now < self._retry_at:
            return "the tix-api is unreachable"
        if self._trial_at is not None:
            # Whose trial was refused lets a cycle pass, so that the others have theirs.
            wait_seconds = self._period_seconds if user in self._tried else 0.0
            ready = now >= self._trial_at + wait_seconds
            return "" if ready else "the tix-api refuses the credentials"
        pause = self._users.get(user)
        return "the tix-api refuses this user" if pause and now < pause.until else ""

    def must_ask(self, key: Key, answer: PostOutcome, *, known_silent: bool) -> bool:
        """Whether the tix-api must be asked something else before `answer` can be judged."""
        if answer.outcome == "unauthorised":
            suspects = self._suspects | {key[0]}
            return self._trial_at is not None or len(suspects) >= USERS_TO_PAUSE_ALL
        if not answer.unanswered:
            return False
        silent = self._unanswered | (set() if known_silent else {key})
        return self._retry_at is not None or len(silent) >= UNANSWERED_TO_DOUBT

    def seems_broken(self, now: float) -> bool:
        """Whether errors are the tix-api's own: two in a row, and nothing accepted lately."""
        quiet = now - self._accepted_at > self._left_alone_seconds
        return quiet and len(self._failed) == self._failed.maxlen

    def heard(
        self,
        key: Key,
        answer: PostOutcome,
        now: float,
        *,
        known_silent: bool = False,
        answers_others: bool | None = None,
        may_post: bool = False,
    ) -> list[Change]:
        """Learn from the answer to a post of an installation; returns what changed.

        known_silent: its last post got no answer either, so another such says nothing about the
        tix-api; answers_others: whether it answered when asked because of must_ask; may_post:
        whether it said then that our user may post for others.
        """
        if answer.outcome == "held":
            return []
        if answer.is_error:
            self._failed.append(key)
        if answer.unanswered and not known_silent:
            self._unanswered.add(key)
        changes = self._reachability(answer, now, answers_others=answers_others)
        if answer.outcome == "unauthorised" and may_post:
            changes += self._note_trusted("the tix-api says that the user may post for others")
        changes += self._authority(key, answer, now)
        first_silence = answer.unanswered and not known_silent and self._retry_at is None
        if not first_silence:  # others may be accepted elsewhere: the next one tells
            self.trouble = self._trouble(key, answer)
        return changes

    def _authority(self, key: Key, answer: PostOutcome, now: float) -> list[Change]:
        """What the answer says about the user, or about our credentials."""
        user = key[0]
        if answer.outcome == "accepted":
            return self._note_accepted(key, now)
        if self._trial_at is not None:
            self._trial_at = now + TRIAL_SECONDS
            if answer.outcome == "unauthorised":
                _remember(self._tried, user, None)
        elif answer.outcome == "unauthorised":
            return self._unauthorised(user, answer.reason, now)
        return []

    def _trouble(self, key: Key, answer: PostOutcome) -> str:
        """Why nothing is accepted of anybody: what one installation gets is no such reason."""
        alone = self._accepted is None or self._accepted == key
        if answer.outcome == "later":
            general = alone or self._retry_at is not None or len(set(self._failed)) > 1
            return answer.reason if general else self.trouble
        if answer.outcome != "unauthorised":
            return ""
        if self._trial_at is not None:
            return f"the credentials are refused: {answer.reason}"
        same_user = self._accepted is None or self._accepted[0] == key[0]
        return answer.reason if same_user else self.trouble

    def _reachability(
        self, answer: PostOutcome, now: float, *, answers_others: bool | None
    ) -> list[Change]:
        known_unreachable = self._retry_at is not None
        if answer.unreachable or (
            answer.unanswered and self._takes_nothing(answers_others=answers_others)
        ):
            self._retry_at = now + self._left_alone_seconds
            self._unanswered.clear()
            return [] if known_unreachable else [Change("error", "api_unreachable", answer.reason)]
        if answer.status is not None:
            self._unanswered.clear()
        if not known_unreachable or (answer.status is None and not answers_others):
            return []
        self._retry_at = None
        return [Change("info", "api_back", answer.reason)]

    def _takes_nothing(self, *, answers_others: bool | None) -> bool:
        """Whether a post without an answer is not the fault of its installation."""
        if answers_others is None:
            return False
        return not answers_others or len(self._unanswered) >= UNANSWERED_TO_STOP

    def _unauthorised(self, user: int, reason: str, now: float) -> list[Change]:
        before = self._users.get(user)
        failures = before.failures + 1 if before else 1
        _remember(self._users, user, _UserPause(failures, now + RETRY.pause_seconds(failures)))
        self._suspects.add(user)
        if len(self._suspects) >= USERS_TO_PAUSE_ALL:
            self._trial_at = now + TRIAL_SECONDS
            return [Change("error", "api_credentials_refused", reason)]
        return [] if before else [Change("warning", "api_user_refused", reason, user)]

    def _note_accepted(self, key: Key, now: float) -> list[Change]:
        user, reason = key[0], "a post was accepted"
        self._failed.clear()
        self._accepted, self._accepted_at = key, now
        if changes := self._note_trusted(reason):
            return changes
        if self._users.pop(user, None):
            return [Change("info", "api_user_accepted", reason, user)]
        return []

    def _note_trusted(self, reason: str) -> list[Change]:
        """Our credentials are right, whatever single users meet."""
        self._suspects.clear()
        self._tried.clear()
        if self._trial_at is None:
            return []
        self._trial_at = None
        self._users.clear()
        return [Change("info", "api_credentials_accepted", reason)]


def _remember(memory: dict[int, _Value], user: int, value: _Value) -> None:
    """Note the value; where too many are known, forget the oldest."""
    memory.pop(user, None)
    memory[user] = value
    forget_oldest(memory, MOST_USERS)
