"""What every sink promises; one test asks it of each of them.

A bundle is accepted as a whole, or the sink raises Unavailable; some records may be there all the
same, because the sender repeats the bundle: at least once, never less. A bundle that fails touches
no other. A sink starts although its broker is away, and finds it later. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tixd import bounded, errors
from tixd.config.collector_settings import Format

#: Longest part of a record's identity in an error, characters.
SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """A rendered record; `key` and `message_id` are the same whenever the record comes again."""

    key: str
    message_id: str
    body: bytes
    content_type: str


def too_large(
    sink: str, message: OutboundMessage, size: int, limit: str
) -> errors.TooLargeForOutput:
    """Make the error for a record that the sink never takes."""
    name = bounded.text(message.key, SHOWN_CHARACTERS)
    return errors.TooLargeForOutput(f"{sink}: record {name!r} has {size} bytes, {limit}")


class Sink(Protocol):
    """A place where records go."""

    @property
    def name(self) -> str:
        """Return its name in messages."""

    @property
    def target(self) -> str:
        """Return where its records go: address, and exchange or topic; or a file."""

    @property
    def format(self) -> Format:
        """Return the format of its records."""

    async def start(self) -> None:
        """Begin to connect; raises CannotStart where that can never succeed."""

    async def stop(self) -> None:
        """End; nothing is being published any more."""

    def unready_reason(self) -> str | None:
        """Return why nothing can be published now; from memory, so it may be called often."""

    def retry_now(self) -> None:
        """Try at once to become ready; called when a bundle was turned away."""

    def check(self, messages: Sequence[OutboundMessage]) -> None:
        """Raise TooLargeForOutput where a message can never be accepted."""

    async def publish(self, messages: Sequence[OutboundMessage]) -> None:
        """Return once every message is safe; the caller sets a deadline.

        Raises Unavailable, or TooLargeForOutput where only publishing shows that one never fits.
        """

    @property
    def last_confirmed_at(self) -> float | None:
        """Return when (monotonic seconds) it last accepted something; None: never."""
