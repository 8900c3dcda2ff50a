"""`tixd failed list` and `tixd failed retry`: results that the tix-api does not have yet.

Rules: this command touches no report itself, the workers of a running role do; without `--now`
`retry` posts nothing: what it brings back goes out in the next cycle.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from tixd import errors
from tixd.commands import Invocation, ask_running
from tixd.commands.installations import as_ids
from tixd.commands.output import count_line, fold, format_option, print_columns, terminal_columns
from tixd.display import moment
from tixd.results.response import with_hint
from tixd.runtime import control
from tixd.runtime.status import duration

#: The columns of the table.
_HEAD = ("user", "installation", "kept", "oldest", "next try", "rejected", "reason")

#: A terminal narrower than this many columns has no room for the table.
WIDE_COLUMNS = 120

#: How long the workers may take: many installations on a slow volume, behind other jobs.
ANSWER_SECONDS = 600.0


@click.group()
def command() -> None:
    """List or retry results that could not be posted."""


def _as_ids(
    context: click.Context, parameter: click.Parameter, words: tuple[str, ...]
) -> tuple[int, int]:
    """Read USER/INSTALLATION, also as two words; 0 stands for what is not named."""
    return as_ids(context, parameter, "/".join(words) if words else None)


_ids = click.argument("ids", metavar="[USER[/INSTALLATION]]", nargs=-1, callback=_as_ids)
_format = format_option("a table to read, or one JSON object a line")


@command.command("list", short_help="Show the results in failed-results")
@_ids
@_format
@click.pass_obj
def list_(invocation: Invocation, ids: tuple[int, int], form: str) -> None:
    """Show what is kept in failed-results, of all installations, of a USER's, or of one.

    Kept results will be tried again by themselves, at the time that is shown. Rejected results,
    which the tix-api refused for good, stay until `tixd failed retry` brings them back.

    \b
    Examples: the results of everybody; of one installation
      tixd failed list
      tixd failed list 7/1
    """
    try:
        answer = _ask(invocation, "GET /failed", ids)
    except errors.NotRunning as error:
        raise errors.NotDone(
            f"{str(error).rstrip('.')}; without a service: tixd installations"
        ) from error
    if form == "json":
        _print_lines(answer)
        return
    rows = [_row(found, answer["moment"]) for found in answer["installations"]]
    if not rows:
        print("nothing is kept, nothing was rejected")
    elif terminal_columns() < WIDE_COLUMNS:
        print(*fold(line for row in rows for line in _lines(row)), sep="\n")
    else:
        print_columns([_HEAD, *rows])
    _say_left_out(answer)


@command.command(short_help="Bring back rejected results, and end pauses")
@_ids
@click.option("--all", "everybody", is_flag=True, help="of all installations")
@click.option("--now", "at_once", is_flag=True, help="also post what is kept at once, and wait")
@_format
@click.pass_obj
def retry(
    invocation: Invocation,
    ids: tuple[int, int],
    *,
    everybody: bool,
    at_once: bool,
    form: str,
) -> None:
    """Bring back rejected results of a USER, of one INSTALLATION, or of --all, and end pauses.

    They are posted in the next cycle, with --now at once, and so are the kept results.

    \b
    Examples: user 7 may post again; the tix-api works again
      tixd failed retry 7
      tixd failed retry --all --now
    """
    if everybody == (ids != (0, 0)):
        raise click.UsageError("name a user as 7, or an installation as 7/1, or give --all")
    now = {"now": 1} if at_once else {}
    answer = _ask(invocation, "POST /failed/retry", ids, **now)
    if form == "json":
        _print_lines(answer)
        return
    for found in answer["installations"]:
        names = f"{found['user']}/{found['installation']}"
        print(count_line(found["brought_back"], f"brought back in {names}"))
    if not answer["installations"]:
        print("nothing was rejected; pauses have ended")
    if at_once:
        print(count_line(answer["posted"], "kept results posted"))
        for found in answer["kept"]:
            names = f"{found['user']}/{found['installation']}"
            why = f": {with_hint(found['reason'])}" if found["reason"] else ""
            print(*fold([count_line(found["waiting"], f"still kept in {names}{why}")]), sep="\n")
    _say_left_out(answer)


def _ask(
    invocation: Invocation, request: str, ids: tuple[int, int], **more: int
) -> Mapping[str, Any]:
    named = {**dict(zip(("user", "installation"), ids, strict=True)), **more}
    request += "?" + "&".join(f"{name}={number}" for name, number in named.items() if number)
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
        with_hint(found["reason"]) or ("not tried yet" if found["waiting"] else ""),
    )


def _lines(row: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines about an installation on a terminal that has no room for a table."""
    user, installation, kept, oldest, next_try, rejected, reason = row
    parts = [f"{kept} kept, the oldest of {oldest}, next try {next_try}"] if oldest else []
    parts += [f"{rejected} rejected"] if rejected else []
    yield f"{user}/{installation}: {'; '.join(parts)}"
    if reason:
        yield f"    {reason}"


def _next_try(found: Mapping[str, Any], now: float) -> str:
    if not found["waiting"]:
        return ""
    seconds = found["next_try"] - now
    return f"in {duration(seconds)}" if seconds > 0 else "next cycle"


def _print_lines(answer: Mapping[str, Any]) -> None:
    for found in answer["installations"]:
        print(json.dumps(found))
    _say_left_out(answer)


def _say_left_out(answer: Mapping[str, Any]) -> None:
    """Name on standard error what was left out, so that a part is not taken for the whole."""
    for member, why in (("locked", "busy, try again"), ("failed", "see the log")):
        if answer[member]:
            print(f"{answer[member]:,} installations left out: {why}", file=sys.stderr)
