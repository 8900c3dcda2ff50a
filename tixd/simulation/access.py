"""What an access network adds to a packet's way beside queues: jitter that is there when idle, too.

In: a kind of access, and when packets are sent. Out: the delay that each is given.
Rules: a model of each kind's mechanism, not a recording of one; the constants are round figures of
what such networks show. Time is in seconds. Pure.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from tixd.simulation.link import Seconds

#: wired: a little of everything; wifi: a medium that others contend for at times, and scans of
#: other channels; mobile: transmission slots, repeated blocks, and short outages of the radio.
Access = Literal["wired", "wifi", "mobile"]

#: Wi-Fi: how long neighbours are quiet and busy in the mean, and what a packet waits while busy.
WIFI_QUIET_SECONDS, WIFI_BUSY_SECONDS, WIFI_CONTENTION_SECONDS = 20.0, 3.0, 0.006
#: Wi-Fi: a scan of other channels, so often and so long (common drivers: 1 to 2 minutes).
WIFI_SCAN_EVERY_SECONDS, WIFI_SCAN_SECONDS = 120.0, 0.12

#: Mobile: the grid on which a packet may leave (LTE scheduling request), the share of blocks that
#: are sent again, and how long one more try takes (LTE HARQ).
MOBILE_GRID_SECONDS, MOBILE_REPEATED, MOBILE_REPEAT_SECONDS = 0.01, 0.1, 0.008
#: Mobile: an outage (handover, fading), so often and so long in the mean.
MOBILE_OUTAGE_EVERY_SECONDS, MOBILE_OUTAGE_SECONDS = 60.0, 0.3


def jitter(
    random: np.random.Generator, access: Access, mean_seconds: float, sent: Seconds
) -> Seconds:
    """The delay of packets sent at `sent`, ascending, beside queues; shape as `sent`.

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
    """How long the spell lasts on that each of `moments` falls into; 0 between spells.

    Spells last `on_seconds` in the mean, with pauses of `off_seconds` (both exponential).
    """
    count = 10 + int(2 * (moments[-1] - moments[0]) / (off_seconds + on_seconds))
    pauses, spells = (random.exponential(mean, count) for mean in (off_seconds, on_seconds))
    begins = moments[0] + np.cumsum(pauses) + np.cumsum(spells) - spells
    last = np.searchsorted(begins, moments, side="right") - 1
    left = begins[last] + spells[last] - moments
    return np.where(last < 0, 0.0, np.maximum(left, 0.0))
