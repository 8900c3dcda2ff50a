"""One client that measures over a simulated line: when its packets pass, and what it reports.

In: a Scenario and a random generator. Out: the client's reports, as observations in the order of
reception, with the send time of the long packet that carries each.
Rules: as in real reports, records are of kind S only: the long packet of a minute carries the
other 60 and is not among them; if it is lost, so is its minute. Time is in seconds since the start
of the simulation, until clocks turn it into nanoseconds since local midnight. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tixd.analysis.observations import OBSERVATION, SHORT, Observations
from tixd.simulation.line import Seconds, queue

#: A client sends one packet a second; every 61st is the long one that carries the 60 before it.
PACKETS_PER_REPORT = 61
#: Size of a short packet as real records give it.
SHORT_PACKET_BYTES = 32
#: What UDP, IPv4 and Ethernet add to it on the line.
HEADER_BYTES = 46
#: A day of the clocks that packets are stamped with.
DAY_NS = 86_400 * 10**9
#: Spread of the moments at which a client's timer fires (real ones: a few tenths of a millisecond).
TIMER_SPREAD_SECONDS = 0.0003
#: From a packet's reception by the server to its answer (real ones: 3 to 5 microseconds).
TURN_ROUND_SECONDS = 4e-6

Nanoseconds = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of the line; `usage` is the schedule, equal parts of the time, each 0..1."""

    bits_per_second: float
    buffer_seconds: float
    usage: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated; the server's clock is right and keeps UTC.

    start: epoch second; propagation_seconds: one way; jitter_seconds: mean of the delay that both
    directions add to each packet (exponential); loss: share of packets that never come back;
    client_offset_seconds: how far the client's local time of day is ahead of the server's at the
    start; client_skew_ppm: how much faster its clock runs.
    """

    start: int
    duration_seconds: int
    upstream: Direction
    downstream: Direction
    propagation_seconds: float
    jitter_seconds: float
    loss: float
    client_offset_seconds: float
    client_skew_ppm: float


@dataclass(frozen=True, slots=True, eq=False)
class Minute:
    """One report's content: observations, shape (n,), n >= 1; t1 of the long packet around them."""

    observations: Observations
    long_sent_ns: int


def minutes(random: np.random.Generator, scenario: Scenario) -> Iterator[Minute]:
    """What the client reports, minute by minute; its last minute is still in the client."""
    sent = _sending_moments(random, scenario.duration_seconds)
    reached = _arrival(random, scenario, scenario.upstream, sent)
    answered = reached + TURN_ROUND_SECONDS * random.uniform(0.75, 1.25, len(sent))
    received = _arrival(random, scenario, scenario.downstream, answered)
    arrived = random.random(len(sent)) >= scenario.loss
    t1 = _client_clock(scenario, sent)
    rows = np.zeros(len(sent), OBSERVATION)
    rows["second"] = scenario.start + np.floor(received).astype(np.int64)
    rows["kind"], rows["size"] = SHORT, SHORT_PACKET_BYTES
    rows["t1"], rows["t4"] = t1, _client_clock(scenario, received)
    rows["t2"], rows["t3"] = _server_clock(scenario, reached), _server_clock(scenario, answered)
    for last in range(PACKETS_PER_REPORT - 1, len(sent), PACKETS_PER_REPORT):
        shorts = np.arange(last - PACKETS_PER_REPORT + 1, last)
        shorts = shorts[arrived[shorts]]
        if arrived[last] and len(shorts):
            yield Minute(rows[shorts[np.argsort(received[shorts])]], int(t1[last]))


def _sending_moments(random: np.random.Generator, duration_seconds: int) -> Seconds:
    """One a second, at a phase of the client's own."""
    phase = random.uniform(0.01, 0.99)
    spread = random.normal(0.0, TIMER_SPREAD_SECONDS, duration_seconds)
    return np.arange(duration_seconds) + phase + spread


def _arrival(
    random: np.random.Generator, scenario: Scenario, direction: Direction, sent: Seconds
) -> Seconds:
    """When packets sent at `sent` arrive: propagation, queue, sending, jitter."""
    behind = queue(random, direction.usage, scenario.duration_seconds, direction.buffer_seconds)
    sending = (SHORT_PACKET_BYTES + HEADER_BYTES) * 8 / direction.bits_per_second
    jitter = random.exponential(scenario.jitter_seconds, len(sent))
    return sent + behind.waiting(sent) + sending + scenario.propagation_seconds + jitter


def _server_clock(scenario: Scenario, moments: Seconds) -> Nanoseconds:
    """The server's time of day at `moments`, nanoseconds."""
    midnight_ns = scenario.start % 86_400 * 10**9
    return (midnight_ns + np.rint(moments * 1e9).astype(np.int64)) % DAY_NS


def _client_clock(scenario: Scenario, moments: Seconds) -> Nanoseconds:
    """The client's time of day at `moments`, nanoseconds; ahead by its offset, and drifting."""
    ahead = scenario.client_offset_seconds + moments * scenario.client_skew_ppm * 1e-6
    return (_server_clock(scenario, moments) + np.rint(ahead * 1e9).astype(np.int64)) % DAY_NS
