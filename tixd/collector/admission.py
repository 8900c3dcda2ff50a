"""How much is in hand: what requests hold in memory, and bundles at work.

In: sizes as they become known, a clock. Out: leave to go on, or Unavailable, OverLimit. Rules:
- what a request holds counts as it grows: what has arrived, what it was decoded to, its records;
- a quarter of the bytes is kept for small requests, so that large ones never shut them out;
- when bytes are short, requests still being received make room, the one with least progress first;
- when no bundle more may be worked on, the latest of the large ones makes room for a small one;
- a sixteenth of the places is kept for large bundles, so that small ones never shut them out;
- what a request took is free again when it ends, however it ends. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from tixd import errors

#: What is kept for small requests is one part in so many; one is small up to 1 part in so many.
RESERVED_PART, SMALL_PART = 4, 256

#: Of the bundles that may be worked on, one in so many is kept for large ones.
LARGE_PART = 16

#: After so many seconds a byte counts half as progress.
HALF_LIFE_SECONDS = 0.5

#: A request of whose bytes a smaller share is recent makes no progress: it may have to make room.
STALLED = 0.5

#: Progress is compared by how often it can be doubled, up to so many times, so that slow bodies
#: differ from those that stand still; of equal ones the largest makes room.
MOST_DOUBLINGS = 16

#: CPU seconds after which a request is large, whatever it holds.
MUCH_CPU_SECONDS = 0.1


#: Makes the exception that a request ends with; never the same one twice, because an exception
#: that is kept keeps everything that its traceback knows.
Reason = Callable[[], Exception]

_LARGE = partial(errors.Unavailable, "it is large, and small requests needed its place")
_STALLED = partial(errors.RequestTimeout, "others needed the memory it held")


class ClientGone(Exception):
    """The sender has gone, nobody is there to be answered."""


class Admission:
    """What all requests together hold; `most_requests` and `most_bytes` are the limits."""

    def __init__(self, most_requests: int, most_bytes: int, clock: Callable[[], float]) -> None:
        self._most_requests, self._most_bytes = most_requests, most_bytes
        self._clock = clock
        self._small_bytes = most_bytes // SMALL_PART
        self._shares: dict[Reservation, None] = {}
        self._at_work: dict[Reservation, None] = {}
        self.bytes = 0

    @property
    def requests(self) -> int:
        """How many bundles are worked on."""
        return len(self._at_work)

    @contextmanager
    def share(self) -> Iterator[Reservation]:
        """The share of one request."""
        share = Reservation(self)
        try:
            yield share
        finally:
            share.release()

    @contextmanager
    def work(self, share: Reservation) -> Iterator[None]:
        """Work on one bundle; raises Unavailable where too many are worked on already."""
        self._make_place(self._is_large(share))
        self._at_work[share] = None
        try:
            yield
        finally:
            self._at_work.pop(share, None)

    def _make_place(self, is_large: bool) -> None:  # noqa: FBT001
        """See that one bundle more can be worked on; raises Unavailable."""
        large = [one for one in self._at_work if self._is_large(one)]
        kept = self._most_requests // LARGE_PART
        if not is_large and self.requests - len(large) >= self._most_requests - kept:
            raise errors.Unavailable(f"{self.requests} requests are in hand, most of them small")
        if self.requests < self._most_requests:
            return
        latest = next((one for one in reversed(large[kept:]) if one.can_end), None)
        if is_large or not latest:
            raise errors.Unavailable(f"{self.requests} requests are in hand")
        latest.end(_LARGE)

    def now(self) -> float:
        """The time of its clock, seconds."""
        return self._clock()

    def change(self, share: Reservation, size: int) -> None:
        """Count so many bytes more (or fewer) for this share; `size` has been checked."""
        self.bytes += size
        if share.bytes + size:
            self._shares[share] = None
        else:
            self._shares.pop(share, None)

    def forget(self, share: Reservation) -> None:
        """It was ended: it does no work any more, although its task has not noticed yet."""
        self._at_work.pop(share, None)

    def make_room(self, share: Reservation, size: int) -> None:
        """See that this share can hold so many more bytes; raises Unavailable, OverLimit."""
        total, most = share.bytes + size, self._most_bytes
        if total > self._small_bytes:
            most -= most // RESERVED_PART
        if total > most:
            part = "three quarters of maxBytesInHand"
            raise errors.OverLimit(f"a request that takes over {most} bytes of memory, {part}")
        while self.bytes + size > most:
            self._least_progress(share).end(_STALLED)

    def _is_large(self, share: Reservation) -> bool:
        return share.bytes > self._small_bytes or share.cpu_seconds > MUCH_CPU_SECONDS

    def _least_progress(self, asking: Reservation) -> Reservation:
        now = self._clock()
        stalled = [
            (_step(progress), -share.bytes, share)
            for share in self._shares
            if share is not asking and share.can_end and (progress := share.progress(now)) < STALLED
        ]
        if not stalled:
            raise errors.Unavailable(f"{self.bytes} bytes are in hand")
        return min(stalled, key=lambda found: found[:2])[2]


def _step(progress: float) -> int:
    """In which step of progress it is.

    >>> [_step(progress) for progress in (0.4, 0.03, 0.0)]
    [-2, -6, -16]
    """
    return math.floor(math.log2(max(progress, 2.0**-MOST_DOUBLINGS)))


class Reservation:
    """What one request holds, and how it can be ended from outside.

    is_whole: everything has arrived; from then on it is not judged by its progress; cpu_seconds:
    what the work on it took, step_seconds: what its last step took; interrupt: has its task, or its
    connection, see that it was ended; without one it cannot be.
    """

    def __init__(self, hand: Admission, interrupt: Callable[[], object] | None = None) -> None:
        self._hand, self.interrupt = hand, interrupt
        self.bytes = 0
        self.cpu_seconds = self.step_seconds = 0.0
        self.ended: Reason | None = None
        self.is_whole = False
        self._recent, self._moment = 0.0, 0.0

    def take(self, size: int) -> None:
        """Hold so many more bytes; raises Unavailable where there is no room, OverLimit."""
        self.hold(self.bytes + size)

    def hold(self, total: int) -> None:
        """Hold so many bytes in all; raises as take."""
        if self.ended:
            raise self.ended()
        more = total - self.bytes
        if more > 0:
            self._hand.make_room(self, more)
            now = self._hand.now()
            self._recent, self._moment = self._recent_at(now) + more, now
        self._change(more)

    def release(self) -> None:
        """Hold nothing any more."""
        self._change(-self.bytes)

    def progress(self, now: float) -> float:
        """What part of its bytes is recent; 1 where all has arrived."""
        return 1.0 if self.is_whole else self._recent_at(now) / max(self.bytes, 1)

    @property
    def can_end(self) -> bool:
        """Whether it can be ended from outside, and has not been."""
        return self.interrupt is not None and self.ended is None

    def end(self, reason: Reason) -> None:
        """End the request, whose task raises the reason soon; what it held is free at once."""
        if self.interrupt is None or self.ended:
            return
        self.ended = reason
        self.release()
        self._hand.forget(self)
        self.interrupt()

    def _recent_at(self, now: float) -> float:
        return float(self._recent * 2.0 ** ((self._moment - now) / HALF_LIFE_SECONDS))

    def _change(self, size: int) -> None:
        self._hand.change(self, size)
        self.bytes += size
