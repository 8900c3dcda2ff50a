"""Report files: what is accepted, and the reason given for what is not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.made import minute, record, report
from tests.support.program import ROOT
from tixd.analysis.summary import Direction, Summary
from tixd.errors import BadReport
from tixd.reports.decode import decode, decode_many, source_address
from tixd.reports.model import Report
from tixd.results.payload import WindowResult, failed_report, parse_failed_report

GOOD = record(1000) + record(1001, b"L") + record(1002)


def test_a_good_report_gives_its_ids_source_span_and_rows() -> None:
    decoded = decode("r.json", report(GOOD))
    assert (decoded.user_id, decoded.installation_id, decoded.source) == (1, 2, "203.0.113.7")
    assert (decoded.first, decoded.last, decoded.count) == (1000, 1002, 3)
    assert decoded.observations.tobytes() == GOOD


def test_first_and_last_are_the_smallest_and_largest_second_in_any_order() -> None:
    decoded = decode("r.json", report(record(1005) + record(1001) + record(1003)))
    assert (decoded.first, decoded.last) == (1001, 1005)


def test_records_of_other_kinds_are_ignored_whatever_they_hold() -> None:
    odd = record(-5, b"X", times=(-1, -1, -1, -1))
    assert decode("r.json", report(odd + GOOD + odd)).observations.tobytes() == GOOD


def test_times_past_midnight_are_fine_up_to_a_week() -> None:
    week = 7 * 24 * 3600 * 10**9
    assert decode("r.json", report(record(1, times=(week, 0, week, 0)))).count == 1


def test_unknown_members_are_ignored() -> None:
    assert decode("r.json", report(GOOD, colour=[1, {"a": None}], big=10**30)).count == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"{", "not JSON"),
        (report(GOOD)[:-10], "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"from": NaN}', "not JSON"),
        (b'{"from": "\\ud800"}', "not JSON"),
        (b'{"from": "\xff"}', "r.json: not JSON (its text is not UTF-8)"),
        (b'{"from": 1]', "r.json: not JSON ("),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": ' + b"9" * 1_000_000 + b"}", "not JSON"),
        (b'{"a": 1e400}', "not JSON"),
        (b"\xef\xbb\xbf" + report(GOOD), "not JSON"),
        (report(GOOD, userId="1"), 'member "userId" is not an integer'),
        (report(GOOD, userId=True), 'member "userId" is not an integer'),
        (report(GOOD, finalTimestamp=0.0), 'member "finalTimestamp" is not an integer'),
        (report(GOOD, installationId=10**30), 'member "installationId" is not an integer'),
        (report(GOOD, to=5), 'member "to" is not a string'),
        (report(GOOD, type="SHORT"), 'member "type" is not "LONG"'),
        (report(GOOD, source=""), 'member "from" holds no address'),
        (report(GOOD, source=":80"), 'member "from" holds no address'),
        (report(b""), "message is empty"),
        (report(GOOD[:-1]), "45-byte records"),
        (report(GOOD[:44]), "45-byte records"),
        (report(GOOD, message="AA!A" * 15), "not strict base64"),
        (report(GOOD, message="AA\nA" * 15), "not strict base64"),
        (report(GOOD, message="ä" * 60), "not strict base64"),
        (report(record(1, b"X")), "no record of kind S or L"),
        (report(record(-1)), "epoch second"),
        (report(record(2**32)), "epoch second"),
        (report(record(1, times=(0, 0, -1, 0))), "t3 lies outside"),
        (report(record(1, times=(0, 0, 0, 604_800_000_000_001))), "t4 lies outside"),
    ],
)
def test_a_bad_report_says_what_is_wrong(content: bytes, reason: str) -> None:
    with pytest.raises(BadReport, match=r"r\.json: ") as caught:
        decode("r.json", content)
    assert reason in caught.value.detail


@pytest.mark.parametrize("key", sorted(json.loads(report(GOOD))))
def test_every_member_is_required(key: str) -> None:
    members = json.loads(report(GOOD))
    del members[key]
    with pytest.raises(BadReport, match=f'member "{key}" is missing'):
        decode("r.json", json.dumps(members).encode())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("181.165.116.94:4501", "181.165.116.94"),
        ("/181.165.116.94:4501", "181.165.116.94"),
        ("181.165.116.94", "181.165.116.94"),
        ("[0:0:0:0:0:0:0:0%0]:4500", "::"),
        ("[2001:DB8::0:1]:80", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("[::ffff:10.0.0.1]:80", "10.0.0.1"),
        ("client.example:80", "client.example"),
        ("010.1.1.1:80", "010.1.1.1"),
    ],
)
def test_the_source_address_is_cut_out_of_every_form(text: str, address: str) -> None:
    assert source_address(text) == address


def test_a_bad_report_in_a_batch_leaves_its_neighbours_alone() -> None:
    files = [("a", minute(1000)), ("b", report(GOOD[:-1])), ("c", b"{"), ("d", minute(2000))]
    a, b, c, d = decode_many(files)
    assert isinstance(a, Report)
    assert isinstance(d, Report)
    assert (a.first, a.count, d.first, d.count) == (1000, 60, 2000, 60)
    assert isinstance(b, BadReport)
    assert isinstance(c, BadReport)
    assert b.detail.startswith("b: message is not made")


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_a_batch_gives_what_each_file_gives_alone(kinds: list[int]) -> None:
    made = [
        minute(1000, 7),
        report(GOOD),
        report(record(1, b"X")),
        report(record(1) + record(2, b"X") + record(3, b"L")),
        report(record(1, times=(-1, 0, 0, 0))),
        report(GOOD[:-3]),
    ]
    files = [(f"{i}.json", made[kind]) for i, kind in enumerate(kinds)]
    alone = [decode_many([file])[0] for file in files]
    assert [_told(d) for d in decode_many(files)] == [_told(d) for d in alone]


def _told(decoded: Report | BadReport) -> object:
    if isinstance(decoded, BadReport):
        return decoded.detail
    return decoded.name, decoded.first, decoded.last, decoded.observations.tobytes()


@given(st.binary(max_size=300))
def test_any_bytes_give_a_report_or_a_bad_report(content: bytes) -> None:
    (decoded,) = decode_many([("r.json", content)])
    assert isinstance(decoded, BadReport)


@given(st.integers(0, 10_000), st.binary(max_size=3))
def test_a_damaged_report_gives_a_report_or_a_bad_report(at: int, damage: bytes) -> None:
    content = minute(1000, 5)
    at %= len(content)
    (decoded,) = decode_many([("r.json", content[:at] + damage + content[at + len(damage) :])])
    assert isinstance(decoded, Report | BadReport)


@given(st.text() | st.text(st.characters(codec="utf-8"), min_size=240, max_size=310))
def test_every_source_that_is_decoded_can_be_stored_and_read_again(text: str) -> None:
    try:
        source = decode("r.json", report(GOOD, source=text)).source
    except BadReport:
        return
    undefined = Direction(None, None, None, None)
    stored = failed_report(WindowResult(source, Summary(1000, undefined, undefined)))
    assert parse_failed_report(stored).ip == source


def test_sources_of_any_length_leave_nothing_in_the_cache() -> None:
    source_address.cache_clear()
    for number in range(100):
        with pytest.raises(BadReport, match="more than 300 characters"):
            decode("r.json", report(GOOD, source=f"{number}" + "x" * 70_000))
    assert source_address.cache_info().currsize == 0


#: Decodes a good report of nearly 1 MiB where 4 MiB of address space are left.
IN_LITTLE_SPACE = """
import resource
from tests.support.made import record, report
from tixd.reports.decode import decode
content = report(record(1000) * 17_000)
with open("/proc/self/statm") as file:
    pages = int(file.read().split()[0])
most = pages * resource.getpagesize() + 4 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    decode("r.json", content)
except BaseException as error:
    print(type(error).__name__)
"""


def test_a_good_report_for_which_there_is_no_memory_is_no_bad_one() -> None:
    command = (sys.executable, "-c", IN_LITTLE_SPACE)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "MemoryError\n", done.stderr
