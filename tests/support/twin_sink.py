"""The sink that keeps records in memory: the twin of the others for tests.

In: messages. Out: a list. Rules: those of the contract; what is wrong with it is set by hand.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from tixd import errors
from tixd.config.collector import Format
from tixd.sinks.base import Outgoing


class MemorySink:
    """Keeps what was published in `kept`.

    away: why it is not ready; refused: keys that it refuses; largest_bytes: what fits.
    """

    name = "memory"

    def __init__(self, form: Format = "json") -> None:
        self.form: Format = form
        self.kept: list[Outgoing] = []
        self.away = ""
        self.refused: set[str] = set()
        self.largest_bytes = 1_000_000
        self.hurried = 0
        self.confirmed: float | None = None

    async def start(self) -> None:
        """Be there."""
        self.confirmed = time.monotonic()

    async def stop(self) -> None:
        """What was kept is kept."""

    def not_ready(self) -> str:
        """What the test says."""
        return self.away

    def hurry(self) -> None:
        """Count it."""
        self.hurried += 1

    def check(self, messages: Sequence[Outgoing]) -> None:
        """Raises TooLargeForOutput as the test says."""
        for message in messages:
            if len(message.body) > self.largest_bytes:
                raise errors.TooLargeForOutput(f"{self.name}: record {message.key}")

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Keep all, or raise NotAccepted where one of them is refused."""
        if self.away or any(message.key in self.refused for message in messages):
            raise errors.NotAccepted(f"{self.name}: {self.away or 'refused'}")
        self.kept += messages
        self.confirmed = time.monotonic()
