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
from tixd.runtime.status import duration, free_space

#: How long --watch waits for an answer of a role: meanwhile it hears no key.
WATCH_SECONDS = 2.0

#: Lines that are a text of the role as it is, where it has one.
_TEXTS = {"leader": "leader", "SIGHUP": "reload_error", "listens": "listens"}


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
    for label, name in _TEXTS.items():
        if role[name]:
            yield f"  {label:8} {role[name]}"
    if role["role"] != "collector":
        yield from _of_processing(role, now)
    for output in role["outputs"]:
        yield from _output(output, now)
    if role["role"] == "collector":
        taken = role["bundles"]["accepted"]
        last = "none taken yet" if taken is None else f"last taken {duration(now - taken)} ago"
        yield f"  bundles  {last}"
    if role["history"]:
        yield from _history(role["history"])
    name = "scanner" if role["role"] == "dispatcher" else "worker "
    for worker in role["workers"]:
        yield f"  {name}  {worker['pid']} {_worker(worker)}"
    words = WORDS if role["role"] != "collector" else COLLECTOR_WORDS
    yield from count_lines(role["counts"], words)


def _of_processing(role: Mapping[str, Any], now: float) -> Iterator[str]:
    if role["role"] != "worker":
        yield f"  cycle    {_cycle(role['cycle'], now)}"
    if role["queue"]:
        yield f"  jobs     {_queue(role['queue'])}"
    if role["role"] != "dispatcher":
        begun = max(role["open"] - role["waiting"], 0)
        yield f"  queue    {role['waiting']} waiting, {begun} being done"
        yield f"  volume   {_volume(role['volume'], now)}"
        yield f"  tix-api  {_api(role['api'], now)}"
    if role["broker"]:
        yield f"  broker   {_broker(role['broker'], now)}"
    built = role["volume"]["asn_built"]
    if built is not None:
        age = f"built {duration(now - built)} ago" if built else "cannot be used, see the log"
        yield f"  AS table {age}"


def _history(history: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the history says of installations or senders, and how it is itself."""
    told = history["summary"]
    for label, name, thing, what in _ATTENTION:
        if count := told.get(name):
            first = ", ".join(told[f"{name}_first"])
            more = ", ..." if count > len(told[f"{name}_first"]) else ""
            kept = f"{_many(told['results_kept'], 'result')} of " if name == "kept" else ""
            command = "probes" if thing == "sender" else "installations"
            yield f"  {label:8} {kept}{_many(count, thing)}{what}: {first}{more} (tixd {command})"
    state = f"NOT WRITTEN: {history['reason']}" if history["reason"] else history["file"]
    yield f"  history  {state}"


#: Lines about installations and senders: what stands before, the name of the count, of what it is,
#: and what it means.
_ATTENTION = (
    ("kept", "kept", "installation", ""),
    ("silent", "silent", "installation", " without results, which had some"),
    ("reports", "set_aside", "installation", " with reports set aside within a day"),
    ("blocked", "blocked", "installation", " that cannot be processed"),
    ("silent", "senders_silent", "sender", " without a request for 2 h"),
    ("failing", "senders_failing", "sender", " whose last bundle was not taken"),
)


def _queue(queue: Mapping[str, Any]) -> str:
    waiting = f"{_many(queue['messages'], 'message')} waiting"
    return f"{waiting} in {queue['name']}, {_many(queue['consumers'], 'consumer')}"


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'s' * (count != 1)}"


def _cycle(cycle: Mapping[str, Any], now: float) -> str:
    parts = []
    if cycle["scanning_since"] is not None:
        parts.append(f"scanning for {duration(now - cycle['scanning_since'])}")
    if cycle["scanned"] is None:
        parts.append("no scan yet")
    else:
        took = f", took {cycle['scan_seconds']:.1f} s" if cycle["scan_seconds"] is not None else ""
        parts.append(f"last scan {duration(now - cycle['scanned'])} ago{took}")
    if cycle["next_due"] is not None:
        wait_seconds = cycle["next_due"] - now
        parts.append(f"next in {duration(wait_seconds)}" if wait_seconds > 0 else "next now")
    return ", ".join(parts)


def _volume(volume: Mapping[str, Any], now: float) -> str:
    if volume["answered"] is None:
        return volume["error"] or "no answer yet"
    free = volume["free_bytes"]
    room = "" if free is None else f", {free_space(free)}"
    trouble = f", {volume['error']}" if volume["error"] else ""
    return f"answered {duration(now - volume['answered'])} ago{room}{trouble}"


def _api(api: Mapping[str, Any], now: float) -> str:
    posted, since = api["posted"], api["kept_since"]
    last = f"last post {duration(now - posted)} ago" if posted else "nothing posted yet"
    where = f"{api['address']}, {last}" if api["address"] else last
    if since is None:
        return where
    return f"{where}, results are kept since {duration(now - since)}: {api['reason']}"


def _broker(broker: Mapping[str, Any], now: float) -> str:
    confirmed = broker["confirmed"]
    last = f"last confirm {duration(now - confirmed)} ago" if confirmed else "no confirm yet"
    reason = broker["reason"]
    if not broker["address"]:
        return f"{last}, {reason}" if reason else last
    return f"{broker['address']}, {reason.removeprefix(broker['address'] + ': ') or last}"


def _output(output: Mapping[str, Any], now: float) -> Iterator[str]:
    """Yield where an output of the collector leads, and what it took and refused last."""
    yield f"  output   {output['name']}: {output['target']}"
    confirmed, refused = output["confirmed"], output["refused"]
    last = f"last confirm {duration(now - confirmed)} ago" if confirmed else "no confirm yet"
    address, _, _ = output["target"].partition(", ")
    reason = output["reason"].removeprefix(f"{address}: ")
    yield f"           {last}, {reason}" if reason else f"           {last}"
    if refused:
        yield f"           last refusal {duration(now - refused)} ago: {output['refusal']}"


def _worker(worker: Mapping[str, Any]) -> str:
    if not worker["ready"]:
        return f"starting for {duration(worker['seconds'])}"
    if not worker["job"]:
        return "waits for a job"
    doing = f"{worker['phase']}, " if worker["phase"] else ""
    return f"{worker['job']}: {doing}for {duration(worker['seconds'])}"
