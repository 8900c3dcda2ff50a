"""Fill a history with days of many kinds of lines, through the history's own writer.

In a test: `kinds = fill(path, installations=40)`. To look at:
`python -m tests.support.filled_history FILE --installations 10000 --days 1`.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.support.histories import PARTS
from tixd.history import store
from tixd.history.cycles import Cycle
from tixd.history.job_record import OUTCOMES, SCALE
from tixd.history.results import GONE_SECONDS

#: User and installation.
Key = tuple[int, int]

#: Kinds of lines; of 20 installations in a row each kind has so many.
KINDS: Mapping[str, int] = {
    "idle": 5,  # nothing but the noise of the line
    "evening": 5,  # busy in the evening
    "full": 2,  # full all day, and congested
    "rejected": 1,  # the tix-api refuses one result in eight for good
    "kept": 1,  # the tix-api cannot take the results of the last two hours
    "silent": 1,  # no report since half of the time
    "gone": 1,  # no folder since half of the time
    "blocked": 1,  # its folder cannot be read since half of the time
    "bad": 1,  # sends reports that cannot be used now and then
    "undefined": 1,  # packets in one direction only: values up are undefined
    "new": 1,  # never had a result
}

_IN_ORDER = [kind for kind, count in KINDS.items() for _ in range(count)]

#: AS number and name, which installations have in turn; of some none is known.
NETWORKS: Sequence[tuple[int | None, str | None]] = (
    (64500, "Example Cable"),
    (64501, "Fibra Óptica del Sur S.A."),
    (64502, "Mobil & Sons <Wireless>"),
    (64503, "University Network"),
    (64504, "Tiny Co-operative"),
    (None, None),
)

#: What the tix-api says where it does not take a result.
KEPT_WORDS = "HTTP 503 Service Unavailable"
REJECTED_WORDS = "HTTP 400 Bad Request: no such installation"


@dataclass(frozen=True, slots=True)
class Filling:
    """What a history is filled with; times are epoch seconds."""

    installations: int = 40
    days: float = 1.0
    end: float = 1_700_000_000.0
    every_seconds: int = 600
    networks: Sequence[tuple[int | None, str | None]] = NETWORKS
    seed: int = 7

    def kinds(self) -> dict[Key, str]:
        """The kind of each installation: three of each user."""
        keys = ((n // 3 + 1, n % 3 + 1) for n in range(self.installations))
        return {key: _IN_ORDER[n % len(_IN_ORDER)] for n, key in enumerate(keys)}

    def steps(self) -> Iterator[float]:
        """Begin of each cycle, the last one before the end."""
        count = round(self.days * store.DAY_SECONDS / self.every_seconds)
        return (self.end - (count - n) * self.every_seconds for n in range(count))


def fill(path: Path | str, filling: Filling | None = None, **changes: object) -> dict[Key, str]:
    """Fill a new or an older file; returns the kind of each installation."""
    found = filling or Filling(**changes)  # type: ignore[arg-type]
    cycles, results = PARTS
    begins = list(found.steps())
    with contextlib.closing(store.open_for_writing(str(path), PARTS)) as file:
        for number, begin in enumerate(begins, 1):
            entries = list(records(found, begin))
            with store.transaction(file):
                count = len(entries)
                cycles.write(file, [Cycle(begin, number, 0.02 + count / 2e5, count, count)])
                results.write(file, entries)
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return found.kinds()


def records(filling: Filling, begin: float) -> Iterator[str]:
    """What the jobs of the cycle that begins then tell."""
    chance = random.Random(f"{filling.seed} {begin}")
    late = filling.end - begin
    half = filling.days * store.DAY_SECONDS / 2
    for place, ((user, number), kind) in enumerate(filling.kinds().items()):
        at = int(begin + chance.random() * filling.every_seconds * 0.9)
        if kind == "gone" and late < max(half, GONE_SECONDS + 2 * filling.every_seconds):
            continue
        is_over = kind == "new" or (kind in ("silent", "blocked") and late < half)
        results = []
        if not is_over:
            network = filling.networks[place % len(filling.networks)]
            results.append(_result(kind, at, late, network, chance))
        state = _state(kind, at, late, filling.every_seconds, is_over=is_over, chance=chance)
        yield orjson.dumps(((user, number), state, results)).decode()


def _result(
    kind: str,
    at: int,
    late: float,
    network: tuple[int | None, str | None],
    chance: random.Random,
) -> Sequence[object]:
    outcome, words = "posted", ""
    if kind == "kept" and late <= 7200:
        outcome, words = "kept", KEPT_WORDS
    elif kind == "rejected" and chance.random() < 1 / 8:
        outcome, words = "rejected", REJECTED_WORDS
    up = [None] * 5 if kind == "undefined" else _numbers(kind, at, 0.6, chance)
    down = _numbers(kind, at, 1.0, chance)
    return [at - 60, at, OUTCOMES.index(outcome), words, False, *network, *up, *down]


def _numbers(kind: str, at: int, share: float, chance: random.Random) -> list[int | None]:
    """Usage, quality, the two Hurst exponents, no other estimate of usage; as stored."""
    load = {"idle": 0.03, "full": 0.97}.get(kind, _evening(at))
    usage = max(0.0, load * share + chance.gauss(0, 0.04))
    congested = sum(chance.random() < max(0.0, usage - 0.55) for _ in range(10))
    hurst = 0.5 + 0.35 * min(1.0, usage)
    numbers = (
        usage,
        1 - congested / 10,
        hurst + chance.gauss(0, 0.05),
        hurst + chance.gauss(0, 0.11),
    )
    return [*(round(number * SCALE) for number in numbers), None]


def _evening(second: int) -> float:
    """0 in the morning, 0.9 in the evening (UTC)."""
    return 0.45 + 0.45 * math.sin((second % store.DAY_SECONDS / 3600 - 14) * math.pi / 12)


def _state(
    kind: str, at: int, late: float, every_seconds: int, *, is_over: bool, chance: random.Random
) -> Sequence[object]:
    """The state after a job, in the order of job_record.STATE."""
    kept = max(0, math.ceil((7200 - late) / every_seconds)) if kind == "kept" else 0
    bad = int(kind == "bad" and chance.random() < 0.1) * 3
    is_blocked = kind == "blocked" and is_over
    newest = None if is_over else at - 60
    return [
        at,
        None if is_blocked else 0 if is_over else 9,
        newest,
        kept,
        at + 1500 if kept else 0,
        KEPT_WORDS if kept else "",
        bad,
        "not a JSON object" if bad else None,
        "permission denied" if is_blocked else None,
    ]


def main() -> None:
    """Fill a file until now."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--installations", type=int, default=40)
    parser.add_argument("--days", type=float, default=1.0)
    parser.add_argument("--every", type=int, default=600, metavar="SECONDS")
    given = parser.parse_args()
    filling = Filling(given.installations, given.days, time.time(), given.every)
    fill(given.file, filling)


if __name__ == "__main__":
    main()
