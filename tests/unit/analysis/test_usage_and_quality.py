"""Usage and quality of delays made by hand, where the result can be counted."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import reference_analysis as reference
from tests.support.windows import BEGIN
from tixd.analysis.mode import usage_by_mode, usage_of_ordered
from tixd.analysis.quality import quality

#: Two bins of a minute of 60: the mode is 100, the threshold 100 + 93 / 2.
CALM = np.array([90.0, 91, 92, 93, 94, 95, 96, 97, *[100] * 8])

#: 40 of the 44 packets above the mode are held up; 10 of them.
BUSY_MINUTE = np.concatenate([CALM, np.arange(101, 105), np.full(40, 1000.0)])
IDLE_MINUTE = np.concatenate([CALM, np.arange(101, 135), np.full(10, 1000.0)])


@pytest.mark.parametrize("count", range(1, 130))
def test_every_number_of_delays_is_binned_as_in_plain_python(count):
    random = np.random.default_rng(count)
    delays = np.stack((random.gamma(2, 1e6, count), random.integers(-3, 9, count)))
    assert usage_by_mode(delays) == [reference.usage(row) for row in delays.tolist()]


def test_usage_counts_what_lies_above_the_threshold():
    # 3 bins of 5: bin 0 is 6..10 with middle 8, bin 1 the densest; mode 21, threshold 25
    delays = np.array([[6.0, 7, 8, 9, 10, 20, 20, 21, 22, 23, 24, 25, 40, 50, 60]])
    assert usage_by_mode(delays) == [3 / 7]


def test_negative_delays_can_read_above_one():
    delays = np.concatenate([np.linspace(-900, -500, 10), np.zeros(30), np.arange(1.0, 25)])
    assert usage_by_mode(delays[None])[0] > 1


def test_rows_of_different_lengths_are_binned_each_by_itself():
    short, long = np.sqrt(np.arange(36.0)), np.arange(200.0)  # the densest bin is short's last
    rows = np.full((2, 200), np.inf)
    rows[0, :36], rows[1] = short, long
    alone = usage_by_mode(short[None]) + usage_by_mode(long[None])
    assert usage_of_ordered(rows, np.array([36, 200])).tolist() == alone


def test_usage_is_zero_where_no_delay_exceeds_the_mode():
    assert usage_by_mode(np.full((1, 600), 7.0)) == [0.0]
    # the threshold, 3 - 7 / 2, lies below the mode, 3, because bin 0 is negative
    assert usage_by_mode(np.array([[-9.0, -5.0, 3.0, 3.0]])) == [0.0]


def test_directions_are_told_apart():
    assert usage_by_mode(np.stack((BUSY_MINUTE, IDLE_MINUTE))) == [40 / 44, 10 / 44]


def test_quality_is_the_share_of_minutes_with_much_usage_when_delays_persist():
    second = BEGIN + np.arange(300)
    delays = np.concatenate([BUSY_MINUTE, IDLE_MINUTE, IDLE_MINUTE, BUSY_MINUTE, IDLE_MINUTE])
    assert quality(delays[None], second, [0.9]) == [2 / 5]
    assert quality(delays[None], second, [0.7]) == [1.0]


@pytest.mark.parametrize(("count", "judged"), [(29, False), (30, True)])
def test_a_minute_is_judged_from_thirty_packets_on(count, judged):
    second = BEGIN + np.arange(60 + count)  # a busy minute, then a part of an idle one
    delays = np.concatenate([BUSY_MINUTE, np.zeros(count)])
    assert quality(delays[None], second, [0.9]) == [0.5 if judged else 1.0]


def test_minutes_are_those_of_utc():
    second = BEGIN + 30 + np.arange(60)  # two halves of a minute
    idle_then_busy = np.concatenate([np.zeros(30), np.arange(10.0), 1000 + np.arange(20.0)])
    assert quality(idle_then_busy[None], second, [0.9]) == [0.5]


def test_quality_is_undefined_without_a_full_minute_or_without_an_exponent():
    second = BEGIN + np.arange(60)
    delays = np.stack((BUSY_MINUTE, BUSY_MINUTE))
    assert quality(delays, second, [None, 0.9]) == [None, 1.0]
    assert quality(delays[:, :29], second[:29], [0.9, 0.9]) == [None, None]
