"""Durations: a fraction is cut as the original cuts it, since consumers compute ids from it."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gratia import job
from tests.support.recordings import shared_case
from tixd.collector.conversions import seconds
from tixd.collector.record import record
from tixd.collector.record_parser import Limits, parse_element

#: Texts of our own, and what the rule makes of them: three times the rest, as a float, times 1000.
CUT = {
    "PT0.1S": 0.1,
    "PT0.29S": 0.29,
    "PT0.3S": 0.3,
    "PT0.57S": 0.57,
    "PT0.58S": 0.58,
    "PT1.001S": 1.000999999,
    "PT1.005S": 1.004999999,
    "PT1.1S": 1.1,
    "PT1.13S": 1.129999999,
    "PT1.15S": 1.149999999,
    "PT2.01S": 2.009999999,
    "PT2.3S": 2.299999999,
    "PT3.14S": 3.14,
    "PT2.675S": 2 + 0.674999999,
    "PT4.35S": 4.349999999,
    "PT7.77S": 7.769999999,
    "PT8.41S": 8.41,
    "PT9.99S": 9.99,
    "PT10.07S": 10.07,
    "PT16.1S": 16.1,
    "PT128.3S": 128.3,
    "PT17.017S": 17.016999999,
    "PT33.33S": 33.329999999,
    "PT59.999S": 59.999,
    "PT60.01S": 60.009999999,
    "PT64.1S": 64.099999999,
    "PT99.99S": 99.989999999,
    "PT0.0000000019S": 1e-9,
    "PT0.9999999999S": 0.999999999,
    "PT12345678.91S": 12345678.91,
    "PT1M0.07S": 60.07,
    "PT2M8.29S": 128.289999999,
    "PT1H0.33S": 3600.33,
    "PT1H1M1.11S": 3661.11,
    "P1DT0.7S": 86400.7,
    "P1MT1.57S": 2592001.57,
    "P1Y2M3DT4H5M6.07S": 36993906.07,
    "xPT4.19Sx": 4.19,
    "P2WT9.9S": 1209600,
    "P1M1.5S": 2592000,
}

SECONDS = st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,12})?", fullmatch=True)


@pytest.mark.parametrize("text", CUT)
def test_a_fraction_is_cut_as_the_original_cuts_it(text: str) -> None:
    assert seconds(text) == CUT[text]


@given(st.integers(0, 10**6), st.integers(0, 59), SECONDS)
def test_any_duration_is_whole_seconds_and_cut_nanoseconds(
    hours: int, minutes: int, rest: str
) -> None:
    below, above = math.modf(float(rest))
    nanoseconds = 0
    for _ in range(3):
        below, place = math.modf(below * 1000)
        nanoseconds = nanoseconds * 1000 + int(place)
    whole = hours * 3600 + minutes * 60 + int(above)
    found = seconds(f"PT{hours}H{minutes}M{rest}S")
    assert found == whole + nanoseconds / 10**9
    assert type(found) is (float if nanoseconds and found % 1 else int)


@given(st.from_regex(r"[0-9]{1,4}\.[0-9]{1,9}", fullmatch=True))
def test_a_cut_loses_less_than_two_nanoseconds(rest: str) -> None:
    lost = Fraction(rest) - Fraction(seconds(f"PT{rest}S"))
    assert Fraction(-1, 10**11) < lost < Fraction(2, 10**9)


def test_cpu_durations_add_up_as_they_are_published() -> None:
    cpu = "".join(f"<CpuDuration usageType='{k}'>PT{s}S</CpuDuration>" for k, s in enumerate(TIMES))
    keys = record(parse_element(job(cpu).encode(), Limits(), {})).fields
    assert keys["CpuDuration"] == sum(keys[f"CpuDuration_{k}"] for k in range(len(TIMES)))
    assert keys["CpuDuration"] == 21.289999999 + 1.54


#: Seconds of two CpuDurations.
TIMES = ("21.29", "1.54")


def test_recorded_durations_are_what_the_original_published() -> None:
    recorded = json.loads(shared_case("durations.json").read_bytes())
    assert {text: seconds(text) for text in recorded} == recorded
    assert len(recorded) == 60
