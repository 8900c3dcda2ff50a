"""A role's state as labelled facts in words, for `tixd status` and for the page.

Rules: a role is a mapping as /status has it: the members of a Snapshot. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tixd.runtime.status import duration, free_space

#: A label and what there is to say of it; "" continues the fact before.
Fact = tuple[str, str]

#: Facts that are a text of the role as it is, where it has one.
_TEXTS = {"leader": "leader", "SIGHUP": "reload_error", "listens": "listens"}

#: Facts about installations and senders: the label, the name of the count, of what it is, and what
#: it means.
_ATTENTION = (
    ("kept", "kept", "installation", ""),
    ("silent", "silent", "installation", " without results, which had some"),
    ("reports", "set_aside", "installation", " with reports set aside within a day"),
    ("blocked", "blocked", "installation", " that cannot be processed"),
    ("silent", "senders_silent", "sender", " without a request for 2 h"),
    ("failing", "senders_failing", "sender", " whose last bundle was not taken"),
)


def facts(role: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what there is to say of a role, but for its workers."""
    now = role["moment"]
    yield from ((label, role[name]) for label, name in _TEXTS.items() if role[name])
    if role["role"] != "collector":
        yield from _of_processing(role, now)
    for output in role["outputs"]:
        yield from _output(output, now)
    if role["role"] == "collector":
        taken = role["bundles"]["accepted"]
        yield "bundles", "none taken yet" if taken is None else f"last taken {_ago(now - taken)}"
    if role["history"]:
        yield from _history(role["history"])


def worker(found: Mapping[str, Any]) -> str:
    """Say what a worker process does."""
    if not found["ready"]:
        return f"starting for {duration(found['seconds'])}"
    if not found["job"]:
        return "waits for a job"
    doing = f"{found['phase']}, " if found["phase"] else ""
    return f"{found['job']}: {doing}for {duration(found['seconds'])}"


def _of_processing(role: Mapping[str, Any], now: float) -> Iterator[Fact]:
    if role["role"] != "worker":
        yield "cycle", _cycle(role["cycle"], now)
    if role["queue"]:
        yield "jobs", _queue(role["queue"])
    if role["role"] != "dispatcher":
        begun = max(role["open"] - role["waiting"], 0)
        yield "queue", f"{role['waiting']} waiting, {begun} being done"
        yield "volume", _volume(role["volume"], now)
        yield "tix-api", _api(role["api"], now)
    if role["broker"]:
        yield "broker", _broker(role["broker"], now)
    built = role["volume"]["asn_built"]
    if built is not None:
        yield "AS table", f"built {_ago(now - built)}" if built else "cannot be used, see the log"


def _history(history: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what the history says of installations or senders, and how it is itself."""
    told = history["summary"]
    for label, name, thing, what in _ATTENTION:
        if count := told.get(name):
            first = ", ".join(told[f"{name}_first"])
            more = ", ..." if count > len(told[f"{name}_first"]) else ""
            kept = f"{many(told['results_kept'], 'result')} of " if name == "kept" else ""
            command = "probes" if thing == "sender" else "installations"
            yield label, f"{kept}{many(count, thing)}{what}: {first}{more} (tixd {command})"
    yield "history", f"NOT WRITTEN: {history['reason']}" if history["reason"] else history["file"]


def _queue(queue: Mapping[str, Any]) -> str:
    waiting = f"{many(queue['messages'], 'message')} waiting"
    return f"{waiting} in {queue['name']}, {many(queue['consumers'], 'consumer')}"


def many(count: int, thing: str) -> str:
    """Return a number of things.

    >>> many(1, "sender"), many(2000, "sender")
    ('1 sender', '2,000 senders')
    """
    return f"{count:,} {thing}{'s' * (count != 1)}"


def _ago(seconds: float) -> str:
    return f"{duration(seconds)} ago"


def _cycle(cycle: Mapping[str, Any], now: float) -> str:
    parts = []
    if cycle["scanning_since"] is not None:
        parts.append(f"scanning for {duration(now - cycle['scanning_since'])}")
    if cycle["scanned"] is None:
        parts.append("no scan yet")
    else:
        took = f", took {cycle['scan_seconds']:.1f} s" if cycle["scan_seconds"] is not None else ""
        parts.append(f"last scan {_ago(now - cycle['scanned'])}{took}")
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
    return f"answered {_ago(now - volume['answered'])}{room}{trouble}"


def _api(api: Mapping[str, Any], now: float) -> str:
    posted, since = api["posted"], api["kept_since"]
    last = f"last post {_ago(now - posted)}" if posted else "nothing posted yet"
    where = f"{api['address']}, {last}" if api["address"] else last
    if since is None:
        return where
    return f"{where}, results kept for {duration(now - since)}: {api['reason']}"


def _broker(broker: Mapping[str, Any], now: float) -> str:
    confirmed = broker["confirmed"]
    last = f"last confirm {_ago(now - confirmed)}" if confirmed else "no confirm yet"
    reason = broker["reason"]
    if not broker["address"]:
        return f"{last}, {reason}" if reason else last
    return f"{broker['address']}, {reason.removeprefix(broker['address'] + ': ') or last}"


def _output(output: Mapping[str, Any], now: float) -> Iterator[Fact]:
    """Yield where an output of the collector leads, and what it took and refused last."""
    yield "output", f"{output['name']}: {output['target']}"
    confirmed, refused = output["confirmed"], output["refused"]
    last = f"last confirm {_ago(now - confirmed)}" if confirmed else "no confirm yet"
    address, _, _ = output["target"].partition(", ")
    reason = output["reason"].removeprefix(f"{address}: ")
    yield "", f"{last}, {reason}" if reason else last
    if refused:
        yield "", f"last refusal {_ago(now - refused)}: {output['refusal']}"
