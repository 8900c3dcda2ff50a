"""Check the tix-api: whether it answers, and takes user and password.

Rules: nothing but GET is sent; below /api/user/ the tix-api asks for credentials before it looks
for anything, so the same question with and without them shows whether it takes ours, and a server
that does not ask for them is not the tix-api; of what it writes in an answer role and enabled
count, nothing else is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from types import MappingProxyType

from tixd import errors
from tixd.config.settings import Settings
from tixd.results.client import ADMIN, CURRENT_USER_PATH, ApiClient
from tixd.results.response import Cause, PostOutcome

#: The longest that a connection may take here.
CONNECT_SECONDS = 4.0

#: The longest silence while it answers.
READ_SECONDS = 4.0

#: The longest that connection and answer may take together.
TOTAL_SECONDS = 5.0

#: What to do where it accepts connections and sends nothing.
_SILENT = "it accepts connections and sends nothing: see its log, and whether TIX_API_SSL is right"

#: What to do, by why there was no answer.
ADVICE: Mapping[Cause, str] = MappingProxyType(
    {
        "name": "correct TIX_API_HOST, or the name service of this host",
        "connect_time": "see TIX_API_HOST and TIX_API_PORT, and firewalls on the way",
        "connect": "start it, or correct TIX_API_HOST and TIX_API_PORT",
        "tls": "name a file of CA certificates that verify it in REQUESTS_CA_BUNDLE;"
        " without HTTPS there, unset TIX_API_SSL",
        "proxy": "see HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY",
        "setup": "see whether it speaks HTTPS there, and TIX_API_SSL",
        "setup_time": _SILENT,
        "silent": _SILENT,
        "late": _SILENT,
        "cut": "if it speaks HTTPS there, set TIX_API_SSL",
        "idle": "if it speaks HTTPS there, set TIX_API_SSL",
    }
)


def check_api(settings: Settings) -> str:
    """Check it as a worker needs it."""
    if reason := settings.not_posting_reason:
        raise errors.Unusable(f"{reason}: set it, else results are kept, not posted")
    client = ApiClient(_with_short_deadlines(settings))
    try:
        answer = client.ask(CURRENT_USER_PATH)
        where = settings.api_base_url + (", through a proxy" if settings.api_proxy else "")
        _check_answer(answer, where, settings.api_user)
        anonymous = client.ask(CURRENT_USER_PATH, anonymous=True)
    finally:
        client.close()
    _check_refusal(anonymous, where)
    who = f"user {settings.api_user}{', an admin,' if answer.says('role') else ''}"
    return f"{where} takes {who} and the password ({answer.reason})"


def _with_short_deadlines(settings: Settings) -> Settings:
    """Return the settings with deadlines that fit into one check."""
    return replace(
        settings,
        api_connect_seconds=min(settings.api_connect_seconds, CONNECT_SECONDS),
        api_read_seconds=min(settings.api_read_seconds, READ_SECONDS),
        api_total_seconds=min(settings.api_total_seconds, TOTAL_SECONDS),
    )


def _check_answer(answer: PostOutcome, where: str, user: str) -> None:
    """Raise Unusable where posts could not be accepted."""
    if answer.outcome == "unauthorised":
        raise errors.Unusable(
            f"{where} refuses user {user} or the password ({answer.reason}):"
            " correct TIX_API_USER and TIX_API_PASSWORD"
        )
    _check_user(answer, where, user)
    _check_reached(answer, where)


def _check_refusal(anonymous: PostOutcome, where: str) -> None:
    """Raise Unusable where a request without credentials is not refused, as the tix-api does."""
    if anonymous.outcome == "unauthorised":
        return
    _check_reached(anonymous, where)
    tls = "; if it speaks HTTPS there, set TIX_API_SSL=yes"
    raise errors.Unusable(
        f"{where} answers ({anonymous.reason}) without asking for a password, so it is not the"
        " tix-api: correct TIX_API_HOST, TIX_API_PORT and TIX_API_SSL"
        f"{tls if anonymous.status == HTTPStatus.BAD_REQUEST else ''}"
    )


def _check_reached(answer: PostOutcome, where: str) -> None:
    """Raise Unusable where the answer is not of a tix-api that works."""
    if answer.cause is not None:
        raise errors.Unusable(f"{where}: {answer.reason}: {ADVICE[answer.cause]}")
    if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        raise errors.Unusable(
            f"{where}: the proxy asks for a password: put user and password into its URL"
        )
    if answer.status is not None and 300 <= answer.status < 400:
        raise errors.Unusable(
            f"{where} sends us elsewhere ({answer.reason}), which tixd does not follow:"
            " correct TIX_API_HOST, TIX_API_PORT and TIX_API_SSL"
        )
    if answer.outcome == "later":
        raise errors.Unusable(f"{where} answers with an error ({answer.reason}): see its log")


def _check_user(answer: PostOutcome, where: str, user: str) -> None:
    """Raise Unusable where the tix-api knows the user, who may not post for others."""
    if answer.says("enabled") is False:
        raise errors.Unusable(
            f"{where} takes the password, but user {user} is disabled there: enable it"
        )
    role = answer.says("role")
    if role is not None and str(role).casefold() != ADMIN:
        raise errors.Unusable(
            f"{where} accepts the password, but user {user} is not an admin there (its role is"
            f" {str(role)[:40]!r}), so may not post for other users: name an admin in TIX_API_USER"
        )
