"""When a worker may post, by the outcomes of its posts.

Times are seconds of a clock that never steps. Rules: a tix-api that cannot be reached, or does not
answer two different installations in a row and a probe, gets no posts for most of a period; until
it accepts posts, few are in flight, so a dead one costs a cycle one connect time-out or two posts;
one installation that gets no answer stops no other. 401 and 403 pause the user; after them for
three users in a row the credentials are wrong, unless the tix-api says that ours may post for
others: all posts wait, except one trial in five minutes, until a post is accepted. Memory is
bounded. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Literal, TypeVar

from tixd.bounded import forget_oldest
from tixd.results.backoff import RETRY
from tixd.results.response import Cause, PostOutcome

#: Share of the period for which an unreachable tix-api gets no posts; below 1, so that the first
#: job of the next cycle tries again although cycles are not exact.
BREAKER_PERIODS = 0.9

#: After this many installations in a row without an answer the tix-api itself is probed.
UNANSWERED_TO_DOUBT = 2

#: After this many it gets no posts, even if it answers probes; posts that began before the last
#: answer do not count: of many in flight, the few that hang end last and together.
UNANSWERED_TO_STOP = 4

#: This many users refused, with no accepted post between, mean wrong credentials.
USERS_TO_PAUSE_ALL = 3

#: Where no post was accepted for so many periods, what one installation meets may concern all.
QUIET_PERIODS = 2

#: Time between two trial posts while all posting is paused.
TRIAL_SECONDS = 300.0

#: This many installations may have a post in flight until one is accepted: the tix-api may be dead,
#: or refuse us.
FIRST_PLACES = 2

#: At most this many users' pauses are remembered; then the oldest are forgotten.
MAX_USERS = 10_000

#: User and installation.
Key = tuple[int, int]

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Change:
    """A change of state; level and event of its log line."""

    level: Literal["info", "warning", "error"]
    event: str
    reason: str
    user: int | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """The outcome of a request other than a post.

    answers: there was an answer; may_post: it says that our user may post for others.
    """

    answers: bool
    may_post: bool = False


@dataclass(frozen=True, slots=True)
class _UserPause:
    failures: int
    until: float


class CircuitBreaker:
    """What one worker process knows about the tix-api and its users."""

    def __init__(self, period_seconds: float) -> None:
        self._period_seconds = period_seconds
        self._left_alone_seconds = BREAKER_PERIODS * period_seconds
        #: When an unreachable tix-api may be tried again; None: it answers.
        self._retry_at: float | None = None
        #: When it was found unreachable: posts that began before are no trials.
        self._stopped_at = float("-inf")
        #: When the next trial may go while all posting is paused; None: it is not paused.
        self._trial_at: float | None = None
        #: Users refused since the last accepted post, and those of them whose trial was refused.
        self._suspects: set[int] = set()
        self._tried: dict[int, None] = {}
        self._users: dict[int, _UserPause] = {}
        #: The last two installations whose posts were accepted, and when.
        self._accepted: dict[Key, float] = {}
        self._accepted_at = float("-inf")
        #: Whether a post was accepted since there was reason to doubt the tix-api.
        self._proven = False
        #: Installations that got no answer, since the last answer to any; when their posts began.
        self._unanswered: dict[Key, float] = {}
        self._answered_at = float("-inf")
        #: The last installations that got an error (5xx), since the last accepted post.
        self._failed: deque[Key] = deque(maxlen=2)
        #: Why no installation's posts are accepted, as far as is known; None: some are.
        self.outage: str | None = None

    def hold_reason(self, user: int, now: float) -> str | None:
        """Return why a post of this user must not be tried now; None: it may."""
        if self._retry_at is not None and now < self._retry_at:
            return "the tix-api is unreachable"
        if self._trial_at is not None:
            # A user whose trial was refused waits for a cycle, so that the others get theirs.
            wait_seconds = self._period_seconds if user in self._tried else 0.0
            ready = now >= self._trial_at + wait_seconds
            return None if ready else "the tix-api refuses the credentials"
        pause = self._users.get(user)
        return "the tix-api refuses this user" if pause and now < pause.until else None

    def end_pauses(self) -> None:
        """Let the next posts be tried, whatever was refused before; what was learnt stays."""
        always = float("-inf")
        self._retry_at = None if self._retry_at is None else always
        self._trial_at = None if self._trial_at is None else always
        self._tried.clear()
        self._users = {user: replace(pause, until=always) for user, pause in self._users.items()}

    def places(self, most: int) -> int:
        """Return how many installations may have a post in flight now, at most `most`."""
        return most if self._proven else min(most, FIRST_PLACES)

    def start(self, user: int, now: float) -> None:
        """Note that a post of this user begins: while posting is paused it is the trial."""
        if self._trial_at is not None and self.hold_reason(user, now) is None:
            self._trial_at = now + TRIAL_SECONDS

    def needs_probe(self, key: Key, answer: PostOutcome) -> bool:
        """Return whether the tix-api must be probed before `answer` can be judged."""
        if answer.outcome == "unauthorised":
            suspects = self._suspects | {key[0]}
            return self._trial_at is not None or len(suspects) >= USERS_TO_PAUSE_ALL
        if not answer.unanswered:
            return False
        silent = self._unanswered.keys() | ({key} if answer.newly_unanswered else set())
        return self._retry_at is not None or len(silent) >= UNANSWERED_TO_DOUBT

    def seems_broken(self, now: float) -> bool:
        """Return whether the tix-api itself fails: two errors in a row, nothing accepted lately."""
        quiet = now - self._accepted_at > self._left_alone_seconds
        return quiet and len(self._failed) == self._failed.maxlen

    def record(
        self,
        key: Key,
        answer: PostOutcome,
        now: float,
        probe: Probe | None = None,
        *,
        began: float | None = None,
    ) -> list[Change]:
        """Record the outcome of an installation's post; returns what changed.

        A repeated missing answer to one installation says nothing about the tix-api. probe: its
        outcome, where it was needed; began: when the post did, None: now.
        """
        if answer.outcome == "skipped":
            return []
        if answer.is_error:
            self._failed.append(key)
        began = now if began is None else began
        if answer.newly_unanswered:
            self._unanswered[key] = began
        changes = self._reachability(answer, now, probe, began)
        if answer.outcome == "unauthorised" and probe and probe.may_post:
            changes += self._note_trusted("the tix-api says that the user may post for others")
        changes += self._authority(key, answer, now)
        if self._retry_at is not None or self._trial_at is not None:
            self._proven = False
        first_silence = answer.newly_unanswered and self._retry_at is None
        if not first_silence:  # others may be accepted: the next post decides
            self.outage = self._general_reason(key, answer, now)
        return changes

    def _authority(self, key: Key, answer: PostOutcome, now: float) -> list[Change]:
        """Record what the answer says about the user, or about our credentials."""
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

    def _general_reason(self, key: Key, answer: PostOutcome, now: float) -> str | None:
        """Return why no installation's posts are accepted; a reason of a single one is not.

        It is general, too, where no other one was accepted in the last QUIET_PERIODS.
        """
        if answer.outcome == "accepted":
            return None
        quiet_seconds = QUIET_PERIODS * self._period_seconds
        alone = not any(
            other != key and now - at <= quiet_seconds for other, at in self._accepted.items()
        )
        if answer.outcome == "later":
            general = alone or self._retry_at is not None or len(set(self._failed)) > 1
        elif answer.outcome == "unauthorised":
            same_user = key[0] in (user for user, _ in list(self._accepted)[-1:])
            several = answer.status == HTTPStatus.UNAUTHORIZED and len(self._suspects) > 1
            general = alone or same_user or several or self._trial_at is not None
        elif not alone:
            return None
        else:
            general = True
        return of_all(answer, key) if general else self.outage

    def _reachability(
        self, answer: PostOutcome, now: float, probe: Probe | None, began: float
    ) -> list[Change]:
        known_unreachable = self._retry_at is not None
        if answer.unreachable or (answer.unanswered and self._takes_nothing(probe)):
            self._retry_at = now + self._left_alone_seconds
            self._unanswered.clear()
            if known_unreachable:
                return []
            self._stopped_at = now
            return [Change("error", "api_unreachable", answer.reason)]
        if answer.status is not None:
            self._unanswered.clear()
            self._answered_at = now
        was_trial = probe is not None and probe.answers and began >= self._stopped_at
        answers = answer.status is not None or was_trial
        if not known_unreachable or not answers:
            return []
        self._retry_at = None
        return [Change("info", "api_recovered", answer.reason)]

    def _takes_nothing(self, probe: Probe | None) -> bool:
        """Return whether the tix-api, not the installation, is why a post got no answer."""
        if probe is None:
            return False
        since = sum(began >= self._answered_at for began in self._unanswered.values())
        return not probe.answers or since >= UNANSWERED_TO_STOP

    def _unauthorised(self, user: int, reason: str, now: float) -> list[Change]:
        before = self._users.get(user)
        failures = before.failures + 1 if before else 1
        pause_seconds = min(RETRY.pause_seconds(failures), self._left_alone_seconds)
        _remember(self._users, user, _UserPause(failures, now + pause_seconds))
        self._suspects.add(user)
        if len(self._suspects) >= USERS_TO_PAUSE_ALL:
            self._trial_at = now + TRIAL_SECONDS
            return [Change("error", "api_credentials_refused", reason)]
        return [] if before else [Change("warning", "api_user_refused", reason, user)]

    def _note_accepted(self, key: Key, now: float) -> list[Change]:
        user, reason = key[0], "a post was accepted"
        self._failed.clear()
        self._proven = True
        self._accepted.pop(key, None)
        self._accepted[key] = self._accepted_at = now
        forget_oldest(self._accepted, 2)
        if changes := self._note_trusted(reason):
            return changes
        if self._users.pop(user, None):
            return [Change("info", "api_user_accepted", reason, user)]
        return []

    def _note_trusted(self, reason: str) -> list[Change]:
        """End all pauses for refused credentials: they are right, single users may be refused."""
        self._suspects.clear()
        self._tried.clear()
        if self._trial_at is None:
            return []
        self._trial_at = None
        self._users.clear()
        return [Change("info", "api_credentials_accepted", reason)]


#: Settings that have to do with why a request could not be sent.
_SETTINGS: Mapping[Cause | None, str] = MappingProxyType(
    {
        "name": "TIX_API_HOST",
        "connect": "TIX_API_HOST, TIX_API_PORT",
        "connect_time": "TIX_API_HOST, TIX_API_PORT",
        "tls": "TIX_API_SSL, REQUESTS_CA_BUNDLE",
        "proxy": "HTTP_PROXY, HTTPS_PROXY",
        "setup": "TIX_API_SSL",
        "setup_time": "TIX_API_SSL",
    }
)


def of_all(answer: PostOutcome, key: Key) -> str:
    """Say why no installation's posts are accepted, after this answer to one of them.

    >>> of_all(PostOutcome("later", "no connection: Connection refused", cause="connect"), (7, 1))
    'the tix-api: no connection: Connection refused (TIX_API_HOST, TIX_API_PORT)'
    >>> of_all(PostOutcome("refused", "HTTP 404 Not Found", 404), (7, 1))
    'the tix-api: HTTP 404 Not Found for 7/1, the last one tried'
    """
    if answer.status == HTTPStatus.FORBIDDEN:
        remedy = "TIX_API_USER must be an admin"
        return f"the tix-api does not let our user post ({answer.reason}): {remedy}"
    if answer.outcome == "unauthorised":
        remedy = "correct TIX_API_USER and TIX_API_PASSWORD"
        return f"the tix-api refuses the credentials ({answer.reason}): {remedy}"
    if answer.outcome == "refused":  # it says nothing about the others, which had no post lately
        return f"the tix-api: {answer.reason} for {key[0]}/{key[1]}, the last one tried"
    names = _SETTINGS.get(answer.cause)
    return f"the tix-api: {answer.reason}" + (f" ({names})" if names else "")


def _remember(memory: dict[int, _Value], user: int, value: _Value) -> None:
    """Note the value; of too many, forget the oldest."""
    memory.pop(user, None)
    memory[user] = value
    forget_oldest(memory, MAX_USERS)
