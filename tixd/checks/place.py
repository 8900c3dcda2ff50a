"""Where a role is seen: its HTTP address, and its control socket.

In: an address, or what the environment says of this process. Out: whether it can be had. Rules: an
address or a socket that a running tixd has is as it should be.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client

from tixd import control, errors
from tixd.serving import bound_or_refused
from tixd.surroundings import Surroundings

#: How long whoever has the address, or the role's socket, may take to answer.
ANSWER_SECONDS = 3.0


def http_address(address: str, setting: str) -> str:
    """Try the address, which `setting` names."""
    if address == "off":
        return "off: no /healthz, /readyz and /metrics"
    try:
        sockets = asyncio.run(bound_or_refused(address))
    except errors.CannotStart as error:
        if _tixd_answers(address):
            return f"{address}: a running tixd answers there"
        raise errors.Unusable(f"{error.detail}: end what has it, or correct {setting}") from None
    for sock in sockets:
        sock.close()
    return f"{address} is free"


def control_socket(around: Surroundings, role: str) -> str:
    """Try to have one in the runtime folder."""
    try:
        folder = control.try_socket(around, role)
    except OSError as error:
        raise errors.Unusable(
            f"no control socket can be made: {error.strerror or error}: tixd status and tixd health"
            " need a folder of this user in RUNTIME_DIRECTORY or XDG_RUNTIME_DIR"
        ) from None
    return f"can be made in {folder}; {_running(around, role)}"


def _running(around: Surroundings, role: str) -> str:
    """Which process of the role runs here."""
    with contextlib.suppress(errors.OperatorError):
        for found in control.ask_all(around, role, {"ask": "status"}, ANSWER_SECONDS):
            return f"a {role} runs here, pid {found['pid']}"
    return f"no {role} runs here"


def _tixd_answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    there = host.strip("[]") or "localhost"
    connection = http.client.HTTPConnection(there, int(port), timeout=ANSWER_SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request("HEAD", "/healthz")
            return connection.getresponse().headers.get("Server") == "tixd"
        except (OSError, http.client.HTTPException):
            return False
