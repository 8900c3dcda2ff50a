"""What a sink promises; outputs.py relies on it, and one test asks it of every sink.

In: the rendered records of one bundle. Out: nothing, once each of them is safe where the sink puts
it. Rules: a bundle is accepted as a whole or the sink raises Unavailable, and then some of it may
be there all the same (the sender repeats it: at least once, never less); what goes wrong with one
bundle touches no other; a sink starts although what it speaks to is away, and finds it later. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tixd import bounded, errors
from tixd.config.collector_settings import Format

#: Characters of a record's identity that a sender is shown.
SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """A record as it is published; `key` and `message_id` are the same whenever it comes again."""

    key: str
    message_id: str
    body: bytes
    content_type: str


def too_large(
    sink: str, message: OutboundMessage, size: int, limit: str
) -> errors.TooLargeForOutput:
    """The error for a record that the sink never takes."""
    name = bounded.text(message.key, SHOWN_CHARACTERS)
    return errors.TooLargeForOutput(f"{sink}: record {name!r} has {size} bytes, {limit}")


class Sink(Protocol):
    """Where records go."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def format(self) -> Format:
        """What the records are to be rendered as."""

    async def start(self) -> None:
        """Begin to look for what it speaks to; raises CannotStart where that can never be."""

    async def stop(self) -> None:
        """End; bundles in hand have ended before."""

    def unready_reason(self) -> str | None:
        """Return why nothing can be published now; asks nobody, so it may be called often."""

    def retry_now(self) -> None:
        """Look at once whether it is ready again; called when a bundle was turned away."""

    def check(self, messages: Sequence[OutboundMessage]) -> None:
        """Raises TooLargeForOutput where a message can never be accepted."""

    async def publish(self, messages: Sequence[OutboundMessage]) -> None:
        """Return once every message is safe; raises Unavailable. Who waits has a deadline.

        Raises TooLargeForOutput where only publishing has shown that a message can never be safe.
        """

    @property
    def last_confirmed_at(self) -> float | None:
        """When (monotonic seconds) it was last seen to accept something; None: never."""
