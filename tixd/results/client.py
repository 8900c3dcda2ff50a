"""The client of the tix-api, one per worker process; the only user of urllib3.

In: an installation and the result of a window. Out: an Answer; nothing is raised for the API's
sake. Rules: one try, no redirects, one kept connection, not reused after 5 s. A connection that
breaks before the answer leaves open whether the result was stored: it is not sent again here but
counts as failed, and a kept connection that breaks says nothing about the tix-api itself. The
status decides; the body is only read to keep the connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

import tixd
from tixd import logs
from tixd.reports.model import Installation
from tixd.results.answer import Answer, held, of_status
from tixd.results.deadline import DeadlinePassed, within
from tixd.results.endpoint import basic, proxy, trust
from tixd.results.gate import Gate
from tixd.results.payload import WindowResult, payload
from tixd.settings import Settings

#: A kept connection idle for longer may be closed by the other side at any moment (operations 5.4).
LONGEST_IDLE_SECONDS = 5.0

#: Of a longer body nothing is read; the tix-api answers with some hundred bytes.
LONGEST_BODY_BYTES = 64 * 2**10

#: What broke, in words of ours: urllib3's own name addresses and objects.
#: The first match counts: some are kinds of a later one.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ProxyError, "the proxy does not let it through"),
    (NameResolutionError, "the host name is not known"),
    (NewConnectionError, "no connection"),
    (ConnectTimeoutError, "no connection in time"),
    (ReadTimeoutError, "no answer in time"),
    (SSLError, "TLS failed"),
    (ProtocolError, "the connection broke before the answer"),
)


class ApiClient:
    """Posts results, and remembers what the answers say about when to post."""

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
        self._total_seconds = settings.api_total_seconds
        self._timeout = urllib3.Timeout(
            connect=settings.api_connect_seconds, read=settings.api_read_seconds
        )
        self._base_url, self._proxied = settings.api_base_url, bool(settings.api_proxy)
        self._headers = {
            "Authorization": basic(settings.api_user, settings.api_password.reveal()),
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"tixd/{tixd.__version__}",
        }
        self._connections = _connections(settings)
        self._way = self._new_way()
        self._kept_since: float | None = None
        self._gate = Gate(settings.processing_period_minutes * 60.0)
        self._accepted: dict[tuple[int, int], float] = {}
        self._off = _missing(settings)
        if self._off and settings.role != "dispatcher":  # which posts nothing in any case
            logs.warning("posting_off", reason=f"{self._off}: results are kept")

    def close(self) -> None:
        """Close the kept connection."""
        self._connections.clear()

    @property
    def trouble(self) -> str:
        """Why nothing is accepted of anybody, as far as this worker knows; empty: it is."""
        return self._off or self._gate.trouble

    def reason_to_wait(self, installation: Installation) -> str:
        """Why a post would be held now; empty: it would be tried."""
        return self._off or self._gate.reason_to_wait(installation.user_id, self._steady())

    def post(self, installation: Installation, result: WindowResult) -> Answer:
        """Post one result, once."""
        if reason := self.reason_to_wait(installation):
            return held(reason)
        user, number = installation.user_id, installation.installation_id
        path = f"/api/user/{user:d}/installation/{number:d}/reports"
        answer = self._attempt(path, payload(result), self._headers)
        if answer.outcome == "accepted":
            self._remember((user, number))
        for change in self._gate.heard(user, answer, self._steady()):
            whose = {} if change.user is None else {"user": change.user}
            told = {"api": self._base_url, "reason": change.reason}
            getattr(logs, change.level)(change.event, **whose, **told)
        return answer

    def ask(self, path: str, *, anonymous: bool = False) -> Answer:
        """The answer to a GET, which changes nothing; with our credentials, or none."""
        left_out = {"Content-Type"} | ({"Authorization"} if anonymous else set())
        headers = {name: text for name, text in self._headers.items() if name not in left_out}
        return self._attempt(path, None, headers)

    def accepted_elsewhere(self, installation: Installation) -> float | None:
        """When a post of another installation was last accepted, epoch seconds; None: never."""
        this = (installation.user_id, installation.installation_id)
        return max((at for key, at in self._accepted.items() if key != this), default=None)

    def _remember(self, key: tuple[int, int]) -> None:
        """Note an accepted post; two installations are enough to know of another one."""
        self._accepted.pop(key, None)
        self._accepted[key] = self._clock()
        if len(self._accepted) > 2:
            del self._accepted[next(iter(self._accepted))]

    def _attempt(self, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Send once and wait for the answer, within the deadline."""
        kept = self._kept()
        self._kept_since = None
        try:
            answer = within(self._total_seconds, lambda: self._exchange(path, body, headers))
        except DeadlinePassed:
            answer = Answer("later", "no answer before the deadline", unreachable=True)
        except (HTTPError, OSError) as error:
            broke_while_kept = kept and isinstance(error, ProtocolError)
            answer = Answer("later", _reason(error), unreachable=not broke_while_kept)
        return answer

    def _exchange(self, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        response = self._way.urlopen(
            "GET" if body is None else "POST",
            self._base_url + path if self._proxied else path,
            redirect=False,
            body=body,
            headers=headers,
            timeout=self._timeout,
            retries=False,
            preload_content=False,
            decode_content=False,
        )
        if _read_whole(response):
            self._kept_since = self._steady()
        return of_status(response.status, response.headers.get("Retry-After"), self._clock())

    def _kept(self) -> bool:
        """Whether the connection of an earlier post will be used; if not, there is none left."""
        since = self._kept_since
        if since is not None and self._steady() - since <= LONGEST_IDLE_SECONDS:
            return True
        self._connections.clear()
        self._way = self._new_way()
        return False

    def _new_way(self) -> urllib3.PoolManager | urllib3.HTTPConnectionPool:
        """What sends: the tix-api's own pool, which to look up anew costs a quarter of a post."""
        if self._proxied:
            return self._connections
        return self._connections.connection_from_url(self._base_url)


def _missing(settings: Settings) -> str:
    """Without what nothing can be posted, in words; "": all is there."""
    if settings.api_user and settings.api_password:
        return ""
    return f"{'TIX_API_PASSWORD' if settings.api_user else 'TIX_API_USER'} is not set"


def _read_whole(response: urllib3.BaseHTTPResponse) -> bool:
    """Read the body so that the connection can be kept; False: it cannot, and is closed."""
    try:
        if len(response.read(LONGEST_BODY_BYTES + 1)) <= LONGEST_BODY_BYTES:
            response.release_conn()
            return True
    except (HTTPError, OSError, DeadlinePassed):
        pass
    response.close()
    return False


def _reason(error: Exception) -> str:
    """What broke; with the system's or TLS's own words where there are some."""
    words = next((words for kind, words in _REASONS if isinstance(error, kind)), "no answer")
    cause = next((c for c in (error.__cause__, *error.args) if isinstance(c, OSError)), None)
    detail = getattr(cause, "verify_message", "") or getattr(cause, "strerror", "")
    return f"{words}: {detail}" if detail else words


def _connections(settings: Settings) -> urllib3.PoolManager:
    """Room for the one connection: to the tix-api, or to the proxy on the way there."""
    trusted = trust(settings.api_ca_bundle) if settings.api_ssl or settings.api_proxy else None
    if not settings.api_proxy:
        return urllib3.PoolManager(num_pools=1, maxsize=1, ssl_context=trusted)
    url, headers = proxy(settings.api_proxy)
    return urllib3.ProxyManager(
        url,
        num_pools=1,
        maxsize=1,
        proxy_headers=headers,
        proxy_ssl_context=trusted,
        ssl_context=trusted,
    )
