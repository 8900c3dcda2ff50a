"""`tixd failed list` and `tixd failed retry`: results that the tix-api does not have yet.

Rules: this command touches no report itself, the workers of a running role do; `retry` posts
nothing at once: what it brings back goes out with the next visit of the installation.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from tixd.commands import Invocation, ask_running
from tixd.commands.output import count_line, format_option, moment, print_columns
from tixd.runtime import control
from tixd.runtime.status import duration

#: How long the workers may take: many installations on a slow volume, behind other jobs.
ANSWER_SECONDS = 600.0


@click.group()
def command() -> None:
    """List or retry results that could not be posted."""


_format = format_option("a table to read, or one JSON object a line")


@command.command("list", short_help="Show the results in failed-results")
@click.argument("user", type=click.IntRange(min=1), required=False)
@click.argument("installation", type=click.IntRange(min=1), required=False)
@_format
@click.pass_obj
def list_(invocation: Invocation, user: int | None, installation: int | None, form: str) -> None:
    """Show what is kept in failed-results, of all installations or of one USER or INSTALLATION.

    Kept results are posted again at the next visit to their installation: in the next cycle while
    new reports come, else within an hour; where a pause is shown, after it. Rejected results wait
    until `tixd failed retry` brings them back.

    \b
    Example: the results of everybody
      tixd failed list
    """
    answer = _ask(invocation, "GET /failed", user, installation)
    if form == "json":
        _print_lines(answer)
        return
    head = ("user", "installation", "kept", "oldest", "next try", "rejected", "reason")
    rows = [_row(found, answer["moment"]) for found in answer["installations"]]
    if rows:
        print_columns([head, *rows])
    else:
        print("nothing is kept in failed-results")
    _say_left_out(answer)


@command.command(short_help="Bring back rejected results, and end pauses")
@click.argument("user", type=click.IntRange(min=1), required=False)
@click.argument("installation", type=click.IntRange(min=1), required=False)
@click.option("--all", "everybody", is_flag=True, help="of all installations")
@_format
@click.pass_obj
def retry(
    invocation: Invocation,
    user: int | None,
    installation: int | None,
    *,
    everybody: bool,
    form: str,
) -> None:
    """Bring back rejected results of a USER, of an INSTALLATION of it, or of --all, and end pauses.

    They are posted at the next visit to their installation.

    \b
    Example: after the rights of user 7 at the tix-api were corrected
      tixd failed retry 7
    """
    if everybody == (user is not None):
        raise click.UsageError("name a user, or a user and an installation, or give --all")
    answer = _ask(invocation, "POST /failed/retry", user, installation)
    if form == "json":
        _print_lines(answer)
        return
    for found in answer["installations"]:
        names = f"{found['user']}/{found['installation']}"
        print(count_line(found["brought_back"], f"brought back in {names}"))
    if not answer["installations"]:
        print("nothing was rejected; pauses have ended")
    _say_left_out(answer)


def _ask(
    invocation: Invocation, request: str, user: int | None, installation: int | None
) -> Mapping[str, Any]:
    ids = {"user": user, "installation": installation}
    request += "?" + "&".join(f"{name}={number}" for name, number in ids.items() if number)
    loaded = invocation.load_for_asking()
    answer: Mapping[str, Any] = ask_running(loaded, control.ask_one, request, ANSWER_SECONDS)
    return answer


def _row(found: Mapping[str, Any], now: float) -> tuple[str, ...]:
    return (
        str(found["user"]),
        str(found["installation"]),
        f"{found['waiting']:,}",
        moment(found["oldest"]) if found["waiting"] else "",
        _next_try(found, now),
        f"{found['rejected']:,}" if found["rejected"] else "",
        found["reason"],
    )


def _next_try(found: Mapping[str, Any], now: float) -> str:
    if not found["waiting"]:
        return ""
    until = found["paused_until"]
    return f"in {duration(until - now)}" if until else "next visit"


def _print_lines(answer: Mapping[str, Any]) -> None:
    for found in answer["installations"]:
        print(json.dumps(found))
    _say_left_out(answer)


def _say_left_out(answer: Mapping[str, Any]) -> None:
    """Name on standard error what was left out, so that a part is not taken for the whole."""
    for member, why in (("locked", "busy, try again"), ("failed", "see the log")):
        if answer[member]:
            print(f"{answer[member]:,} installations left out: {why}", file=sys.stderr)
