"""When the AMQP sink drops a connection that confirms nothing."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.pools import in_loop
from tixd import errors
from tixd.config.collector_settings import CollectorSettings
from tixd.sinks import amqp
from tixd.sinks.amqp import SILENCE_SECONDS, AmqpSink

#: When the fake time begins: a host that has run for long.
BEGIN = 1000.0


@dataclass
class UnconfirmedProbe:
    """A probe whose message is never confirmed, and the time, which passes while it waits.

    unblocked_at: until then the broker is blocked; a bundle is confirmed at `bundle_at`.
    """

    sink: AmqpSink
    now: float = BEGIN
    unblocked_at: float = BEGIN
    bundle_at: float = BEGIN
    blocked: str | None = None

    async def confirm(self, seconds: float) -> str:
        """Wait in fake time, for a second while the broker is blocked."""
        self.blocked = "memory" if self.now < self.unblocked_at else None
        self.now += 1.0 if self.blocked else seconds
        if self.now >= self.bundle_at:
            self.sink.last_confirmed_at = self.bundle_at
        return self.blocked or "no confirm"


async def dropped_at(monkeypatch: pytest.MonkeyPatch, **times: float) -> float:
    """Let a sink probe without a confirm; return after how long it drops the connection."""
    sink = AmqpSink(CollectorSettings())
    probe: Any = UnconfirmedProbe(sink, **times)
    monkeypatch.setattr(amqp, "time", SimpleNamespace(monotonic=lambda: probe.now))
    with pytest.raises(errors.BrokerUnavailable, match="no confirm within 30 s"):
        await sink._with_probes(probe, probe)
    return probe.now - BEGIN


@in_loop
async def test_a_silent_connection_is_dropped_in_time_after_the_last_bundle(monkeypatch) -> None:
    assert await dropped_at(monkeypatch, bundle_at=BEGIN + 5) == SILENCE_SECONDS + 5


@in_loop
async def test_a_connection_that_is_blocked_is_dropped_only_when_silent_after_that(
    monkeypatch,
) -> None:
    assert await dropped_at(monkeypatch, unblocked_at=BEGIN + 90) == SILENCE_SECONDS + 90
