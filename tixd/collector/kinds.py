"""The types of usage records: which rule each child of theirs has; pure.

In: nothing. Out: KINDS, of which the manual's table of keys is made. Rules: collector.md §3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from tixd.collector import mapping
from tixd.collector.conversions import MAX_UNSIGNED, Value, key_part, number, seconds, time, whole
from tixd.collector.mapping import (
    DESCRIPTION,
    Flat,
    Rule,
    suffix_row,
    write_description,
    write_positive,
)
from tixd.collector.record_parser import attributes, text


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A type of record: its published name, rules of its children, key that identifies it, end."""

    name: str
    rules: Mapping[str, Rule]
    identity: str
    finish: Callable[[Flat], None]


def _finish_job(flat: Flat) -> None:
    keys = flat.fixed
    keys["CpuDuration"] = number(flat.cpu_seconds)
    keys.setdefault("WallDuration", 0)
    kind = keys.get("ResourceType")
    keys["ResourceType"] = {"": "Batch", "BatchPilot": "Payload"}.get(str(kind or ""), kind or "")
    if len(flat.process_ids) == 1:
        keys["ProcessId"] = flat.process_ids[0]
    else:
        keys.update((f"ProcessId{i}", text) for i, text in enumerate(flat.process_ids))


def _finish_storage(flat: Flat) -> None:
    flat.fixed.setdefault("UniqueID", "")


def _text_rule(key: str) -> Rule:
    """An element that is a text."""

    def write(element: Element, flat: Flat) -> None:
        if value := text(element):
            flat.fixed[key] = value

    return Rule(write, (("", key, "text"),))


def _time_rule(key: str) -> Rule:
    """An element that is a time."""

    def write(element: Element, flat: Flat) -> None:
        flat.fixed[key] = time(text(element), key)

    return Rule(write, (("", key, "time"),))


def _whole_rule(key: str) -> Rule:
    """An element that is a whole number of 64 bits."""

    def write(element: Element, flat: Flat) -> None:
        if value := text(element):
            write_positive(flat.fixed, key, whole(value, key, MAX_UNSIGNED))

    return Rule(write, (("", key, "whole number, if over 0"),))


def _typed_rule(prefix: str, value: Callable[[str, str], Value], kind: str) -> Rule:
    """An element whose attribute `type` is part of the key."""

    def write(element: Element, flat: Flat) -> None:
        given = attributes(element)
        key = f"{prefix}_{key_part(given.get('type', ''))}"
        flat.fixed[key] = value(text(element), key)
        write_description(given, key, flat)

    key = f"{prefix}_TYPE"
    return Rule(write, (("", key, kind), suffix_row(key, DESCRIPTION)))


_JOB_RULES = {
    "RecordIdentity": mapping.RECORD_IDENTITY,
    "JobIdentity": mapping.JOB_IDENTITY,
    "UserIdentity": mapping.USER_IDENTITY,
    "StartTime": _time_rule("StartTime"),
    "EndTime": _time_rule("EndTime"),
    "CpuDuration": mapping.CPU_DURATION,
    "WallDuration": mapping.WALL_DURATION,
    "Resource": mapping.RESOURCE,
    "ConsumableResource": mapping.RESOURCE,
    "PhaseResource": mapping.RESOURCE,
    "VolumeResource": mapping.RESOURCE,
    "TimeDuration": _typed_rule("TimeDuration", lambda value, _: seconds(value), "seconds"),
    "TimeInstant": _typed_rule("TimeInstant", time, "time"),
    "Origin": mapping.ORIGIN,
}

_STORAGE_RULES = {
    "UniqueID": _text_rule("UniqueID"),
    "Timestamp": _time_rule("Timestamp"),
    "Origin": mapping.ORIGIN,
}

_SPACES = {
    key: _whole_rule(key)
    for key in ("TotalSpace", "FreeSpace", "UsedSpace", "FileCount", "FileCountLimit")
}

#: What a probe begins its run with: no record, and nothing unknown.
HANDSHAKE = "ProbeDetails"

_JOB = Kind("JobUsageRecord", _JOB_RULES, "RecordId", _finish_job)

#: Every type of record that is known, by the local name of its element.
KINDS = {
    "JobUsageRecord": _JOB,
    "UsageRecord": _JOB,
    "StorageElement": Kind("StorageElement", _STORAGE_RULES, "UniqueID", _finish_storage),
    "StorageElementRecord": Kind(
        "StorageElementRecord", _STORAGE_RULES | _SPACES, "UniqueID", _finish_storage
    ),
}
