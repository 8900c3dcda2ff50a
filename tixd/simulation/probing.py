"""A simulated client that measures over a line: when its packets pass, and what it reports.

As in real reports, records are of kind S only: the long packet of a minute carries the other 60 and
is not among them; if it is lost, so is its minute. Time is in seconds since the start of the
simulation, until clocks turn it into nanoseconds since local midnight. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tixd.analysis.clock import DAY_ns
from tixd.analysis.observations import OBSERVATION, SHORT, Observations
from tixd.simulation.link import Access, Queue, Seconds, Traffic, jitter, queue

#: A client sends one packet a second; every 61st is the long one that carries the 60 before it.
PACKETS_PER_REPORT = 61

#: Size of a short packet as real records give it.
SHORT_PACKET_BYTES = 32

#: Size of the packets of Poisson traffic: the largest that Ethernet carries, with its header.
CROSS_PACKET_BYTES = 1514

#: Bytes that UDP, IPv4 and Ethernet add to a short packet on the line.
HEADER_BYTES = 46

#: Spread of the moments at which a client's timer fires (real ones: a few tenths of a millisecond).
TIMER_SPREAD_SECONDS = 0.0003

#: From a packet's reception by the server to its answer (real ones: 3 to 5 microseconds).
TURN_ROUND_SECONDS = 4e-6

Nanoseconds = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LinkDirection:
    """One direction of the line; `usage` is the schedule, equal parts of the time, each 0..1.

    extra_seconds: how much longer its path is than the other direction's.
    """

    bits_per_second: float
    buffer_seconds: float
    usage: tuple[float, ...]
    traffic: Traffic = "self-similar"
    extra_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Parameters of a simulation; the server's clock is right and keeps UTC.

    start: epoch second; propagation_seconds: one way; jitter_seconds: mean of the delay that both
    directions add to each packet (exponential); loss: share of packets that never come back;
    client_offset_seconds: how far the client's local time of day is ahead of the server's at the
    start; client_skew_ppm: how much faster its clock runs; client_steps: moments in seconds since
    the start, each with the seconds by which its clock is set ahead then; client_slews: from
    which second to which its clock runs faster by how many ppm; access: the client's kind of
    access network.
    """

    start: int
    duration_seconds: int
    upstream: LinkDirection
    downstream: LinkDirection
    propagation_seconds: float
    jitter_seconds: float
    loss: float
    client_offset_seconds: float
    client_skew_ppm: float
    client_steps: tuple[tuple[float, float], ...] = ()
    client_slews: tuple[tuple[float, float, float], ...] = ()
    access: Access = "wired"


@dataclass(frozen=True, slots=True, eq=False)
class Minute:
    """One report's content: observations, shape (n,), n >= 1; t1 of the long packet around them."""

    observations: Observations
    long_sent_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """A simulated client's minutes, and the queues its packets met, which are the exact truth."""

    upstream: Queue
    downstream: Queue
    minutes: tuple[Minute, ...]


def measured(random: np.random.Generator, scenario: Scenario) -> Measurement:
    """Simulate what the client reports by minutes; its last minute is still in the client."""
    up, down = (_queue(random, scenario, way) for way in (scenario.upstream, scenario.downstream))
    sent = _sending_moments(random, scenario.duration_seconds)
    reached = _arrival(random, scenario, scenario.upstream, up, sent)
    answered = reached + TURN_ROUND_SECONDS * random.uniform(0.75, 1.25, len(sent))
    received = _arrival(random, scenario, scenario.downstream, down, answered)
    arrived = random.random(len(sent)) >= scenario.loss
    rows = np.zeros(len(sent), OBSERVATION)
    rows["second"] = scenario.start + np.floor(received).astype(np.int64)
    rows["kind"], rows["size"] = SHORT, SHORT_PACKET_BYTES
    rows["t1"], rows["t4"] = _client_clock(scenario, sent), _client_clock(scenario, received)
    rows["t2"], rows["t3"] = _server_clock(scenario, reached), _server_clock(scenario, answered)
    return Measurement(up, down, tuple(_minutes(rows, received, arrived)))


def _minutes(rows: Observations, received: Seconds, arrived: Booleans) -> Iterator[Minute]:
    """Yield the packets of each long packet that arrived, in the order of reception."""
    for last in range(PACKETS_PER_REPORT - 1, len(rows), PACKETS_PER_REPORT):
        shorts = np.arange(last - PACKETS_PER_REPORT + 1, last)
        shorts = shorts[arrived[shorts]]
        if arrived[last] and len(shorts):
            yield Minute(rows[shorts[np.argsort(received[shorts])]], int(rows["t1"][last]))


def _sending_moments(random: np.random.Generator, duration_seconds: int) -> Seconds:
    """Draw one a second, at a phase of the client's own."""
    phase = random.uniform(0.01, 0.99)
    spread = random.normal(0.0, TIMER_SPREAD_SECONDS, duration_seconds)
    return np.arange(duration_seconds) + phase + spread


def _queue(random: np.random.Generator, scenario: Scenario, direction: LinkDirection) -> Queue:
    """Simulate the queue of cross traffic in one direction."""
    packet_seconds = CROSS_PACKET_BYTES * 8 / direction.bits_per_second
    return queue(
        random,
        direction.usage,
        scenario.duration_seconds,
        direction.buffer_seconds,
        packet_seconds if direction.traffic == "poisson" else None,
    )


def _arrival(
    random: np.random.Generator,
    scenario: Scenario,
    direction: LinkDirection,
    behind: Queue,
    sent: Seconds,
) -> Seconds:
    """Compute when packets sent at `sent` arrive: propagation, queue, sending, jitter.

    A probe is so small that even a full buffer has room for it nearly always: none is dropped.
    """
    sending = (SHORT_PACKET_BYTES + HEADER_BYTES) * 8 / direction.bits_per_second
    fixed = sending + scenario.propagation_seconds + direction.extra_seconds
    varying = jitter(random, scenario.access, scenario.jitter_seconds, sent)
    return sent + behind.waiting(sent) + fixed + varying


def _server_clock(scenario: Scenario, moments: Seconds) -> Nanoseconds:
    """Return the server's time of day at `moments`, nanoseconds."""
    midnight_ns = scenario.start % 86_400 * 10**9
    return (midnight_ns + np.rint(moments * 1e9).astype(np.int64)) % DAY_ns


def _client_clock(scenario: Scenario, moments: Seconds) -> Nanoseconds:
    """Return the client's time of day at `moments`, nanoseconds: offset, drifting, stepped."""
    ahead = scenario.client_offset_seconds + moments * scenario.client_skew_ppm * 1e-6
    for moment, step_seconds in scenario.client_steps:
        ahead += (moments >= moment) * step_seconds
    for begin, end, ppm in scenario.client_slews:
        ahead += (moments.clip(begin, end) - begin) * ppm * 1e-6
    return (_server_clock(scenario, moments) + np.rint(ahead * 1e9).astype(np.int64)) % DAY_ns
