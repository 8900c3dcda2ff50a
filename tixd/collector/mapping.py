"""Map the elements of usage records to published keys, as tables: KINDS, and a rule per child.

Rules: the specification's collector.md §3; a Rule writes keys and says which they are, so that the
manual's table is made from these tables; empty text and empty attributes are as if they were not
there; if a key repeats, the last value wins.

An element without a rule of its own is published as text (OTHER). To give it one: write the rule,
enter it in _JOB_RULES or _STORAGE_RULES near the end of this file, then run
`python -m tests.support.manual_tables`. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from tixd.collector.conversions import (
    MAX_SIGNED,
    MAX_UNSIGNED,
    Value,
    number,
    seconds,
    time,
    typed_key,
    whole,
)
from tixd.collector.record_parser import LOCAL_NAMES, attributes, direct_text


@dataclass(slots=True)
class Flat:
    """The keys of a record while it is mapped.

    fixed: keys that tixd gives a meaning; other: those that children name, which never replace the
    fixed ones; cpu_seconds: the sum so far; process_ids: in their order.
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
    """What writes the keys of an element, and its rows in the manual."""

    write: Write
    rows: tuple[Row, ...]


#: Attributes that become keys of their own, behind the key of their element.
_SUFFIXES = ("description", "unit", "phaseUnit", "storageUnit", "formula", "metric")
_RESOURCE_SUFFIXES = ("unit", "phaseUnit", "storageUnit")
_DESCRIPTION = ("description",)

_JOB_KEYS = ("GlobalJobId", "LocalJobId")
_USER_KEYS = ("GlobalUsername", "LocalUserId", "VOName", "ReportableVOName", "CommonName", "DN")

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
        suffix = LOCAL_NAMES[name]
        if value and suffix in wanted:
            keys[f"{key}_{suffix}"] = seconds(value) if suffix == "phaseUnit" else value


def _write_description(attrs: Mapping[str, str], key: str, flat: Flat) -> None:
    if "description" in attrs:
        flat.fixed[f"{key}_description"] = attrs["description"]


def _suffix_row(key: str, wanted: Iterable[str]) -> Row:
    """Return the manual's row of attributes that have keys of their own."""
    value = "text; phaseUnit: seconds" if "phaseUnit" in wanted else "text"
    ends = [f"{key}_{suffix}" for suffix in wanted]
    return ", ".join(f"@{suffix}" for suffix in wanted), ", ".join(ends), value


def _write_other(element: Element, flat: Flat) -> None:
    key = LOCAL_NAMES[element.tag]
    if value := direct_text(element):
        flat.other[key] = value
    if element.keys():
        _write_suffixes(element, key, flat.other, _SUFFIXES)


def _write_positive(keys: dict[str, Value], key: str, value: int) -> None:
    """Write a number; 0 stands for no number and removes an earlier one of the record."""
    keys[key] = value
    if not value:
        del keys[key]


def _write_texts(element: Element, keys: Container[str], flat: Flat) -> None:
    for child in element:
        name = LOCAL_NAMES[child.tag]
        if name in keys and (value := direct_text(child)):
            flat.fixed[name] = value


def _write_record_identity(element: Element, flat: Flat) -> None:
    attrs = attributes(element)
    if "recordId" in attrs:
        flat.fixed["RecordId"] = attrs["recordId"]
    if "createTime" in attrs:
        flat.fixed["CreateTime"] = time(attrs["createTime"], "CreateTime")


def _write_job_identity(element: Element, flat: Flat) -> None:
    _write_texts(element, _JOB_KEYS, flat)
    ids = (direct_text(child) for child in element if LOCAL_NAMES[child.tag] == "ProcessId")
    flat.process_ids += filter(None, ids)


def _write_user_identity(element: Element, flat: Flat) -> None:
    _write_texts(element, _USER_KEYS, flat)


def _write_wall(element: Element, flat: Flat) -> None:
    flat.fixed["WallDuration"] = seconds(direct_text(element))
    _write_description(attributes(element), "WallDuration", flat)


def _write_cpu(element: Element, flat: Flat) -> None:
    duration = seconds(direct_text(element))
    flat.cpu_seconds += duration
    attrs = attributes(element)
    if usage := attrs.get("usageType"):
        key = f"CpuDuration_{usage}"
        flat.fixed[key] = duration
        _write_description(attrs, key, flat)


def _write_resource(element: Element, flat: Flat) -> None:
    attrs = attributes(element)
    description = attrs.get("description", "")
    if description == "ResourceType":
        flat.fixed[description] = direct_text(element)
        return
    key = typed_key("Resource", description)
    flat.fixed[key] = direct_text(element)
    if len(attrs) > 1:
        _write_suffixes(element, key, flat.fixed, _RESOURCE_SUFFIXES)


def _write_origin(element: Element, flat: Flat) -> None:
    if hop := attributes(element).get("hop"):
        _write_positive(flat.fixed, "Origin_hop", whole(hop, "Origin_hop", MAX_SIGNED))
    for child in element:
        if LOCAL_NAMES[child.tag] == "ServerDate":
            flat.fixed["OriginServerDate"] = time(direct_text(child), "OriginServerDate")
        elif LOCAL_NAMES[child.tag] == "Connection":
            for part in child:
                key = _CONNECTION.get(LOCAL_NAMES[part.tag])
                if key and (value := direct_text(part)):
                    flat.fixed[key] = value


#: The rule of children without one of their own.
OTHER = Rule(_write_other, (("", "NAME", "text, if any"), _suffix_row("NAME", _SUFFIXES)))

#: The rule of Resource, ConsumableResource, PhaseResource and VolumeResource.
_RESOURCE = Rule(
    _write_resource,
    (
        ("", "Resource_DESCRIPTION", "text, also empty"),
        _suffix_row("Resource_DESCRIPTION", _RESOURCE_SUFFIXES),
        (" called ResourceType", "ResourceType", "text; Batch if absent, BatchPilot is Payload"),
    ),
)

_ORIGIN = Rule(
    _write_origin,
    (
        ("@hop", "Origin_hop", "whole number, if over 0"),
        ("/ServerDate", "OriginServerDate", "time"),
        *((f"/Connection/{part}", key, "text") for part, key in _CONNECTION.items()),
    ),
)

_RECORD_IDENTITY = Rule(
    _write_record_identity,
    (("@recordId", "RecordId", "text"), ("@createTime", "CreateTime", "time")),
)

_JOB_IDENTITY = Rule(
    _write_job_identity,
    (
        *((f"/{key}", key, "text") for key in _JOB_KEYS),
        ("/ProcessId", "ProcessId", "text, where there is one"),
        ("/ProcessId", "ProcessId0, ProcessId1, ...", "texts, where there are several"),
    ),
)

_USER_IDENTITY = Rule(_write_user_identity, tuple((f"/{key}", key, "text") for key in _USER_KEYS))

_CPU_DURATION = Rule(
    _write_cpu,
    (
        ("", "CpuDuration", "seconds, the sum of all; always there"),
        ("@usageType", "CpuDuration_USAGETYPE", "seconds"),
        _suffix_row("CpuDuration_USAGETYPE", _DESCRIPTION),
    ),
)

_WALL_DURATION = Rule(
    _write_wall,
    (("", "WallDuration", "seconds; always there"), _suffix_row("WallDuration", _DESCRIPTION)),
)


class Writers(dict[str, Write]):
    """What writes a child, by the name that its tree has; fills itself with the names of probes."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        super().__init__()
        self.rules = rules

    def __missing__(self, name: str) -> Write:
        write = self.rules.get(LOCAL_NAMES[name], OTHER).write
        if name in LOCAL_NAMES:  # which is bounded
            self[name] = write
        return write


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A type of record.

    name: as it is published; writers: of its children; identity: the key that identifies a record;
    finish: what completes the map of one.
    """

    name: str
    writers: Writers
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
    """Make the rule of an element that is a text."""

    def write(element: Element, flat: Flat) -> None:
        if value := direct_text(element):
            flat.fixed[key] = value

    return Rule(write, (("", key, "text"),))


def _time_rule(key: str) -> Rule:
    """Make the rule of an element that is a time."""

    def write(element: Element, flat: Flat) -> None:
        flat.fixed[key] = time(direct_text(element), key)

    return Rule(write, (("", key, "time"),))


def _whole_rule(key: str) -> Rule:
    """Make the rule of an element that is a whole number of 64 bits."""

    def write(element: Element, flat: Flat) -> None:
        if value := direct_text(element):
            _write_positive(flat.fixed, key, whole(value, key, MAX_UNSIGNED))

    return Rule(write, (("", key, "whole number, if over 0"),))


def _typed_rule(prefix: str, value: Callable[[str, str], Value], kind: str) -> Rule:
    """Make the rule of an element whose attribute `type` is part of the key."""

    def write(element: Element, flat: Flat) -> None:
        attrs = attributes(element)
        key = typed_key(prefix, attrs.get("type", ""))
        flat.fixed[key] = value(direct_text(element), key)
        _write_description(attrs, key, flat)

    key = f"{prefix}_TYPE"
    return Rule(write, (("", key, kind), _suffix_row(key, _DESCRIPTION)))


_JOB_RULES = {
    "RecordIdentity": _RECORD_IDENTITY,
    "JobIdentity": _JOB_IDENTITY,
    "UserIdentity": _USER_IDENTITY,
    "StartTime": _time_rule("StartTime"),
    "EndTime": _time_rule("EndTime"),
    "CpuDuration": _CPU_DURATION,
    "WallDuration": _WALL_DURATION,
    "Resource": _RESOURCE,
    "ConsumableResource": _RESOURCE,
    "PhaseResource": _RESOURCE,
    "VolumeResource": _RESOURCE,
    "TimeDuration": _typed_rule("TimeDuration", lambda value, _: seconds(value), "seconds"),
    "TimeInstant": _typed_rule("TimeInstant", time, "time"),
    "Origin": _ORIGIN,
}

_STORAGE_RULES = {
    "UniqueID": _text_rule("UniqueID"),
    "Timestamp": _time_rule("Timestamp"),
    "Origin": _ORIGIN,
}

_SPACES = {
    key: _whole_rule(key)
    for key in ("TotalSpace", "FreeSpace", "UsedSpace", "FileCount", "FileCountLimit")
}

#: The element that a probe begins its run with: neither a record nor unknown.
HANDSHAKE = "ProbeDetails"

_JOB = Kind("JobUsageRecord", Writers(_JOB_RULES), "RecordId", _finish_job)

#: Every type of record that is known, by the local name of its element.
KINDS = {
    "JobUsageRecord": _JOB,
    "UsageRecord": _JOB,
    "StorageElement": Kind("StorageElement", Writers(_STORAGE_RULES), "UniqueID", _finish_storage),
    "StorageElementRecord": Kind(
        "StorageElementRecord", Writers(_STORAGE_RULES | _SPACES), "UniqueID", _finish_storage
    ),
}
