"""`tixd health`: whether the tixd that runs here can work.

Exit code 0 or 1, because container engines know these two only. Rules: it may be run every few
seconds, so it imports little.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import click

from tixd import errors
from tixd.commands import Invocation, ask_running
from tixd.runtime import control
from tixd.runtime.status import Snapshot

#: How long a running tixd may take to answer; it answers from memory.
ANSWER_SECONDS = 5.0

#: What a role is asked.
_STATUS = "GET /status"

#: What it must tell.
_MEMBERS = {field.name for field in fields(Snapshot)} | {"not_ready"}


@click.command()
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Say "ready", or why the tixd that runs here is not, for scripts and container checks.

    Exit code 0: every role that runs here is ready (a stand-by is ready too); else 1.

    \b
    Example: in a Dockerfile
      HEALTHCHECK CMD ["tixd", "health"]
    """
    try:
        roles = ask_roles(invocation)
    except errors.OperatorError as error:
        silent = isinstance(error, errors.NotRunning)
        print(f"{'not running' if silent else 'no answer'}\n{error}")
        sys.exit(1)
    reasons = [f"{role['role']}: {reason}" for role in roles for reason in role["not_ready"]]
    print("\n".join(["not ready", *reasons] if reasons else ["ready"]))
    sys.exit(1 if reasons else 0)


def ask_roles(invocation: Invocation) -> list[Mapping[str, Any]]:
    """Return the status of every role here, or of the one that the settings name."""
    loaded = invocation.load_for_asking()
    roles = ask_running(loaded, control.ask_all, _STATUS, ANSWER_SECONDS)
    if not all(isinstance(told, dict) and told.keys() >= _MEMBERS for told in roles):
        raise errors.NotDone("what runs here is another version of tixd: use the command of that")
    return roles
