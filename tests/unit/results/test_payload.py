"""Payloads and kept results, byte for byte."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.results import DOWN, UNDEFINED, UP, result
from tixd import errors
from tixd.analysis.clock_steps import ClockVerdict
from tixd.analysis.summary import Direction, Summary
from tixd.asn.origin import UNKNOWN, Origin
from tixd.results.payload import WindowResult, failed_report, parse_failed_report, payload

DEFINED = result()
NOTHING = WindowResult("2001:db8::1", Summary(0, UNDEFINED, UNDEFINED))

PAYLOADS = [
    (
        DEFINED,
        b'{"timestamp":1505082407,"version":"1.0.0","upUsage":0.25,"upQuality":1.0,'
        b'"downUsage":1.0,"downQuality":0.5,"hurstUpRs":0.5,"hurstUpWavelet":0.75,'
        b'"hurstDownRs":1.0625,"hurstDownWavelet":-0.125,"ip":"181.165.116.94"}',
    ),
    (
        NOTHING,
        b'{"timestamp":0,"version":"1.0.0","upUsage":null,"upQuality":null,"downUsage":null,'
        b'"downQuality":null,"hurstUpRs":null,"hurstUpWavelet":null,"hurstDownRs":null,'
        b'"hurstDownWavelet":null,"ip":"2001:db8::1"}',
    ),
]

STORED = [
    (
        DEFINED,
        b'{"results":{"timestamp":1505082407,"upstream":{"usage":0.25,"quality":1.0,'
        b'"hurst":{"rs":0.5,"wavelet":0.75}},"downstream":{"usage":1.4,"quality":0.5,'
        b'"hurst":{"rs":1.0625,"wavelet":-0.125}}},"ip":"181.165.116.94"}',
    ),
    (
        NOTHING,
        b'{"results":{"timestamp":0,"upstream":{"usage":null,"quality":null,'
        b'"hurst":{"rs":null,"wavelet":null}},"downstream":{"usage":null,"quality":null,'
        b'"hurst":{"rs":null,"wavelet":null}}},"ip":"2001:db8::1"}',
    ),
]


def stored(**changes: object) -> bytes:
    """A kept result in which some top-level or results members differ."""
    report = json.loads(STORED[0][1])
    report["results"] |= {key: changes[key] for key in changes if key != "ip"}
    return json.dumps(report | {key: changes[key] for key in changes if key == "ip"}).encode()


@pytest.mark.parametrize(("window", "expected"), PAYLOADS)
def test_a_payload_is_what_the_api_takes(window, expected):
    assert payload(window) == expected


@pytest.mark.parametrize(
    ("origin", "end"),
    [
        (
            Origin(7303, "Telecom Argentina S.A.", "181.164.0.0/14", "AR"),
            b'"ip":"181.165.116.94","asn":7303,"asName":"Telecom Argentina S.A."}',
        ),
        (Origin(64500), b'"ip":"181.165.116.94","asn":64500,"asName":null}'),
        (UNKNOWN, b'"ip":"181.165.116.94","asn":null,"asName":null}'),
    ],
)
def test_the_as_is_posted_where_a_table_is_set_and_never_stored(origin, end):
    located = replace(DEFINED, origin=origin)
    assert payload(located) == payload(DEFINED).replace(b'"ip":"181.165.116.94"}', end)
    assert failed_report(located) == failed_report(DEFINED)


@pytest.mark.parametrize(("raw", "posted"), [(-0.5, 0.0), (1.0, 1.0), (1.4, 1.0), (0, 0.0)])
def test_usage_is_limited_in_the_payload_only(raw, posted):
    direction = Direction(raw, 1.0, 0.5, 0.5)
    window = WindowResult("10.0.0.1", Summary(1, direction, direction))
    assert json.loads(payload(window))["upUsage"] == posted
    assert json.loads(failed_report(window))["results"]["upstream"]["usage"] == raw


def test_usage_by_the_other_estimator_stands_in_members_of_its_own_before_the_ip():
    both = WindowResult("10.0.0.1", Summary(1, replace(UP, usage_alt=0.5), DOWN))
    assert payload(both).endswith(
        b'"upUsageAlt":0.5,"downUsageAlt":null,"upUsageWidth":null,"downUsageWidth":null,'
        b'"clock":"fine","ip":"10.0.0.1"}'
    )
    over = WindowResult("10.0.0.1", Summary(1, UP, replace(DOWN, usage_alt=1.3)))
    assert json.loads(payload(over))["downUsageAlt"] == 1.0
    assert json.loads(failed_report(over))["results"]["downstream"]["usageAlt"] == 1.3


def judged(**changes: object) -> WindowResult:
    """A result with width, steadiness and verdict."""
    up = replace(UP, width=0.225, unsteady=True, **changes)
    down = replace(DOWN, width=0.05, unsteady=False)
    return WindowResult("10.0.0.1", Summary(1, up, down, clock="set"))


def test_width_and_clock_are_posted_beside_the_other_estimate_alone():
    posted = json.loads(payload(judged(usage_alt=0.5)))
    assert (posted["upUsageWidth"], posted["downUsageWidth"]) == (0.225, 0.05)
    assert posted["clock"] == "set"
    unknown = WindowResult("10.0.0.1", Summary(1, UP, DOWN))
    assert payload(judged()) == payload(unknown)


def test_a_stored_result_keeps_width_steadiness_and_verdict():
    results = json.loads(failed_report(judged()))["results"]
    assert (results["upstream"]["usageWidth"], results["upstream"]["unsteady"]) == (0.225, True)
    assert (results["downstream"]["unsteady"], results["clock"]) == (False, "set")


def test_a_clock_that_was_set_is_stored_without_any_width():
    told = WindowResult("10.0.0.1", Summary(1, UP, DOWN, clock="not-credible"))
    assert json.loads(failed_report(told))["results"]["clock"] == "not-credible"
    assert parse_failed_report(failed_report(told)) == told


def test_a_value_that_is_no_number_is_posted_as_null():
    direction = Direction(float("nan"), float("inf"), 0.5, 0.5)
    posted = json.loads(payload(WindowResult("10.0.0.1", Summary(1, direction, UP))))
    assert (posted["upUsage"], posted["upQuality"]) == (None, None)


@pytest.mark.parametrize(("window", "expected"), STORED)
def test_a_stored_result_has_pinned_bytes_both_ways(window, expected):
    assert failed_report(window) == expected
    assert parse_failed_report(expected) == window


def test_a_result_stored_by_the_original_reads_with_nan_as_undefined():
    direction = {"usage": 0.25, "quality": float("nan"), "hurst": {"rs": 1, "wavelet": None}}
    results = {"timestamp": 1505082407, "downstream": direction, "upstream": direction}
    content = json.dumps({"ip": "10.0.0.1", "results": results}).encode()
    assert b"NaN" in content
    read = Direction(0.25, None, 1.0, None)
    assert parse_failed_report(content) == WindowResult("10.0.0.1", Summary(1505082407, read, read))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"null", b"[]", b"7", b"{}", b'"x"', b"\xff", b'{"results": null, "ip": "x"}'),
        *(STORED[0][1][:length] for length in (1, 50, 150, len(STORED[0][1]) - 1)),
        *(stored(timestamp=value) for value in (-1, 2**32, 1.5, True, "1", None, 10**30)),
        *(stored(ip=value) for value in (None, "", 5, "a\nb", "\ud800", "x" * 256)),
        *(stored(upstream=value) for value in (None, [], {}, {"usage": 1}, "usage")),
        *(stored(clock=value) for value in (None, 1, "", "late", ["set"])),
        *(
            stored(upstream=json.loads(STORED[0][1])["results"]["upstream"] | wrong)
            for wrong in ({"usageWidth": "0.1"}, {"unsteady": 1}, {"unsteady": "no"})
        ),
        stored(upstream={"usage": "1", "quality": 1, "hurst": {"rs": 1, "wavelet": 1}}),
        stored(upstream={"usage": True, "quality": 1, "hurst": {"rs": 1, "wavelet": 1}}),
        stored(upstream={"usage": 10**400, "quality": 1, "hurst": {"rs": 1, "wavelet": 1}}),
        stored(upstream={"usage": 1, "quality": 1, "hurst": [1, 1]}),
        b'{"results": ' + b"[" * 60000,
        b'{"results": {"timestamp": ' + b"1" * 60000 + b"}}",
    ],
)
def test_anything_else_is_a_bad_failed_result(content):
    with pytest.raises(errors.BadFailedResult) as caught:
        parse_failed_report(content)
    assert len(str(caught.value)) < 400


NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
DIRECTIONS = st.builds(Direction, *[NUMBERS] * 6, st.none() | st.booleans())
VERDICTS = st.sampled_from(get_args(ClockVerdict))


@given(DIRECTIONS, DIRECTIONS, st.integers(0, 2**32 - 1), VERDICTS)
def test_whatever_is_stored_is_read_back_equal(upstream, downstream, timestamp, clock):
    window = WindowResult("10.0.0.1", Summary(timestamp, upstream, downstream, clock=clock))
    assert parse_failed_report(failed_report(window)) == window


def test_the_directions_are_not_mixed_up():
    swapped = WindowResult("10.0.0.1", Summary(1, DOWN, UP))
    assert json.loads(payload(swapped))["hurstUpRs"] == DOWN.hurst_rs
    assert parse_failed_report(failed_report(swapped)).summary.upstream == DOWN
