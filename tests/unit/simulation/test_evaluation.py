"""The truth of a description.yml, and how estimates are measured against it."""

from __future__ import annotations

import tracemalloc

import pytest

from tests.support import recordings
from tests.support.recordings import of_experiment
from tixd import errors
from tixd.simulation.evaluation import Part, Truth, agreement, covered, expected, read

RECORDED = b"""connection_speed: 1500
experiment:
  - start: 2000
    speed: 375
    lapse: 500
  - start: 1000
    speed: 1500
    lapse: 1000
"""


def test_a_recorded_schedule_is_read_in_order_of_time():
    assert read(RECORDED) == Truth((), (Part(1000, 2000, 1.0), Part(2000, 2500, 0.25)))


def test_a_simulations_upstream_is_read_beside_it():
    upstream = RECORDED.replace(b"connection", b"upstream_connection")
    both = RECORDED + upstream.replace(b"experiment", b"upstream_experiment")
    assert read(both) == Truth(read(RECORDED).downstream, read(RECORDED).downstream)


def test_a_change_of_speed_inside_a_window_is_weighed_by_time():
    schedule = read(RECORDED).downstream
    assert expected(schedule, 1100, 1900) == 1.0
    assert expected(schedule, 1900, 2200) == pytest.approx((100 + 200 * 0.25) / 300)


def test_a_gap_carries_nothing_and_what_lies_outside_is_left_out():
    schedule = (Part(1000, 2000, 0.5), Part(2500, 3000, 1.0))
    assert expected(schedule, 1500, 3000) == pytest.approx((250 + 500) / 1500)
    assert expected(schedule, 1500, 2400) == 0.5
    assert expected(schedule, 2200, 3200) == 1.0
    assert expected(schedule, 2000, 2500) is None


@pytest.mark.parametrize(
    ("first", "last", "share"),
    [(1000, 2000, 1.0), (0, 2000, 0.5), (2500, 3500, 0.5), (0, 500, 0.0), (2000, 2500, 1.0)],
)
def test_a_schedule_covers_its_gaps_and_nothing_outside(first, last, share):
    schedule = (Part(1000, 2000, 0.5), Part(2500, 3000, 1.0))
    assert covered(schedule, first, last) == share
    assert covered((), first, last) == 0.0


#: Each line has all of the line before ten times: 10**6 members.
LAUGHING = b"l0: &l0 {a: 1}\n" + b"".join(
    b"l%d: &l%d {<<: [%s]}\n" % (n, n, b", ".join([b"*l%d" % (n - 1)] * 10)) for n in range(1, 7)
)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"7", b"connection_speed: 5", b"\xff\xfe", b"{", b"&a [*a]"),
        *(RECORDED.replace(b"1500\ne", wrong + b"\ne") for wrong in (b"0", b"-1", b".nan", b"x")),
        *(RECORDED.replace(b"375", wrong) for wrong in (b"-1", b".inf", b"true", b"[]", b"")),
        RECORDED.replace(b"start: 2000", b"start: 1900"),
        b"!!python/object/apply:os.system [true]",
        b"connection_speed: 5\nexperiment: 7\n",
        b"x" * (1 << 20) + b"x",
        b"connection_speed: 1" + b":0" * 120_000 + b"\nexperiment: []",
        RECORDED + b"a: &a {b: c}\nd: *a\n",
        RECORDED + LAUGHING,
    ],
)
def test_what_states_no_truth_is_refused(content):
    with pytest.raises(errors.BadDescription) as caught:
        read(content)
    assert len(str(caught.value)) < 400


def test_a_member_of_another_type_is_told_without_words_of_python():
    with pytest.raises(errors.BadDescription, match=r"^a speed, time or lapse is not a number"):
        read(RECORDED.replace(b"375", b"[]"))


def test_a_file_that_names_its_parts_again_and_again_takes_little_memory():
    tracemalloc.start()
    with pytest.raises(errors.BadDescription, match="an alias"):
        read(RECORDED + LAUGHING)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_agreement_of_nothing_and_of_idle_lines_is_undefined_where_it_must_be():
    assert agreement([]).error is None
    idle = agreement([(0.25, 0.0), (0.5, 0.0)])
    assert (idle.error, idle.bias, idle.relative, idle.correlation) == (0.375, 0.375, None, None)


@pytest.mark.parametrize("experiment", recordings.RECORDED)
def test_the_truth_of_real_windows_is_what_their_authors_expected(experiment):
    truth = read(of_experiment(experiment))
    for line in recordings.expected(experiment):
        due = line["scheduled_downstream_usage"]
        last = line["result"]["timestamp"]
        found = expected(truth.downstream, int(line["window"]), last)
        assert found == pytest.approx(due, abs=1e-3), line["window"]
