"""`tixd health`: whether the tixd that runs here can work.

Exit code 0 or 1, because container engines know these two only. Rules: it may be run every few
seconds, so it imports little.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from tixd import errors
from tixd.commands import AnyInvocation, ask_roles


@click.command()
@click.pass_obj
def command(invocation: AnyInvocation) -> None:
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
        _end_unhealthy("not running" if silent else "no answer", str(error))
    reasons = [f"{role['role']}: {reason}" for role in roles for reason in role["not_ready"]]
    if reasons:
        _end_unhealthy("not ready", *reasons)
    print("ready")


def _end_unhealthy(*lines: str) -> NoReturn:
    from tixd.commands.output import fold  # noqa: PLC0415 - see above

    print(*fold(lines), sep="\n")
    sys.exit(1)
