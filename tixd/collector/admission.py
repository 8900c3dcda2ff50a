"""Decide which requests may use memory, and which bundles may be processed.

Rules:
- what a request holds counts as it grows: what has arrived, what it was decoded to, its records;
- a quarter of the bytes is kept for small requests, so that large ones never shut them out;
- when bytes are short, requests still being received make room, the one with least progress first;
- when no more bundles may be in progress, the latest large one makes room for a small one;
- a sixteenth of the places is kept for large bundles, so that small ones never shut them out;
- what a request reserved is free again when it ends, however it ends.
receive.py makes the answer; `errors.Unavailable` lists all reasons of a 503. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from tixd import errors

#: Divisor of the bytes that are reserved for small requests.
RESERVED_PART = 4

#: Divisor of the bytes up to which a request is small.
SMALL_PART = 256

#: Divisor of the places that are reserved for large bundles.
LARGE_PART = 16

#: Seconds after which a byte counts half as progress.
HALF_LIFE_SECONDS = 0.5

#: A request with a smaller share of recent bytes counts as stalled: it may have to make room.
STALLED = 0.5

#: Most levels of progress, each twice the one below, so that slow bodies differ from those that
#: stand still; among equals, the largest makes room.
MAX_DOUBLINGS = 16

#: CPU seconds after which a request is large, whatever it holds.
LARGE_CPU_SECONDS = 0.1

#: How often the bytes of a head are held: aiohttp keeps them as they arrived, and as text.
HEAD_COPIES = 2

#: Makes the exception that a request ends with; never the same one twice, because an exception
#: that is kept keeps everything its traceback refers to.
Reason = Callable[[], Exception]

_LARGE = partial(errors.Unavailable, "dropped to make room for a small request")
_STALLED = partial(errors.RequestTimeout, "others needed the memory it held")


class ClientGone(Exception):
    """The sender disconnected: no answer is needed."""


class Admission:
    """What all requests reserve together, and which bundles are in progress."""

    def __init__(self, max_requests: int, max_bytes: int, clock: Callable[[], float]) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._small_bytes = max_bytes // SMALL_PART
        self._reservations: dict[Reservation, None] = {}
        self._admitted: dict[Reservation, None] = {}
        self.clock = clock
        self.reserved_bytes = 0

    @property
    def admitted_requests(self) -> int:
        """Return how many bundles are in progress."""
        return len(self._admitted)

    @contextmanager
    def reserve(self) -> Iterator[Reservation]:
        """Make a reservation for one request; it is released at the end of the block."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            reservation.release()

    @contextmanager
    def admit(self, reservation: Reservation) -> Iterator[None]:
        """Process a bundle in the block; raises Unavailable where too many are in progress."""
        self._make_place(is_large=self._is_large(reservation))
        self._admitted[reservation] = None
        try:
            yield
        finally:
            self._admitted.pop(reservation, None)

    def _make_place(self, *, is_large: bool) -> None:
        """Make place for one more bundle; raises Unavailable."""
        large = [one for one in self._admitted if self._is_large(one)]
        for_large = self._max_requests // LARGE_PART
        admitted = self.admitted_requests
        if not is_large and admitted - len(large) >= self._max_requests - for_large:
            raise errors.Unavailable(
                f"{admitted} bundles in progress, no place for another small one"
            )
        if admitted < self._max_requests:
            return
        latest = next((one for one in reversed(large[for_large:]) if one.can_cancel), None)
        if is_large or not latest:
            raise errors.Unavailable(f"{admitted} bundles in progress")
        latest.cancel(_LARGE)

    def count(self, reservation: Reservation, size: int) -> None:
        """Count `size` more (or fewer) bytes for a reservation; there is room for them."""
        self.reserved_bytes += size
        if reservation.bytes + size:
            self._reservations[reservation] = None
        else:
            self._reservations.pop(reservation, None)

    def dismiss(self, reservation: Reservation) -> None:
        """Free its place at once, before its task has noticed that it was cancelled."""
        self._admitted.pop(reservation, None)

    def make_room(self, reservation: Reservation, size: int) -> None:
        """Make room for a reservation to grow by `size` bytes; raises Unavailable, OverLimit."""
        total = reservation.bytes + size
        limit = self._max_bytes
        if total > self._small_bytes:
            limit -= limit // RESERVED_PART
        if total > limit:
            part = "three quarters of maxBytesInHand"
            raise errors.OverLimit(f"a request that takes over {limit} bytes of memory, {part}")
        while self.reserved_bytes + size > limit:
            self._least_progress(reservation).cancel(_STALLED)

    def _is_large(self, reservation: Reservation) -> bool:
        return reservation.bytes > self._small_bytes or reservation.cpu_seconds > LARGE_CPU_SECONDS

    def _least_progress(self, asking: Reservation) -> Reservation:
        """Return the request that makes room; raises Unavailable where all others make progress."""
        now = self.clock()
        stalled = [
            (_progress_level(progress), -one.bytes, one)
            for one in self._reservations
            if one is not asking and one.can_cancel and (progress := one.progress(now)) < STALLED
        ]
        if not stalled:
            raise errors.Unavailable(f"{self.reserved_bytes} bytes are reserved")
        return min(stalled, key=lambda found: found[:2])[2]


def _progress_level(progress: float) -> int:
    """Return how often progress can be doubled until it is whole, as a negative number.

    >>> [_progress_level(progress) for progress in (0.4, 0.03, 0.0)]
    [-2, -6, -16]
    """
    return math.floor(math.log2(max(progress, 2.0**-MAX_DOUBLINGS)))


class Reservation:
    """What one request holds, and how it can be cancelled from outside.

    is_whole: everything has arrived; from then on it is not judged by its progress; cpu_seconds:
    what the work on it took, step_seconds: what its last step took; interrupt: lets its task, or
    its connection, see that it was cancelled; without one it cannot be.
    """

    def __init__(self, admission: Admission, interrupt: Callable[[], object] | None = None) -> None:
        self._admission = admission
        self.interrupt = interrupt
        self.bytes = 0
        self.cpu_seconds = 0.0
        self.step_seconds = 0.0
        self.cancelled: Reason | None = None
        self.is_whole = False
        self._recent_bytes = 0.0
        self._measured_at = 0.0

    def add(self, size: int) -> None:
        """Reserve `size` bytes more; raises Unavailable where there is no room, OverLimit."""
        self.resize(self.bytes + size)

    def resize(self, total: int) -> None:
        """Reserve `total` bytes in all; raises as `add`, and the reason of a cancelled request."""
        if self.cancelled:
            raise self.cancelled()
        more = total - self.bytes
        if more > 0:
            self._admission.make_room(self, more)
            now = self._admission.clock()
            self._recent_bytes = self._recent_bytes_at(now) + more
            self._measured_at = now
        self._grow(more)

    def release(self) -> None:
        """Release everything."""
        self._grow(-self.bytes)

    def progress(self, now: float) -> float:
        """Return what part of its bytes is recent; 1 where all has arrived."""
        return 1.0 if self.is_whole else self._recent_bytes_at(now) / max(self.bytes, 1)

    @property
    def can_cancel(self) -> bool:
        """Return whether it can be cancelled from outside, and was not yet."""
        return self.interrupt is not None and self.cancelled is None

    def cancel(self, reason: Reason) -> None:
        """End the request, whose task raises the reason soon; what it held is free at once."""
        if self.interrupt is None or self.cancelled:
            return
        self.cancelled = reason
        self.release()
        self._admission.dismiss(self)
        self.interrupt()

    def _recent_bytes_at(self, now: float) -> float:
        return float(self._recent_bytes * 2.0 ** ((self._measured_at - now) / HALF_LIFE_SECONDS))

    def _grow(self, size: int) -> None:
        self._admission.count(self, size)
        self.bytes += size
