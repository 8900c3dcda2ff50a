"""What gracc-collector published for real input (in ../shared) and odd input, from us."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support import gratia
from tests.support.recordings import shared_data
from tixd.collector.bundle import read_bundle
from tixd.collector.record import record
from tixd.collector.record_parser import Limits, parse_element
from tixd.errors import BadRequest

SINGLE = [
    *("JobUsageRecord01", "JobUsageRecord02", "JobUsageRecord04", "JobUsageRecord06"),
    *("StorageElement01", "StorageElementRecord01", "UsageRecord01"),
]

#: Cases in which tixd differs on purpose (manual, moving-from-gracc-collector: "What differs").
DEPARTURES = {
    ("resources-only-other", "update"): [{"Resource_cr": "3"}],
    ("resources-only-other", "multiupdate"): [{"Resource_cr": "3"}],
    ("text-space", "update"): [{"SiteName": "  a b \n ", "LocalX": '<&"é'}],
    ("quote-lone", "form"): [{"S": '24" disk'}, {}],
}

#: What each record of these cases has.
BARE: dict[str, Any] = {
    "type": "JobUsageRecord",
    "RecordId": "r",
    "CreateTime": "2016-05-27T22:46:46Z",
    "CpuDuration": 0,
    "WallDuration": 0,
    "ResourceType": "Batch",
}


def published(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The keys without RawXML, which the original spoils."""
    return {key: value for key, value in keys.items() if key != "RawXML"}


def outcome(parameters: dict[str, bytes]) -> tuple[int, list[str]]:
    """Status and records, which stand in no promised order."""
    try:
        records = read_bundle(parameters, Limits()).records
    except BadRequest as error:
        return error.status, []
    return 200, in_any_order([published(each.fields) for each in records])


def in_any_order(records: list[dict[str, Any]]) -> list[str]:
    """Records as texts that can be compared as a whole."""
    return sorted(json.dumps(each, sort_keys=True) for each in records)


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_record_becomes_what_the_original_published(name: str) -> None:
    folder = shared_data("gracc")
    expected = json.loads((folder / f"{name}.json").read_bytes())
    expected.pop("ServiceLevel_type", None)  # in one sample, and never written by the original
    found = record(parse_element((folder / f"{name}.xml").read_bytes().strip(), Limits(), {}))
    assert published(found.fields) == expected


@pytest.mark.parametrize(
    ("name", "command"), [("update.bundle", "update"), ("multiupdate.xml", "")]
)
def test_a_bundle_becomes_what_the_original_published(name: str, command: str) -> None:
    folder = shared_data("gracc")
    text = (folder / name).read_bytes()
    lines = (folder / f"{name.partition('.')[0]}.expected.json.jsonl").read_bytes().splitlines()
    expected = in_any_order([published(json.loads(line)) for line in lines])
    sent = gratia.update(text, 15) | ({} if command else {"command": b"multiupdate"})
    assert outcome(sent) == (200, expected)


CASES = gratia.cases()


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_every_case_ends_as_in_the_original_or_differs_on_purpose(case: dict[str, Any]) -> None:
    for way, sent, expected in ways(case):
        if extra := DEPARTURES.get((case["case"], way)):
            wanted = (200, in_any_order([BARE | each for each in extra]))
        else:
            wanted = (expected["status"], in_any_order(expected["records"]))
        assert outcome(sent) == wanted, way


def test_no_case_of_the_original_is_missing() -> None:
    assert len(CASES) == len({case["case"] for case in CASES}) == 28


def ways(case: dict[str, Any]) -> list[tuple[str, dict[str, bytes], dict[str, Any]]]:
    """The requests of a case, and what the original did with each."""
    if form := case.get("form"):
        return [("form", {key: value.encode() for key, value in form.items()}, case)]
    text = case["record"]
    return [
        ("update", gratia.update(f"replication|{text}|||"), case["update"]),
        ("multiupdate", gratia.enveloped(text), case["multiupdate"]),
    ]
