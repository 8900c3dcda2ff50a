"""What the elements of usage records become: element by element, as tables.

In: a child of a record. Out: keys in the flat map that is published. Rules: collector.md §3; a Rule
writes keys and says which they are, so that the manual's table is made from these tables. Empty
text and empty attributes are as if they were not there; of a key that repeats the last one stands.

The types of usage records: which rule each child of theirs has.

In: nothing. Out: KINDS. Rules: collector.md §3. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from tixd.collector.conversions import (
    MAX_SIGNED,
    MAX_UNSIGNED,
    Value,
    key_part,
    number,
    seconds,
    time,
    whole,
)
from tixd.collector.record_parser import LOCAL, attributes, text


@dataclass(slots=True)
class Flat:
    """The map of a record while it is made.

    fixed: keys that tixd gives a meaning; other: those that children name, which never win over
    them; cpu_seconds: the sum so far; process_ids: in their order.
    """

    fixed: dict[str, Value] = field(default_factory=dict)
    other: dict[str, Value] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    process_ids: list[str] = field(default_factory=list)


#: Where in the element (@attribute, /child), which key, what value.
Row = tuple[str, str, str]

Write = Callable[[Element, Flat], None]


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of an element: what writes its keys, and its rows in the manual."""

    write: Write
    rows: tuple[Row, ...]


#: Attributes that become keys of their own, behind the key of their element.
_SUFFIXES = ("description", "unit", "phaseUnit", "storageUnit", "formula", "metric")
_RESOURCE_SUFFIXES = ("unit", "phaseUnit", "storageUnit")
DESCRIPTION = ("description",)

_JOB_IDENTITY = ("GlobalJobId", "LocalJobId")
_USER_IDENTITY = ("GlobalUsername", "LocalUserId", "VOName", "ReportableVOName", "CommonName", "DN")

#: Children of Connection, and their keys.
_CONNECTION = {
    "SenderHost": "OriginSenderHost",
    "Sender": "OriginSender",
    "Collector": "OriginCollector",
}


def _write_suffixes(
    element: Element, key: str, keys: dict[str, Value], wanted: Container[str]
) -> None:
    for name, value in element.items():
        suffix = LOCAL[name]
        if value and suffix in wanted:
            keys[f"{key}_{suffix}"] = seconds(value) if suffix == "phaseUnit" else value


def write_description(given: Mapping[str, str], key: str, flat: Flat) -> None:
    """Write the attribute `description` of an element that has this key, if it has one."""
    if "description" in given:
        flat.fixed[f"{key}_description"] = given["description"]


def suffix_row(key: str, wanted: Iterable[str]) -> Row:
    """The manual's row of attributes that have keys of their own."""
    value = "text; phaseUnit: seconds" if "phaseUnit" in wanted else "text"
    ends = [f"{key}_{suffix}" for suffix in wanted]
    return ", ".join(f"@{suffix}" for suffix in wanted), ", ".join(ends), value


def _write_other(element: Element, flat: Flat) -> None:
    key = LOCAL[element.tag]
    if value := text(element):
        flat.other[key] = value
    if element.keys():
        _write_suffixes(element, key, flat.other, _SUFFIXES)


def write_positive(keys: dict[str, Value], key: str, value: int) -> None:
    """Write a number; 0 is as if it had never been said, earlier in the record either."""
    keys[key] = value
    if not value:
        del keys[key]


def _write_texts(element: Element, keys: Container[str], flat: Flat) -> None:
    for child in element:
        name = LOCAL[child.tag]
        if name in keys and (value := text(child)):
            flat.fixed[name] = value


def _write_record_identity(element: Element, flat: Flat) -> None:
    given = attributes(element)
    if "recordId" in given:
        flat.fixed["RecordId"] = given["recordId"]
    if "createTime" in given:
        flat.fixed["CreateTime"] = time(given["createTime"], "CreateTime")


def _write_job_identity(element: Element, flat: Flat) -> None:
    _write_texts(element, _JOB_IDENTITY, flat)
    ids = (text(child) for child in element if LOCAL[child.tag] == "ProcessId")
    flat.process_ids += filter(None, ids)


def _write_user_identity(element: Element, flat: Flat) -> None:
    _write_texts(element, _USER_IDENTITY, flat)


def _write_wall(element: Element, flat: Flat) -> None:
    flat.fixed["WallDuration"] = seconds(text(element))
    write_description(attributes(element), "WallDuration", flat)


def _write_cpu(element: Element, flat: Flat) -> None:
    duration = seconds(text(element))
    flat.cpu_seconds += duration
    given = attributes(element)
    if usage := given.get("usageType"):
        key = f"CpuDuration_{usage}"
        flat.fixed[key] = duration
        write_description(given, key, flat)


def _write_resource(element: Element, flat: Flat) -> None:
    given = attributes(element)
    description = given.get("description", "")
    if description == "ResourceType":
        flat.fixed[description] = text(element)
        return
    key = f"Resource_{key_part(description)}"
    flat.fixed[key] = text(element)
    if len(given) > 1:
        _write_suffixes(element, key, flat.fixed, _RESOURCE_SUFFIXES)


def _write_origin(element: Element, flat: Flat) -> None:
    if hop := attributes(element).get("hop"):
        write_positive(flat.fixed, "Origin_hop", whole(hop, "Origin_hop", MAX_SIGNED))
    for child in element:
        if LOCAL[child.tag] == "ServerDate":
            flat.fixed["OriginServerDate"] = time(text(child), "OriginServerDate")
        elif LOCAL[child.tag] == "Connection":
            for part in child:
                key = _CONNECTION.get(LOCAL[part.tag])
                if key and (value := text(part)):
                    flat.fixed[key] = value


#: Children without a rule of their own.
OTHER = Rule(_write_other, (("", "NAME", "text, if any"), suffix_row("NAME", _SUFFIXES)))

#: Resource, ConsumableResource, PhaseResource and VolumeResource alike.
RESOURCE = Rule(
    _write_resource,
    (
        ("", "Resource_DESCRIPTION", "text, also empty"),
        suffix_row("Resource_DESCRIPTION", _RESOURCE_SUFFIXES),
        (" called ResourceType", "ResourceType", "text; Batch if absent, BatchPilot is Payload"),
    ),
)

ORIGIN = Rule(
    _write_origin,
    (
        ("@hop", "Origin_hop", "whole number, if over 0"),
        ("/ServerDate", "OriginServerDate", "time"),
        *((f"/Connection/{part}", key, "text") for part, key in _CONNECTION.items()),
    ),
)

RECORD_IDENTITY = Rule(
    _write_record_identity,
    (("@recordId", "RecordId", "text"), ("@createTime", "CreateTime", "time")),
)

JOB_IDENTITY = Rule(
    _write_job_identity,
    (
        *((f"/{key}", key, "text") for key in _JOB_IDENTITY),
        ("/ProcessId", "ProcessId", "text, where there is one"),
        ("/ProcessId", "ProcessId0, ProcessId1, ...", "texts, where there are several"),
    ),
)

USER_IDENTITY = Rule(
    _write_user_identity, tuple((f"/{key}", key, "text") for key in _USER_IDENTITY)
)

CPU_DURATION = Rule(
    _write_cpu,
    (
        ("", "CpuDuration", "seconds, the sum of all; always there"),
        ("@usageType", "CpuDuration_USAGETYPE", "seconds"),
        suffix_row("CpuDuration_USAGETYPE", DESCRIPTION),
    ),
)

WALL_DURATION = Rule(
    _write_wall,
    (("", "WallDuration", "seconds; always there"), suffix_row("WallDuration", DESCRIPTION)),
)


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
    "RecordIdentity": RECORD_IDENTITY,
    "JobIdentity": JOB_IDENTITY,
    "UserIdentity": USER_IDENTITY,
    "StartTime": _time_rule("StartTime"),
    "EndTime": _time_rule("EndTime"),
    "CpuDuration": CPU_DURATION,
    "WallDuration": WALL_DURATION,
    "Resource": RESOURCE,
    "ConsumableResource": RESOURCE,
    "PhaseResource": RESOURCE,
    "VolumeResource": RESOURCE,
    "TimeDuration": _typed_rule("TimeDuration", lambda value, _: seconds(value), "seconds"),
    "TimeInstant": _typed_rule("TimeInstant", time, "time"),
    "Origin": ORIGIN,
}

_STORAGE_RULES = {
    "UniqueID": _text_rule("UniqueID"),
    "Timestamp": _time_rule("Timestamp"),
    "Origin": ORIGIN,
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
