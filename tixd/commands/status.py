"""`tixd status`: what the tixd running here is doing.

Asks GET /status of each role's control socket (runtime/control.py). Rules: nothing is started, no
report is touched; the first line of a role says the worst that there is to say of it; on a terminal
lines are folded between words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from tixd.commands import AnyInvocation, ask_roles, asker
from tixd.commands.output import COLLECTOR_WORDS, WORDS, count_lines, fold, format_option
from tixd.display import moment
from tixd.runtime import status_words
from tixd.runtime.status import duration

#: How long --watch waits for an answer of a role: meanwhile it hears no key.
WATCH_SECONDS = 2.0


@click.command()
@format_option("a page to read, or one JSON object a line for each role")
@click.option("--watch", is_flag=True, help="redraw the page each second, until q or Ctrl-C")
@click.pass_obj
def command(invocation: AnyInvocation, *, form: str, watch: bool) -> None:
    """Show what the tixd that runs on this machine does, role by role.

    Exit code 1: none runs, or none that this user may ask; --watch has no terminal.

    \b
    Examples: is it working, and on what? On a terminal, for a while
      tixd status
      tixd status --watch
    """
    if watch:
        if form == "json":
            raise click.UsageError("--watch shows the page: leave out --format json")
        from tixd.commands import status_watch  # noqa: PLC0415 - only this shows a screen

        status_watch.watch(asker(invocation, WATCH_SECONDS), page)
        return
    for number, role in enumerate(ask_roles(invocation)):
        if form == "json":
            print(json.dumps(role))
        else:
            print(*([""] if number else []), *fold(page(role)), sep="\n")


def page(role: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines about one role."""
    yield f"{role['role']}, pid {role['pid']}: {role['headline']}"
    now = role["moment"]
    up = f"{duration(now - role['started'])}, since {moment(role['started'])}"
    yield f"  up       {up}, tixd {role['version']}"
    for label, said in status_words.facts(role):
        yield f"  {label:8} {said}"
    name = "scanner" if role["role"] == "dispatcher" else "worker "
    for worker in role["workers"]:
        yield f"  {name}  {worker['pid']} {status_words.worker(worker)}"
    words = WORDS if role["role"] != "collector" else COLLECTOR_WORDS
    yield from count_lines(role["counts"], words)
