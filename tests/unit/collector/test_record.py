"""Records: which keys come of which elements (collector.md §3), where no sample shows it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gratia import job, storage
from tests.support.manual_tables import key_table
from tests.support.recordings import shared_case
from tixd.collector import form
from tixd.collector.bundle import read_bundle
from tixd.collector.conversions import Value
from tixd.collector.record import Record, record
from tixd.collector.record_parser import Limits, parse_element
from tixd.errors import BadRecord

#: What a JobUsageRecord always has.
ALWAYS = {"type": "JobUsageRecord", "RecordId": "host:1.0"}
ALWAYS_TOO = {"CpuDuration": 0, "WallDuration": 0, "ResourceType": "Batch"}


def read(text: str) -> Record:
    """The record that the text is."""
    return record(parse_element(text.encode(), Limits(), {}))


def keys(inside: str) -> dict[str, Value]:
    """The keys of a JobUsageRecord beyond or other than those that it always has."""
    fields = read(job(inside)).fields
    del fields["RawXML"]
    assert (ALWAYS | ALWAYS_TOO).keys() <= fields.keys()
    return {k: v for k, v in fields.items() if v != (ALWAYS | ALWAYS_TOO).get(k, None)}


def identity(inside: str) -> str:
    """A JobIdentity."""
    return f"<JobIdentity>{inside}</JobIdentity>"


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("", {}),
        (identity("<ProcessId>7</ProcessId>"), {"ProcessId": "7"}),
        (
            identity(
                "<ProcessId>7</ProcessId><ProcessId/><a:ProcessId xmlns:a='x'>8</a:ProcessId>"
            ),
            {"ProcessId0": "7", "ProcessId1": "8"},
        ),
        (identity("<GlobalJobId>g</GlobalJobId><Other>x</Other>"), {"GlobalJobId": "g"}),
        ("<UserIdentity><DN>d</DN><VOName/></UserIdentity>", {"DN": "d"}),
        ("<RecordIdentity createTime=''/>", {}),
        ("<RecordIdentity recordId='b'/>", {"RecordId": "b"}),
        (
            "<StartTime>2016-02-29T23:59:59.5+01:30</StartTime>",
            {"StartTime": "2016-02-29T23:59:59+01:30"},
        ),
        ("<EndTime d='x'>0000-12-31T00:00:00-00:00</EndTime>", {"EndTime": "0000-12-31T00:00:00Z"}),
        ("<StartTime>2016-05-27T1:02:03,5Z</StartTime>", {"StartTime": "2016-05-27T01:02:03Z"}),
        *(
            (
                f"<EndTime>2016-05-27T01:02:03{given}</EndTime>",
                {"EndTime": f"2016-05-27T01:02:03{out}"},
            )
            for given, out in (("+24:00", "+24:00"), ("-24:60", "-25:00"), ("+00:60", "+01:00"))
        ),
        (
            "<QueueTime description='d' unit='u'>2016-05-27T22:46:46Z</QueueTime>",
            {
                "QueueTime": "2016-05-27T22:46:46Z",
                "QueueTime_description": "d",
                "QueueTime_unit": "u",
            },
        ),
        (
            "<WallDuration description='w'>P1W</WallDuration>",
            {"WallDuration": 604800, "WallDuration_description": "w"},
        ),
        ("<CpuDuration>PT1.5S</CpuDuration><CpuDuration>PT2.5S</CpuDuration>", {"CpuDuration": 4}),
        (
            "<CpuDuration usageType='user'>PT0.5S</CpuDuration><CpuDuration usageType=''/>",
            {"CpuDuration": 0.5, "CpuDuration_user": 0.5},
        ),
        (
            "<CpuDuration urwg:usageType='user' urwg:description='d'>PT1S</CpuDuration>"
            "<CpuDuration usageType='user'>PT2S</CpuDuration>",
            {"CpuDuration": 3, "CpuDuration_user": 2, "CpuDuration_user_description": "d"},
        ),
        ("<Resource/>", {"Resource_unknown": ""}),
        ("<Resource description='a.b c'>1</Resource>", {"Resource_a-b-c": "1"}),
        (
            "<PhaseResource description='p' unit='u' phaseUnit='PT0S' storageUnit='s' metric='m'>1"
            "</PhaseResource>",
            {
                "Resource_p": "1",
                "Resource_p_unit": "u",
                "Resource_p_phaseUnit": 0,
                "Resource_p_storageUnit": "s",
            },
        ),
        ("<VolumeResource description='v'>1</VolumeResource>", {"Resource_v": "1"}),
        ("<ConsumableResource description='c'>1</ConsumableResource>", {"Resource_c": "1"}),
        ("<Resource description='ResourceType'>BatchPilot</Resource>", {"ResourceType": "Payload"}),
        ("<Resource description='ResourceType'>Grid</Resource>", {"ResourceType": "Grid"}),
        ("<Resource description='ResourceType'/>", {}),
        ("<TimeDuration>P1Y1M1DT1H1M1.25S</TimeDuration>", {"TimeDuration_unknown": 34218061.25}),
        (
            "<TimeInstant type='x y' description='d'>2016-05-27T22:46:46.1Z</TimeInstant>",
            {"TimeInstant_x-y": "2016-05-27T22:46:46Z", "TimeInstant_x-y_description": "d"},
        ),
        ("<Host>a<!-- x -->b<C>no</C>c<![CDATA[<&]]></Host>", {"Host": "abc<&"}),
        ("<Host/><Disk unit='' metric='m'/><Note> </Note>", {"Disk_metric": "m", "Note": " "}),
        (
            "<M phaseUnit='P1D' formula='f'>1</M><M unit='u'>2</M><M/>",
            {"M": "2", "M_phaseUnit": 86400, "M_formula": "f", "M_unit": "u"},
        ),
        ("<Origin hop='0'/>", {}),
        ("<Origin hop=' 3 '/>", {"Origin_hop": 3}),
        ("<Origin hop='3'/><Origin hop='0'/>", {}),
        ("<Origin hop=''><Connection><Sender/></Connection></Origin>", {}),
        (
            "<Origin><Connection><SenderHost>h</SenderHost><Collector>c</Collector></Connection>"
            "<ServerDate>2012-10-30T00:26:59.123+00:00</ServerDate></Origin>",
            {
                "OriginSenderHost": "h",
                "OriginCollector": "c",
                "OriginServerDate": "2012-10-30T00:26:59Z",
            },
        ),
    ],
)
def test_elements_of_a_job_become_keys(inside: str, expected: dict[str, Value]) -> None:
    assert keys(inside) == expected


QUEUE_TIMES = ["2016-01-02T03:04:05", "yesterday", " ", "0", "2016-13-01T00:00:00Z", "PT5S", "1.5"]


@pytest.mark.parametrize("text", QUEUE_TIMES)
def test_a_queue_time_is_published_whatever_it_says(text: str) -> None:
    attributes = "description='d' unit='u' phaseUnit='PT1M' storageUnit='s' formula='f' metric='m'"
    suffixes = {"description": "d", "unit": "u", "phaseUnit": 60, "storageUnit": "s"}
    suffixes |= {"formula": "f", "metric": "m"}
    wanted: dict[str, Value] = {f"QueueTime_{key}": value for key, value in suffixes.items()}
    assert keys(f"<QueueTime {attributes}>{text}</QueueTime>") == wanted | {"QueueTime": text}
    assert keys(f"<QueueTime {attributes}/>") == wanted


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1))
def test_any_text_is_a_queue_time_as_it_is_of_any_other_child(text: str) -> None:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    found = keys(f"<QueueTime>{escaped}</QueueTime><Other>{escaped}</Other>")
    assert found == {"QueueTime": text, "Other": text}


@pytest.mark.parametrize("name", ["queuetime-empty.form", "queuetime-no-zone.form"])
def test_bundles_of_the_field_with_odd_queue_times_are_taken(name: str) -> None:
    sent = form.parse(shared_case(name).read_bytes())
    (found,) = read_bundle(sent, Limits()).records
    assert found.fields.get("QueueTime", "") in ("", "2016-01-02T03:04:05")


@pytest.mark.parametrize(
    "name", ["type", "RawXML", "RecordId", "CpuDuration", "WallDuration", "ResourceType"]
)
def test_a_child_never_takes_the_place_of_a_key_of_ours(name: str) -> None:
    text = job(f"<{name}2>x</{name}2>").replace(f"{name}2", f"urwg:{name}")
    found = read(text)
    assert found.fields[name] == read(text.replace(f"urwg:{name}", "X")).fields.get(
        name
    ) or name in ("RawXML", "WallDuration", "CpuDuration")
    assert found.fields["RawXML"] == text
    assert found.fields[name] != "x"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (job("<StartTime>yesterday</StartTime>"), 'StartTime "yesterday" is not an RFC 3339 time'),
        (job("<EndTime/>"), 'EndTime "" is no'),
        (job("<EndTime>2016-05-27T01:02:03+24:61</EndTime>"), "EndTime"),
        (job("<EndTime>2016-05-27T01:02:03+25:00</EndTime>"), "EndTime"),
        (job("<EndTime>2016-05-27T24:02:03Z</EndTime>"), "EndTime"),
        (job("<TimeInstant type='a'>2015-02-29T00:00:00Z</TimeInstant>"), "TimeInstant_a"),
        (job("<RecordIdentity createTime='2016-05-27 22:46:46Z'/>"), "CreateTime"),
        (job("<Origin><ServerDate/></Origin>"), "OriginServerDate"),
        (job("<Origin hop='-1'/>"), 'Origin_hop "-1" is not a whole number'),
        (job("<Origin hop='9223372036854775808'/>"), "Origin_hop .* is over 9223372036854775807"),
        (storage("<Timestamp>2016-13-01T00:00:00Z</Timestamp>"), "Timestamp"),
        (storage("<FileCount>1.0</FileCount>"), 'FileCount "1.0" is not a whole number'),
        (storage("<FileCount> </FileCount>"), "FileCount"),
        (storage("<FreeSpace>+1</FreeSpace>"), "FreeSpace"),
        (storage("<UsedSpace>٣</UsedSpace>"), "UsedSpace"),
        (storage("<TotalSpace>18446744073709551616</TotalSpace>"), "TotalSpace .* is over"),
        (storage(f"<TotalSpace>{'9' * 100_000}</TotalSpace>"), "TotalSpace .* is over"),
        (storage(f"<FileCountLimit>{'x' * 100_000}</FileCountLimit>"), "FileCountLimit"),
    ],
)
def test_a_value_that_does_not_parse_fails_the_record(text: str, reason: str) -> None:
    with pytest.raises(BadRecord, match=reason) as caught:
        read(text)
    assert len(caught.value.answer) < 200


def test_storage_records_have_their_own_whole_numbers() -> None:
    found = read(
        storage("<TotalSpace>\n18446744073709551615\xa0</TotalSpace><FreeSpace>0</FreeSpace>")
    )
    assert found.fields["TotalSpace"] == 2**64 - 1
    assert "FreeSpace" not in found.fields
    assert (found.kind, found.identity) == ("StorageElementRecord", "u")
    element = read(storage("<TotalSpace>x</TotalSpace>", "StorageElement"))
    assert element.fields["TotalSpace"] == "x"


def test_a_storage_record_without_id_has_an_empty_one() -> None:
    fields = read("<StorageElement/>").fields
    expected = {"type": "StorageElement", "UniqueID": "", "RawXML": "<StorageElement/>"}
    assert fields == expected


def test_a_prefix_that_nobody_declares_is_declared_in_the_source() -> None:
    text = '<UsageRecord ><a:Host b:unit="u" xmlns:c="c"><c:X/></a:Host><c:Y/></UsageRecord>'
    found = read(text)
    added = "".join(f' xmlns:{p}="urn:undeclared:{p}"' for p in "abc")
    assert found.source.decode() == text.replace("<UsageRecord", f"<UsageRecord{added}")
    assert found.fields["Host_unit"] == "u"


def test_message_ids_tell_records_apart_and_nothing_else() -> None:
    same, other = read(job("<A>1</A>")), read(job("<A>2</A>"))
    assert same.message_id == read(job("<A>1</A>")).message_id
    assert len({same.message_id, other.message_id, read(job(record_id="x")).message_id}) == 3
    assert len(same.message_id) == 32
    assert same.identity == "host:1.0"


@given(
    st.from_regex(r"[PTYMDHWS0-9.]{0,12}|P([0-9]{1,400}[YMDW])?(T[0-9]{1,400}S)?", fullmatch=True)
)
def test_any_text_is_a_duration_of_a_finite_number(text: str) -> None:
    found = keys(f"<WallDuration>{text}</WallDuration>").get("WallDuration", 0)
    assert 0 <= float(found) < float("inf")


def test_the_table_of_keys_names_every_rule_once() -> None:
    rows = key_table().splitlines()[2:]
    assert len(set(rows)) == len(rows) > 30
    assert (
        "| JobUsageRecord | JobIdentity/ProcessId | ProcessId | text, where there is one |" in rows
    )
