"""Windows of observations made up for tests, with clocks and delays as a test wants them."""

from __future__ import annotations

import numpy as np

from tixd.analysis.observations import OBSERVATION, SHORT, Floats, Integers, Observations

SECOND_ns = 10**9
HOUR_ns = 3600 * SECOND_ns
DAY_ns = 24 * HOUR_ns

#: A full UTC minute in September 2017, so that minutes can be counted off from it.
BEGIN = 1_505_080_680


def jitter(seed: int, count: int) -> Floats:
    """Delays without memory in ns, shape (2, count): 5 ms and an exponential 2 ms above."""
    return 5e6 + np.random.default_rng(seed).exponential(2e6, (2, count))


def queues(seed: int, count: int) -> Floats:
    """Persistent delays in ns, shape (2, count): 5 ms, a slowly wandering queue, some noise."""
    random = np.random.default_rng(seed)
    steps = random.normal(0, 2e6, (2, count))
    queue = np.empty_like(steps)
    level = np.zeros(2)
    for i in range(count):
        level = np.maximum(0.98 * level + steps[:, i], 0)
        queue[:, i] = level
    return 5e6 + queue + random.exponential(2e5, (2, count))


def window(
    delays: Floats,
    *,
    seconds: Integers | None = None,
    client_ns: int = 10 * HOUR_ns,
    ahead_ns: int = 250_000_000,
    drift_ppm: float = 0.0,
    wraps: bool = True,
) -> Observations:
    """Observations of one short packet for each column of `delays`, shape (2, n), in ns.

    seconds: epoch second of each, one after the other unless given; client_ns: what the client's
    clock says at the first; ahead_ns: how far the server's is ahead of it; drift_ppm: how much
    faster the server's runs; wraps: whether the client's starts anew at midnight.
    """
    up, down = delays.round().astype(np.int64)
    seconds = BEGIN + np.arange(len(up)) if seconds is None else seconds
    sent = (seconds - seconds[0]) * SECOND_ns + np.arange(len(up)) * 1000
    rows = np.zeros(len(up), OBSERVATION)
    rows["second"], rows["kind"], rows["size"] = seconds, SHORT, 64
    arrived = sent + up
    server = client_ns + ahead_ns + arrived + (arrived * drift_ppm * 1e-6).astype(np.int64)
    back = client_ns + arrived + 20_000 + down
    rows["t1"] = (client_ns + sent) % DAY_ns if wraps else client_ns + sent
    rows["t2"], rows["t3"] = server % DAY_ns, (server + 20_000) % DAY_ns
    rows["t4"] = back % DAY_ns if wraps else back
    return rows


def of_kind(rows: Observations, kind: int) -> Observations:
    """A copy of `rows` as packets of another kind."""
    copy = rows.copy()
    copy["kind"] = kind
    return copy


def shuffled(rows: Observations, seed: int = 0) -> Observations:
    """The same rows in another order."""
    return np.random.default_rng(seed).permutation(rows)
