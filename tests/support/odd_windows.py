"""Made-up windows by name, ordinary and odd ones, that an analysis must get right."""

from __future__ import annotations

import numpy as np

from tests.support.windows import (
    BEGIN,
    DAY_ns,
    HOUR_ns,
    SECOND_ns,
    jitter,
    of_kind,
    queues,
    shuffled,
    window,
)
from tixd.analysis.observations import LONG

COUNT = 1113
EVERY_SECOND = BEGIN + np.arange(COUNT)

BUSY = queues(1, COUNT)
IDLE = jitter(2, COUNT)
STEP = np.where(np.arange(COUNT) < 800, 0, 3 * HOUR_ns)

WINDOWS = {
    "idle": window(IDLE),
    "busy": window(BUSY),
    "drifting clock": window(BUSY, drift_ppm=44),
    "duplicates": np.concatenate([window(BUSY), window(BUSY)[300:500]]),
    "long packets among the short": np.concatenate([window(BUSY), of_kind(window(IDLE), LONG)]),
    "an unknown kind": np.concatenate([window(BUSY), of_kind(window(IDLE), ord("X"))]),
    "out of order": shuffled(window(BUSY)),
    "same second, other content": np.concatenate([window(BUSY), window(IDLE, client_ns=HOUR_ns)]),
    "three in a second": window(BUSY, seconds=BEGIN + np.arange(COUNT) // 3),
    "constant delays": window(np.full((2, COUNT), 7e6)),
    "constant one way": window(np.stack((BUSY[0], np.full(COUNT, 7e6)))),
    "milliseconds only": window((BUSY // 1e6) * 1e6),
    "constant for minutes": window(np.where(np.arange(COUNT) % 300 < 200, 7e6, BUSY)),
    "client passes midnight": window(BUSY, client_ns=DAY_ns - 900 * SECOND_ns),
    "server passes midnight": window(BUSY, ahead_ns=14 * HOUR_ns - 900 * SECOND_ns),
    "both pass midnight": window(BUSY, client_ns=DAY_ns - 900 * SECOND_ns, ahead_ns=0),
    "midnight under way": window(BUSY, client_ns=DAY_ns - 800 * SECOND_ns - 5_000_000, ahead_ns=9),
    "client counts on": window(BUSY, client_ns=DAY_ns - 900 * SECOND_ns, wraps=False),
    "clocks 12 h apart": window(BUSY, ahead_ns=12 * HOUR_ns - 10_000_000),
    "clocks -12 h apart": window(BUSY, ahead_ns=-12 * HOUR_ns + 10_000_000),
    "server's clock is set": window(BUSY + np.stack((STEP, -STEP))),
    "server ahead of midnight": window(BUSY, ahead_ns=14 * HOUR_ns),
    "a gap": window(BUSY, seconds=EVERY_SECOND + np.where(np.arange(COUNT) < 900, 0, 290)),
    "one a minute": window(BUSY, seconds=BEGIN + 60 * np.arange(COUNT)),
    "one in three seconds": window(BUSY, seconds=BEGIN + 3 * np.arange(COUNT)),
    "29 a minute": window(BUSY, seconds=BEGIN + 60 * (np.arange(COUNT) // 29)),
    "one long report": window(queues(3, 6000), seconds=BEGIN + np.arange(6000) // 8),
    "year 1970": window(BUSY, seconds=np.arange(COUNT)),
    "year 2099": window(BUSY, seconds=EVERY_SECOND + 2_577_000_000),
    **{f"only {n}": window(BUSY[:, :n]) for n in (1, 2, 3, 4, 5, 8, 15, 16, 29, 30, 63, 64, 65)},
}
