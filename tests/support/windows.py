"""Make windows of observations, ordinary and odd ones by name, and compare results of them."""

from __future__ import annotations

import numpy as np
import pytest

from tixd.analysis.observations import LONG, OBSERVATION, SHORT, Floats, Integers, Observations

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


def assert_close(found: object, expected: object, *, rel: float) -> None:
    """Equal shape, equal None and int, floats within `rel` relative (and `rel` absolute near 0)."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(found[key], value, rel=rel)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, rel=rel)
    elif isinstance(expected, float) and found is not None:
        assert found == pytest.approx(expected, rel=rel, abs=rel)
    else:
        assert found == expected
