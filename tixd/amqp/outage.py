"""Say why there is no connection to a broker: the object, what is wrong with it, its setting.

Rules: where the broker or the kernel said what is wrong, nothing else is suggested; a password is
never said. Pure.
"""

from __future__ import annotations

import re
from dataclasses import asdict

from tixd.amqp.messages import Endpoint
from tixd.errors import BrokerError

#: What was said, and what that means; names in braces are settings, groups or our login.
_MEANINGS = tuple(
    (re.compile(said, re.DOTALL), meaning)
    for said, meaning in (
        (r"Name or service not known|No address associated", "host name unknown ({host})"),
        (r"Temporary failure in name", "the name service does not answer for this host ({host})"),
        (r"Connection refused", "Connection refused: nothing listens there ({host}, {port})"),
        (r"No route to host|Network is unreachable", "{said} ({host})"),
        (r"no connection in time", "no connection in time: {seen} ({host}, {port})"),
        (r"vhost '?(?P<object>.+?)'? not found", "vhost {object} does not exist ({vhost})"),
        (
            r"access to vhost '(?P<object>.+)' refused",
            "user {login} has no rights in vhost {object} ({user}, {vhost})",
        ),
        (r"^access to .+ refused for user", "{said}: give that user the right"),
        (r"Login was refused", "user {login} or the password is refused ({user}, {password})"),
        (r"\[SSL: \w*CERT|cannot use ", "{said} ({tls})"),
    )
)

#: The name of a reply code, which RabbitMQ puts before its sentence.
_CODE = re.compile(r"^[A-Z]+_[A-Z_]+ - ")

#: What drops packets without a word.
_DROPPED = "a firewall on the way, or a host that is down"


def why_not_connected(error: BrokerError, endpoint: Endpoint) -> str:
    """Describe what ended a connection, or kept it from being made.

    >>> from tixd.config.fields import Secret
    >>> here = Endpoint("a", 5672, "tix", Secret("x"), "new")
    >>> why_not_connected(BrokerError("NOT_ALLOWED - vhost new not found"), here)
    'vhost new does not exist (TIX_RABBITMQ_VHOST)'
    >>> why_not_connected(BrokerError("INTERNAL_ERROR - out of cookies"), here)
    'out of cookies'
    """
    said = _CODE.sub("", error.detail)
    for pattern, meaning in _MEANINGS:
        if found := pattern.search(said):
            names = {**asdict(endpoint.names), **found.groupdict()}
            return meaning.format(**names, said=said, login=endpoint.user, seen=_DROPPED)
    return said or str(error)
