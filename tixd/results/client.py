"""The client of the tix-api, one in each worker process: posts results, and knows when not to.

Rules: one try; the requests of several installations can be in flight; nothing is raised for what
the tix-api does, it is a PostOutcome; what the outcomes say about when to post is remembered here,
within bounds; what one installation or user meets is one line in the log an hour.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import tixd
from tixd import bounded, logs
from tixd.config.settings import Settings
from tixd.reports.model import Installation
from tixd.results.circuit_breaker import Change, CircuitBreaker, Key, Probe
from tixd.results.in_flight import InFlight
from tixd.results.payload import WindowResult, payload
from tixd.results.response import Posting, PostOutcome, Request, skipped, with_hint
from tixd.results.transport import basic_auth

#: A request that changes nothing, and does not depend on any installation.
CURRENT_USER_PATH = "/api/user/current"

#: The role of a user who may post for others; the tix-api answers 403 to all else.
ADMIN = "admin"

#: Time limit for the answer to a probe.
ASK_SECONDS = 5.0

#: Count and event of a post, by its outcome, or "failed" for a 5xx.
_COUNTED = MappingProxyType(
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

    requests: those in flight.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it without connecting; clock: epoch seconds, steady: seconds that never step.

        Raises errors.ConfigError where certificates or proxy cannot be used.
        """
        self._clock = clock
        self._steady = steady
        self._base_url = settings.api_base_url
        self._headers = {
            "Authorization": basic_auth(settings.api_user, settings.api_password.reveal()),
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"tixd/{tixd.__version__}",
        }
        self._most_in_flight = settings.posts_in_flight
        self.requests = InFlight(settings, self._most_in_flight, steady)
        self._breaker = CircuitBreaker(settings.processing_period_minutes * 60.0)
        #: When a post of the last two installations was accepted, by both clocks.
        self._accepted: dict[Key, tuple[float, float]] = {}
        self._limiter = logs.RateLimiter()
        self._disabled = settings.not_posting_reason
        if self._disabled and settings.role != "dispatcher":  # which posts nothing in any case
            logs.warning("posting_disabled", reason=f"{self._disabled}: results are kept")

    def close(self) -> None:
        """Close the kept connections."""
        self.requests.close()

    @property
    def outage(self) -> str | None:
        """Why no installation's posts are accepted, as far as this worker knows; None: some are."""
        return self._disabled or self._breaker.outage

    def hold_reason(self, installation: Installation) -> str | None:
        """Return why a post would be skipped now; None: it would be tried."""
        return self._disabled or self._breaker.hold_reason(installation.user_id, self._steady())

    def end_pauses(self) -> None:
        """Try the next posts, whatever was refused before."""
        self._breaker.end_pauses()

    @property
    def places(self) -> int:
        """How many installations may have a post in flight now."""
        return self._breaker.places(self._most_in_flight)

    def seems_broken(self) -> bool:
        """Return whether the tix-api itself fails, not only on a single result."""
        return self._breaker.seems_broken(self._steady())

    def post(
        self,
        installation: Installation,
        result: WindowResult,
        tally: Counter[str],
        *,
        after_silence: bool = False,
    ) -> Posting[PostOutcome]:
        """Post one result, once; what becomes of it is counted in `tally`.

        after_silence: the installation's last post got no answer.
        """
        if reason := self.hold_reason(installation):
            return skipped(reason)
        key = (installation.user_id, installation.installation_id)
        began = self._steady()
        self._breaker.start(key[0], began)
        path = "/api/user/{:d}/installation/{:d}/reports".format(*key)
        answer = yield Request(path, payload(result), self._headers)
        if after_silence:
            answer = replace(answer, after_silence=True)
        tally[self._note(installation, key, answer)] += 1
        probe = (yield from self._probe()) if self._breaker.needs_probe(key, answer) else None
        self._log_changes(self._breaker.record(key, answer, self._steady(), probe, began=began))
        return answer

    def _probe(self) -> Posting[Probe]:
        asked = yield self._get(CURRENT_USER_PATH, seconds=ASK_SECONDS)
        return Probe(answers=asked.status is not None, may_post=_may_post(asked))

    def _log_changes(self, changes: list[Change]) -> None:
        for change in changes:
            user = {} if change.user is None else {"user": change.user}
            log = getattr(logs, change.level)
            log(change.event, **user, api=self._base_url, reason=change.reason)

    def ask(self, path: str, *, anonymous: bool = False) -> PostOutcome:
        """Send a GET request, with our credentials or none, and wait for the answer."""
        return self.requests.perform(self._ask(path, anonymous=anonymous))

    def _ask(self, path: str, *, anonymous: bool) -> Posting[PostOutcome]:
        return (yield self._get(path, anonymous=anonymous))

    def _get(self, path: str, *, anonymous: bool = False, seconds: float = float("inf")) -> Request:
        left_out = {"Content-Type"} | ({"Authorization"} if anonymous else set())
        headers = {name: text for name, text in self._headers.items() if name not in left_out}
        return Request(path, None, headers, seconds)

    def accepted_elsewhere(self, installation: Installation) -> float | None:
        """Return when another installation's post was last accepted, epoch seconds; None: never.

        Where the clock was set since, the earlier of what it was then and what it would be now.
        """
        this = (installation.user_id, installation.installation_id)
        ahead = self._clock() - self._steady()
        others = (at for key, at in self._accepted.items() if key != this)
        return max((min(clock, steady + ahead) for clock, steady in others), default=None)

    def _note(self, installation: Installation, key: Key, answer: PostOutcome) -> str:
        """Log a failure with the text of the tix-api; return the outcome's name in counts."""
        count, event = _count_and_event(answer)
        if answer.outcome == "accepted":
            self._remember(key)
        elif event:
            self._limiter.log(
                logs.warning,
                event,
                installation.path,
                now=self._clock(),
                **installation.labels,
                reason=": ".join(filter(None, (with_hint(answer.reason), answer.words))),
            )
        return count

    def _remember(self, key: Key) -> None:
        """Note an accepted post; two installations are enough to find another one."""
        self._accepted.pop(key, None)
        self._accepted[key] = self._clock(), self._steady()
        bounded.forget_oldest(self._accepted, 2)


def _may_post(asked: PostOutcome) -> bool:
    """Return whether the tix-api says that our user may post for others."""
    is_admin = str(asked.says("role")).casefold() == ADMIN
    return is_admin and asked.says("enabled") is not False


def _count_and_event(answer: PostOutcome) -> tuple[str, str]:
    """Return the name under which a post is counted, and the event in the log, if any."""
    if answer.unanswered:
        return "posts_unanswered", "result_unanswered"
    if answer.status is None:
        return "posts_unreachable", ""
    return _COUNTED["failed" if answer.status >= 500 else answer.outcome]
