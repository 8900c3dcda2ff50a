"""Decide who may look at the page.

Rules: a token, where one is set, is asked for everywhere; without one only connections over the
loopback are answered, and of those only requests that name an address or localhost, so that no web
site that a person of this host visits can read the page (DNS rebinding). Pure.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
from dataclasses import dataclass

from tixd.config.fields import Secret

#: Asks a browser for a password; any name will do.
_ASK = 'Basic realm="tixd", charset="UTF-8"'

#: Asks for a token without a browser's dialog: no password could open the page.
_NO_DIALOG = 'Bearer realm="tixd"'

#: Headers that proxies add.
PROXY_HEADERS = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Via")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered: HTTP status, words, and the WWW-Authenticate of a 401."""

    status: int
    words: str
    challenge: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """A request as far as access goes: the address it came in at, and its headers.

    local: this side's address of the connection; "" where it is unknown; is_proxied: whether a
    header tells that a proxy brought it.
    """

    local: str
    host: str
    authorization: str
    is_proxied: bool = False


def refusal(caller: Caller, token: Secret, setting: str) -> Refusal | None:
    """Return why this caller may not look; None: it may. setting: which one has the token."""
    if token:
        if _is_given(token, caller.authorization):
            return None
        return Refusal(401, f"the page asks for the token of {setting}, as password", _ASK)
    if not _is_loopback(caller.local):
        words = (
            f"the page is closed on this address: set {setting}, and give that token as password;"
            " or look from the host itself, without one"
        )
        return Refusal(401, words, _NO_DIALOG)
    if caller.is_proxied:
        words = f"a proxy brought this request, maybe from anywhere: set {setting}"
        return Refusal(403, words)
    if not names_this_host(caller.host):
        words = (
            "without a token the page is only at localhost or at an address:"
            f" set {setting} to look under another name"
        )
        return Refusal(403, words)
    return None


def _is_given(token: Secret, authorization: str) -> bool:
    """Compare in a time that does not tell how much of the token is right."""
    scheme, _, credentials = authorization.partition(" ")
    given = credentials.strip().encode(errors="surrogateescape")
    if scheme.lower() == "basic":
        given = _password(given)
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given, token.reveal().encode(errors="surrogateescape"))


def _password(credentials: bytes) -> bytes:
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        return b""


def is_closed(address: str, token: Secret) -> bool:
    """Return whether nobody may look at this host:port; a name is taken for another host's.

    >>> [is_closed(where, Secret()) for where in ("localhost:1", "[::1]:1", "0.0.0.0:1", ":1")]
    [False, False, True, True]
    """
    host = address.rpartition(":")[0].strip("[]")
    return not token and host.lower() != "localhost" and not _is_loopback(host)


def _is_loopback(local: str) -> bool:
    try:
        found = ipaddress.ip_address(local.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def names_this_host(host: str) -> bool:
    """Return whether a Host header is an address or localhost, with or without a port.

    >>> [names_this_host(host) for host in ("127.0.0.1:8889", "[::1]", "localhost:1", "::1")]
    [True, True, True, True]
    >>> [names_this_host(host) for host in ("", "evil.example", "localhost.evil.example", "1:x")]
    [False, False, False, False]
    """
    name, colon, port = host.rpartition(":")
    if not (colon and port.isdecimal() and name.endswith(("]", *"0123456789", "localhost"))):
        name = host
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
