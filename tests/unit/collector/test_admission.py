"""What requests hold together: who makes room, and who is refused."""

from __future__ import annotations

import contextlib

import pytest

from tixd import errors
from tixd.collector.admission import Admission, ClientGone, Reservation


class Clock:
    """A time that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def receiving(admission: Admission, size: int, ended: list[Reservation]) -> Reservation:
    """A request of which so much has arrived; it is in the list once it was ended."""
    reservation = Reservation(admission, lambda: ended.append(reservation))
    reservation.add(size)
    return reservation


def test_what_a_request_held_is_free_when_it_ends():
    admission = Admission(max_requests=1, max_bytes=4000, clock=Clock())
    with admission.reserve() as reservation:
        reservation.add(2000)
        with (
            admission.reserve() as other,
            pytest.raises(errors.Unavailable, match="2000 bytes are reserved"),
        ):
            other.add(1500)
        reservation.resize(3000)
        reservation.resize(10)
        assert admission.reserved_bytes == 10
    assert (admission.reserved_bytes, admission.admitted_requests) == (0, 0)


def test_large_requests_leave_a_quarter_of_the_memory_to_small_ones():
    admission = Admission(max_requests=1, max_bytes=4000, clock=Clock())
    with admission.reserve() as large, admission.reserve() as second, admission.reserve() as small:
        large.add(2900)
        with pytest.raises(errors.Unavailable):
            second.add(200)
        small.add(15)
        with pytest.raises(errors.OverLimit, match="three quarters of maxBytesInHand"):
            large.add(200)


def test_the_stalled_body_makes_room_and_of_several_the_one_with_least_progress():
    clock, ended = Clock(), []
    admission = Admission(1, 4000, clock)
    old = receiving(admission, 500, ended)
    largest_old = receiving(admission, 900, ended)
    clock.now = 10.0
    fresh = receiving(admission, 900, ended)
    newest = receiving(admission, 1000, ended)
    assert (ended, old.bytes, fresh.bytes) == ([largest_old], 500, 900)
    newest.add(800)
    assert ended == [largest_old, old]
    assert admission.reserved_bytes == fresh.bytes + newest.bytes


def test_a_body_that_trickles_makes_room_before_one_that_flows():
    clock, ended = Clock(), []
    admission = Admission(1, 4000, clock)
    flowing, trickling = receiving(admission, 100, ended), receiving(admission, 1400, ended)
    for second in range(1, 4):
        clock.now = second
        trickling.add(1)
        flowing.resize(300 * second + 100)
    receiving(admission, 1000, ended)
    assert ended == [trickling]


def test_a_large_body_that_flows_slowly_is_not_taken_for_a_smaller_one_that_stands_still():
    clock, ended = Clock(), []
    admission = Admission(1, 40_000, clock)
    standing, slow = receiving(admission, 9000, ended), receiving(admission, 9000, ended)
    for tenth in range(1, 41):
        clock.now = tenth / 10
        slow.add(30)
    receiving(admission, 12_000, ended)
    assert ended == [standing]


def test_what_was_ended_raises_its_reason_and_counts_no_more():
    clock, ended = Clock(), []
    admission = Admission(1, 4000, clock)
    stalled = receiving(admission, 2000, ended)
    clock.now = 5.0
    receiving(admission, 2000, ended)
    with pytest.raises(errors.RequestTimeout, match="others needed the memory"):
        stalled.add(1)
    stalled.release()
    assert admission.reserved_bytes == 2000


def test_a_whole_body_is_not_ended_for_another_but_when_its_sender_leaves():
    clock, ended = Clock(), []
    admission = Admission(1, 4000, clock)
    whole = receiving(admission, 2000, ended)
    whole.is_whole, clock.now = True, 100.0
    with pytest.raises(errors.Unavailable):
        receiving(admission, 2000, ended)
    whole.cancel(ClientGone)
    with pytest.raises(ClientGone):
        whole.add(1)


def test_one_bundle_more_than_allowed_is_not_worked_on():
    admission = Admission(max_requests=1, max_bytes=10, clock=Clock())
    first, second = Reservation(admission), Reservation(admission)
    with admission.admit(first):
        with pytest.raises(errors.Unavailable), admission.admit(second):
            pass
        assert admission.admitted_requests == 1
    with admission.admit(second):
        pass


def test_the_latest_large_bundle_makes_room_for_a_small_one_but_not_for_a_large_one():
    admission, ended = Admission(3, 4000, Clock()), []
    reservations = [receiving(admission, size, ended) for size in (10, 10, 300)]
    reservations[0].cpu_seconds = 1.0
    with contextlib.ExitStack() as work:
        for reservation in reservations:
            work.enter_context(admission.admit(reservation))
        with pytest.raises(errors.Unavailable, match="3 bundles"):
            work.enter_context(admission.admit(receiving(admission, 400, ended)))
        for _ in range(2):
            work.enter_context(admission.admit(receiving(admission, 10, ended)))
        with pytest.raises(errors.Unavailable, match="3 bundles"):
            work.enter_context(admission.admit(receiving(admission, 10, ended)))
        assert ended == [reservations[2], reservations[0]]
        assert admission.admitted_requests == 3


def test_places_are_kept_for_large_bundles_which_no_number_of_small_ones_takes():
    admission, ended = Admission(32, 4000, Clock()), []
    with contextlib.ExitStack() as work:
        for _ in range(30):
            work.enter_context(admission.admit(receiving(admission, 1, ended)))
        with pytest.raises(errors.Unavailable, match="no place for another small"):
            work.enter_context(admission.admit(receiving(admission, 1, ended)))
        for _ in range(2):
            work.enter_context(admission.admit(receiving(admission, 100, ended)))
        for size in (1, 100):
            with pytest.raises(errors.Unavailable, match="32 bundles"):
                work.enter_context(admission.admit(receiving(admission, size, ended)))
    assert not ended
