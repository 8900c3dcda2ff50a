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


def receiving(hand: Admission, size: int, ended: list[Reservation]) -> Reservation:
    """A request of which so much has arrived; it is in the list once it was ended."""
    share = Reservation(hand, lambda: ended.append(share))
    share.take(size)
    return share


def test_what_a_request_held_is_free_when_it_ends():
    hand = Admission(most_requests=1, most_bytes=4000, clock=Clock())
    with hand.share() as share:
        share.take(2000)
        with hand.share() as other, pytest.raises(errors.Unavailable, match="2000 bytes are in"):
            other.take(1500)
        share.hold(3000)
        share.hold(10)
        assert hand.bytes == 10
    assert (hand.bytes, hand.requests) == (0, 0)


def test_large_requests_leave_a_quarter_of_the_memory_to_small_ones():
    hand = Admission(most_requests=1, most_bytes=4000, clock=Clock())
    with hand.share() as large, hand.share() as second, hand.share() as small:
        large.take(2900)
        with pytest.raises(errors.Unavailable):
            second.take(200)
        small.take(15)
        with pytest.raises(errors.OverLimit, match="three quarters of maxBytesInHand"):
            large.take(200)


def test_the_stalled_body_makes_room_and_of_several_the_one_with_least_progress():
    clock, ended = Clock(), []
    hand = Admission(1, 4000, clock)
    old = receiving(hand, 500, ended)
    largest_old = receiving(hand, 900, ended)
    clock.now = 10.0
    fresh = receiving(hand, 900, ended)
    newest = receiving(hand, 1000, ended)
    assert (ended, old.bytes, fresh.bytes) == ([largest_old], 500, 900)
    newest.take(800)
    assert ended == [largest_old, old]
    assert hand.bytes == fresh.bytes + newest.bytes


def test_a_body_that_trickles_makes_room_before_one_that_flows():
    clock, ended = Clock(), []
    hand = Admission(1, 4000, clock)
    flowing, trickling = receiving(hand, 100, ended), receiving(hand, 1400, ended)
    for second in range(1, 4):
        clock.now = second
        trickling.take(1)
        flowing.hold(300 * second + 100)
    receiving(hand, 1000, ended)
    assert ended == [trickling]


def test_a_large_body_that_flows_slowly_is_not_taken_for_a_smaller_one_that_stands_still():
    clock, ended = Clock(), []
    hand = Admission(1, 40_000, clock)
    standing, slow = receiving(hand, 9000, ended), receiving(hand, 9000, ended)
    for tenth in range(1, 41):
        clock.now = tenth / 10
        slow.take(30)
    receiving(hand, 12_000, ended)
    assert ended == [standing]


def test_what_was_ended_raises_its_reason_and_counts_no_more():
    clock, ended = Clock(), []
    hand = Admission(1, 4000, clock)
    stalled = receiving(hand, 2000, ended)
    clock.now = 5.0
    receiving(hand, 2000, ended)
    with pytest.raises(errors.RequestTimeout, match="others needed the memory"):
        stalled.take(1)
    stalled.release()
    assert hand.bytes == 2000


def test_a_whole_body_is_not_ended_for_another_but_when_its_sender_leaves():
    clock, ended = Clock(), []
    hand = Admission(1, 4000, clock)
    whole = receiving(hand, 2000, ended)
    whole.is_whole, clock.now = True, 100.0
    with pytest.raises(errors.Unavailable):
        receiving(hand, 2000, ended)
    whole.end(ClientGone)
    with pytest.raises(ClientGone):
        whole.take(1)


def test_one_bundle_more_than_allowed_is_not_worked_on():
    hand = Admission(most_requests=1, most_bytes=10, clock=Clock())
    first, second = Reservation(hand), Reservation(hand)
    with hand.work(first):
        with pytest.raises(errors.Unavailable), hand.work(second):
            pass
        assert hand.requests == 1
    with hand.work(second):
        pass


def test_the_latest_large_bundle_makes_room_for_a_small_one_but_not_for_a_large_one():
    hand, ended = Admission(3, 4000, Clock()), []
    shares = [receiving(hand, size, ended) for size in (10, 10, 300)]
    shares[0].cpu_seconds = 1.0
    with contextlib.ExitStack() as work:
        for share in shares:
            work.enter_context(hand.work(share))
        with pytest.raises(errors.Unavailable, match="3 requests"):
            work.enter_context(hand.work(receiving(hand, 400, ended)))
        for _ in range(2):
            work.enter_context(hand.work(receiving(hand, 10, ended)))
        with pytest.raises(errors.Unavailable, match="3 requests"):
            work.enter_context(hand.work(receiving(hand, 10, ended)))
        assert ended == [shares[2], shares[0]]
        assert hand.requests == 3


def test_places_are_kept_for_large_bundles_which_no_number_of_small_ones_takes():
    hand, ended = Admission(32, 4000, Clock()), []
    with contextlib.ExitStack() as work:
        for _ in range(30):
            work.enter_context(hand.work(receiving(hand, 1, ended)))
        with pytest.raises(errors.Unavailable, match="most of them small"):
            work.enter_context(hand.work(receiving(hand, 1, ended)))
        for _ in range(2):
            work.enter_context(hand.work(receiving(hand, 100, ended)))
        for size in (1, 100):
            with pytest.raises(errors.Unavailable, match="32 requests"):
                work.enter_context(hand.work(receiving(hand, size, ended)))
    assert not ended
