"""One direction of a line: cross traffic in a finite buffer, and what the access network adds.

Time is in seconds since the start of the simulation; work is in seconds that the link needs to send
it, so that nothing here depends on the speed of the link. Access networks are models of each kind's
mechanism, not recordings; their constants are rounded figures of real networks. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]

#: Cross traffic of the link. self-similar: flows of heavy-tailed size, bursty at all time
#: scales (Willinger et al. 1997); poisson: single packets, as smooth as random traffic gets.
Traffic = Literal["self-similar", "poisson"]

#: Work of the smallest flow, about that of a page's small object on a 10 Mbit/s link.
SMALLEST_FLOW_SECONDS = 0.05

#: Work of the largest flow; an end to the heavy tail, so that a schedule's part keeps its mean.
LARGEST_FLOW_SECONDS = 3.0

#: Pareto shape of flow sizes; 1 < shape < 2 makes traffic bursty at all time scales
#: (Crovella, Bestavros 1997 measured 1.0 to 1.3 for files, Willinger et al. 1997 about 1.2 to 1.7).
FLOW_SHAPE = 1.5

#: A flow sends one burst each round trip time.
ROUND_TRIP_SECONDS = 0.04

#: Mean work of a burst: 0.4 of what the link sends in a round trip, so three flows overload it.
BURST_SECONDS = 0.4 * ROUND_TRIP_SECONDS


@dataclass(frozen=True, slots=True, eq=False)
class Queue:
    """The buffer: `backlog[i]` is the work in it right after `times[i]`.

    times: shape (n,), ascending, seconds; backlog: shape (n,), seconds.
    """

    times: Seconds
    backlog: Seconds

    def waiting(self, moments: Seconds) -> Seconds:
        """Return how long packets that arrive at `moments` wait, shape as `moments`."""
        if not len(self.times):
            return np.zeros(len(moments))
        last = np.searchsorted(self.times, moments, side="right") - 1
        left = self.backlog[last] - (moments - self.times[last])
        return np.where(last < 0, 0.0, np.maximum(left, 0.0))

    def utilisation(self, begin: float, end: float) -> float:
        """Return the share of the time from `begin` to `end` in which the link sends, 0..1."""
        until = self.times + np.minimum(self.backlog, np.diff(self.times, append=np.inf))
        sending = np.minimum(until, end) - np.maximum(self.times, begin)
        return float(np.maximum(sending, 0).sum() / (end - begin))


def queue(
    random: np.random.Generator,
    schedule: tuple[float, ...],
    duration_seconds: float,
    buffer_seconds: float,
    packet_seconds: float | None = None,
) -> Queue:
    """Simulate the queue of a link whose usage follows `schedule`, equal parts of the duration.

    packet_seconds: Poisson traffic of packets of this work each; None: self-similar traffic.
    """
    part_seconds = duration_seconds / len(schedule)
    if packet_seconds is None:
        parts = [_bursts(random, usage, part_seconds) for usage in schedule]
    else:
        parts = [_packets(random, usage, part_seconds, packet_seconds) for usage in schedule]
    times = [times + number * part_seconds for number, (times, _) in enumerate(parts)]
    backlog = [_backlog(times, work, buffer_seconds) for times, work in parts]
    return Queue(np.concatenate(times), np.concatenate(backlog))


def _bursts(
    random: np.random.Generator, usage: float, duration_seconds: float
) -> tuple[Seconds, Seconds]:
    """Draw when bursts arrive (ascending) and the work of each, usage x duration in all.

    Flows begin at random (Poisson) and send burst after burst; one that reaches past the end goes
    on at the beginning.
    """
    sizes = _flow_sizes(random, usage * duration_seconds)
    begins = random.uniform(0, duration_seconds, len(sizes))
    counts = np.ceil(sizes / BURST_SECONDS).astype(np.int64)
    place_in_flow = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    times = np.repeat(begins, counts) + place_in_flow * ROUND_TRIP_SECONDS
    work = random.exponential(BURST_SECONDS, len(times))
    work *= usage * duration_seconds / max(work.sum(), BURST_SECONDS)
    return np.sort(times % duration_seconds), work


def _packets(
    random: np.random.Generator, usage: float, duration_seconds: float, packet_seconds: float
) -> tuple[Seconds, Seconds]:
    """Draw when independent packets arrive, and the work of each."""
    count = round(usage * duration_seconds / packet_seconds)
    return np.sort(random.uniform(0, duration_seconds, count)), np.full(count, packet_seconds)


def _flow_sizes(random: np.random.Generator, total_seconds: float) -> Seconds:
    """Draw the work of flows, Pareto between smallest and largest, about `total_seconds`."""
    ratio = SMALLEST_FLOW_SECONDS / LARGEST_FLOW_SECONDS
    below = 1 - ratio**FLOW_SHAPE
    mean_seconds = SMALLEST_FLOW_SECONDS * FLOW_SHAPE / (FLOW_SHAPE - 1)
    mean_seconds *= (1 - ratio ** (FLOW_SHAPE - 1)) / below
    place = random.random(random.poisson(total_seconds / mean_seconds))
    sizes: Seconds = SMALLEST_FLOW_SECONDS * (1 - place * below) ** (-1 / FLOW_SHAPE)
    return sizes


def _backlog(times: Seconds, work: Seconds, buffer_seconds: float) -> Seconds:
    """Compute the work in the buffer after each arrival: q' = min(B, max(0, q - time gone) + a).

    What the full buffer drops is sent again with the bursts that follow, as TCP does. Where nothing
    is dropped, the backlog is the work since the moment at which the buffer was emptiest.
    """
    total = work.cumsum() - times
    never_full: Seconds = total - np.minimum.accumulate(total - work)
    if not (never_full > buffer_seconds).any():
        return never_full
    backlog, dropped = 0.0, 0.0
    after = []
    gaps = np.diff(times, prepend=0.0)
    for gap, fresh in zip(gaps.tolist(), work.tolist(), strict=True):
        wanted = max(0.0, backlog - gap) + fresh + dropped
        backlog = min(buffer_seconds, wanted)
        dropped = wanted - backlog
        after.append(backlog)
    return np.array(after)


#: wired: a little of everything; wifi: a medium that others contend for at times, and scans of
#: other channels; mobile: transmission slots, repeated blocks, and short outages of the radio.
Access = Literal["wired", "wifi", "mobile"]

#: Wi-Fi: how long neighbours are quiet in the mean.
WIFI_QUIET_SECONDS = 20.0

#: Wi-Fi: how long neighbours are busy in the mean.
WIFI_BUSY_SECONDS = 3.0

#: Wi-Fi: mean wait of a packet while neighbours are busy.
WIFI_CONTENTION_SECONDS = 0.006

#: Wi-Fi: time between scans of other channels (common drivers: 1 to 2 minutes).
WIFI_SCAN_EVERY_SECONDS = 120.0

#: Wi-Fi: length of such a scan.
WIFI_SCAN_SECONDS = 0.12

#: Mobile: the grid on which a packet may leave (LTE scheduling request).
MOBILE_GRID_SECONDS = 0.01

#: Mobile: the share of blocks that are sent again (LTE HARQ).
MOBILE_REPEATED = 0.1

#: Mobile: how long one more try takes (LTE HARQ).
MOBILE_REPEAT_SECONDS = 0.008

#: Mobile: mean time between outages (handover, fading).
MOBILE_OUTAGE_EVERY_SECONDS = 60.0

#: Mobile: mean length of an outage.
MOBILE_OUTAGE_SECONDS = 0.3


def jitter(
    random: np.random.Generator, access: Access, mean_seconds: float, sent: Seconds
) -> Seconds:
    """Draw the delay of packets sent at `sent`, ascending, beside queues; shape as `sent`.

    mean_seconds: of the exponential delay that every kind adds.
    """
    delays = random.exponential(mean_seconds, len(sent))
    if access == "wifi":
        busy = _in_spells(random, WIFI_QUIET_SECONDS, WIFI_BUSY_SECONDS, sent) > 0
        delays += busy * random.exponential(WIFI_CONTENTION_SECONDS, len(sent))
        into_scan = (sent + random.uniform(0, WIFI_SCAN_EVERY_SECONDS)) % WIFI_SCAN_EVERY_SECONDS
        delays += np.maximum(WIFI_SCAN_SECONDS - into_scan, 0)
    if access == "mobile":
        delays += random.uniform(0, MOBILE_GRID_SECONDS, len(sent))
        delays += (random.geometric(1 - MOBILE_REPEATED, len(sent)) - 1) * MOBILE_REPEAT_SECONDS
        outage = (MOBILE_OUTAGE_EVERY_SECONDS, MOBILE_OUTAGE_SECONDS)
        delays += _in_spells(random, *outage, sent)
    return delays


def _in_spells(
    random: np.random.Generator, off_seconds: float, on_seconds: float, moments: Seconds
) -> Seconds:
    """Draw how long the spell around each of `moments` still lasts; 0 between spells.

    Spells last `on_seconds` in the mean, with pauses of `off_seconds` (both exponential).
    """
    count = 10 + int(2 * (moments[-1] - moments[0]) / (off_seconds + on_seconds))
    pauses, spells = (random.exponential(mean, count) for mean in (off_seconds, on_seconds))
    begins = moments[0] + np.cumsum(pauses) + np.cumsum(spells) - spells
    last = np.searchsorted(begins, moments, side="right") - 1
    left = begins[last] + spells[last] - moments
    return np.where(last < 0, 0.0, np.maximum(left, 0.0))
