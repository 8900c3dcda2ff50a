"""How much is in hand: bodies that are being received or worked on, and bundles at work.

In: sizes as they become known. Out: leave to go on, or NotAccepted. Pure.
Rules: a body counts with what has arrived of it, so that whoever only announces much takes no room
from others; what a request took is free again when it ends, however it ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tixd import errors


class Hand:
    """What all requests together hold; `most_requests` and `most_bytes` are the limits."""

    def __init__(self, most_requests: int, most_bytes: int) -> None:
        self._most_requests, self._most_bytes = most_requests, most_bytes
        self.requests = self.bytes = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """The share of one request."""
        share = Share(self)
        try:
            yield share
        finally:
            share.release()

    def room_for(self, size: int) -> bool:
        """Whether so many more bytes may be held."""
        return self.bytes + size <= self._most_bytes

    @contextmanager
    def work(self) -> Iterator[None]:
        """Work on one bundle; raises NotAccepted where too many are worked on already."""
        if self.requests >= self._most_requests:
            raise errors.NotAccepted(f"{self.requests} requests are in hand")
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1


class Share:
    """What one request holds."""

    def __init__(self, hand: Hand) -> None:
        self._hand, self._bytes = hand, 0

    def take(self, size: int) -> None:
        """Hold so many more bytes; raises NotAccepted where there is no room."""
        if not self._hand.room_for(size):
            raise errors.NotAccepted(f"{self._hand.bytes} bytes are in hand")
        self._hand.bytes += size
        self._bytes += size

    def release(self) -> None:
        """Hold nothing any more."""
        self._hand.bytes -= self._bytes
        self._bytes = 0
