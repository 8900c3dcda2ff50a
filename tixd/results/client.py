"""The client of the tix-api, one per worker process: posts, and knows when not to.

In: an installation and the result of a window. Out: an Answer; nothing is raised for the API's
sake. Rules: one try; whatever the answers say about when to post is remembered here, within bounds;
what one installation or user meets is one line in the log an hour.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from types import MappingProxyType

import tixd
from tixd import bounded, logs
from tixd.config.settings import Settings
from tixd.reports.model import Installation
from tixd.results.circuit_breaker import Change, CircuitBreaker, Key
from tixd.results.payload import WindowResult, payload
from tixd.results.response import PostOutcome, skipped
from tixd.results.transport import Transport, basic_auth

#: Who asks. It changes nothing, and the tix-api answers it whatever installations it knows.
CURRENT_USER_PATH = "/api/user/current"

#: The role of a user who may post for others; the tix-api answers 403 to all else.
ADMIN = "admin"

#: How long the tix-api may take to answer this, where it is in doubt.
ASK_SECONDS = 5.0

#: Count and event of a post, by its outcome, or "failed" for a 5xx.
_TOLD = MappingProxyType(
    {
        "accepted": ("posts_accepted", ""),
        "failed": ("posts_failed", "result_failed"),
        "refused": ("posts_refused", "result_refused"),
        "unauthorised": ("posts_unauthorised", ""),
        "later": ("posts_delayed", ""),
    }
)


class ApiClient:
    """Posts results, and remembers what the answers say about when to post.

    tally: what became of posts, by names of counts; the caller takes and clears it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Clock: epoch seconds; steady: seconds that never step.

        Raises errors.ConfigError where certificates or proxy cannot be used.
        """
        self._clock, self._steady = clock, steady
        self._base_url = settings.api_base_url
        self._headers = {
            "Authorization": basic_auth(settings.api_user, settings.api_password.reveal()),
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"tixd/{tixd.__version__}",
        }
        self._transport = Transport(settings, steady)
        self._gate = CircuitBreaker(settings.processing_period_minutes * 60.0)
        #: When a post of the last two installations was accepted, by both clocks.
        self._accepted: dict[Key, tuple[float, float]] = {}
        self._limiter = logs.RateLimiter()
        self.tally: Counter[str] = Counter()
        self._off = _missing(settings)
        if self._off and settings.role != "dispatcher":  # which posts nothing in any case
            logs.warning("posting_off", reason=f"{self._off}: results are kept")

    def close(self) -> None:
        """Close the kept connection."""
        self._transport.close()

    @property
    def trouble(self) -> str:
        """Why nothing is accepted of anybody, as far as this worker knows; empty: it is."""
        return self._off or self._gate.trouble

    def reason_to_wait(self, installation: Installation) -> str:
        """Why a post would be held now; empty: it would be tried."""
        return self._off or self._gate.reason_to_wait(installation.user_id, self._steady())

    def seems_broken(self) -> bool:
        """Whether an error in an answer is the tix-api's own, and not that of one result."""
        return self._gate.seems_broken(self._steady())

    def post(
        self, installation: Installation, result: WindowResult, *, known_silent: bool = False
    ) -> PostOutcome:
        """Post one result, once; known_silent: the installation's last post got no answer."""
        if reason := self.reason_to_wait(installation):
            return skipped(reason)
        key = (installation.user_id, installation.installation_id)
        path = "/api/user/{:d}/installation/{:d}/reports".format(*key)
        answer = self._transport.request(path, payload(result), self._headers)
        self._note(installation, key, answer)
        asked = None
        if self._gate.must_ask(key, answer, known_silent=known_silent):
            asked = self.ask(CURRENT_USER_PATH, seconds=ASK_SECONDS)
        changes = self._gate.heard(
            key,
            answer,
            self._steady(),
            known_silent=known_silent,
            answers_others=None if asked is None else asked.status is not None,
            may_post=bool(asked and _may_post(asked)),
        )
        self._tell(changes)
        return answer

    def _tell(self, changes: list[Change]) -> None:
        """Log changes of state."""
        for change in changes:
            whose = {} if change.user is None else {"user": change.user}
            told = {"api": self._base_url, "reason": change.reason}
            getattr(logs, change.level)(change.event, **whose, **told)

    def ask(
        self, path: str, *, anonymous: bool = False, seconds: float = float("inf")
    ) -> PostOutcome:
        """The answer to a GET, which changes nothing; with our credentials, or none."""
        left_out = {"Content-Type"} | ({"Authorization"} if anonymous else set())
        headers = {name: text for name, text in self._headers.items() if name not in left_out}
        return self._transport.request(path, None, headers, seconds)

    def accepted_elsewhere(self, installation: Installation) -> float | None:
        """When a post of another installation was last accepted, epoch seconds; None: never.

        Where the clock was set since, the earlier of what it was then and what it would be now.
        """
        this = (installation.user_id, installation.installation_id)
        ahead = self._clock() - self._steady()
        others = (at for key, at in self._accepted.items() if key != this)
        return max((min(clock, steady + ahead) for clock, steady in others), default=None)

    def _note(self, installation: Installation, key: Key, answer: PostOutcome) -> None:
        """Count what became of a post, and say what somebody should look at."""
        count, event = _told(answer)
        self.tally[count] += 1
        if answer.outcome == "accepted":
            self._remember(key)
        elif event:
            self._limiter.log(
                logs.warning,
                event,
                installation.path,
                now=self._clock(),
                **installation.labels,
                reason=answer.reason,
            )

    def _remember(self, key: Key) -> None:
        """Note an accepted post; two installations are enough to know of another one."""
        self._accepted.pop(key, None)
        self._accepted[key] = self._clock(), self._steady()
        bounded.forget_oldest(self._accepted, 2)


def _may_post(asked: PostOutcome) -> bool:
    """Whether the tix-api says of our user that it may post for others."""
    is_admin = str(asked.says("role")).casefold() == ADMIN
    return is_admin and asked.says("enabled") is not False


def _told(answer: PostOutcome) -> tuple[str, str]:
    """Under which name a post is counted, and the event that tells of it; "": none does."""
    if answer.unanswered:
        return "posts_unanswered", "result_unanswered"
    if answer.status is None:
        return "posts_unreachable", ""
    return _TOLD["failed" if answer.status >= 500 else answer.outcome]


def _missing(settings: Settings) -> str:
    """Without what nothing can be posted, in words; "": all is there."""
    if settings.api_user and settings.api_password:
        return ""
    return f"{'TIX_API_PASSWORD' if settings.api_user else 'TIX_API_USER'} is not set"
