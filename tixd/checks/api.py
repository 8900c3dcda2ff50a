"""The tix-api: whether it answers, and takes user and password.

In: the settings. Out: how it answers. Rules: nothing but GET is sent; below /api/user/ the tix-api
asks for credentials before it looks for anything, so the same question with and without them shows
whether it takes ours; what it writes in an answer is not said.
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus

from tixd import errors
from tixd.results.answer import Answer
from tixd.results.client import ApiClient
from tixd.settings import Settings

#: What is asked for: who asks. A tix-api that does not know this path asks for credentials as well.
PATH = "/api/user/current"

#: The longest that a connection, an answer, and both together may take here.
CONNECT_SECONDS, READ_SECONDS, TOTAL_SECONDS = 4.0, 4.0, 5.0

#: What to do, by what the reason of an answer that did not come begins with.
_ADVICE = (
    ("the host name is not known", "correct TIX_API_HOST, or the name service of this host"),
    ("no connection in time", "see TIX_API_HOST and TIX_API_PORT, and firewalls on the way"),
    ("no connection", "start it, or correct TIX_API_HOST and TIX_API_PORT"),
    (
        "TLS failed",
        "name a file of certificates that vouch for it in REQUESTS_CA_BUNDLE;"
        " without HTTPS there, unset TIX_API_SSL",
    ),
    ("the proxy", "see HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY"),
    (
        "no answer",
        "it takes connections and says nothing: see its log, and whether TIX_API_SSL is right",
    ),
    ("the connection broke", "see whether it speaks HTTPS there, then TIX_API_SSL is due"),
)


def api(settings: Settings) -> str:
    """Try it."""
    if not settings.posts:
        missing = "TIX_API_PASSWORD" if settings.api_user else "TIX_API_USER"
        raise errors.Unusable(f"{missing} is not set: set it, else results are kept, not posted")
    client = ApiClient(_hasty(settings))
    try:
        answer = client.ask(PATH)
        where = settings.api_base_url + (", through a proxy" if settings.api_proxy else "")
        _check_answer(answer, where, settings.api_user)
        anonymous = client.ask(PATH, anonymous=True)
    finally:
        client.close()
    if anonymous.outcome == "unauthorised":
        return f"{where} takes user {settings.api_user} and the password ({answer.reason})"
    return (
        f"{where} answers ({answer.reason}), but asks nobody for a password there:"
        " whether it takes ours shows only when the first result is posted"
    )


def _hasty(settings: Settings) -> Settings:
    """The settings with deadlines that fit into one try."""
    return replace(
        settings,
        api_connect_seconds=min(settings.api_connect_seconds, CONNECT_SECONDS),
        api_read_seconds=min(settings.api_read_seconds, READ_SECONDS),
        api_total_seconds=min(settings.api_total_seconds, TOTAL_SECONDS),
    )


def _check_answer(answer: Answer, where: str, user: str) -> None:
    """Raises Unusable where posts could not be accepted."""
    if answer.status is None:
        advice = next(words for start, words in _ADVICE if answer.reason.startswith(start))
        raise errors.Unusable(f"{where}: {answer.reason}: {advice}")
    if answer.outcome == "unauthorised":
        raise errors.Unusable(
            f"{where} refuses user {user} or the password ({answer.reason}):"
            " correct TIX_API_USER and TIX_API_PASSWORD"
        )
    if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        raise errors.Unusable(
            f"{where}: the proxy wants to know who we are: put user and password into its URL"
        )
    if 300 <= answer.status < 400:
        raise errors.Unusable(
            f"{where} sends us elsewhere ({answer.reason}), which tixd does not follow:"
            " correct TIX_API_HOST, TIX_API_PORT and TIX_API_SSL"
        )
    if answer.outcome == "later":
        raise errors.Unusable(f"{where} is in trouble ({answer.reason}): see its log")
