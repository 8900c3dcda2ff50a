"""What `tixd probes` says of many senders over simulated hours agrees with what was sent."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.bundles import PING, form, parameters
from tests.support.collecting import Client, collecting
from tests.support.histories import WIDE
from tests.support.program import ROOT, TIXD
from tests.support.queues import MemorySink
from tixd.history.senders import SENDERS, SenderLog
from tixd.history.store import HOUR_SECONDS
from tixd.history.writer import HistoryWriter, running

SENDERS_COUNT, HOURS, SEED = 40, 6, 7

STORAGE = "replication|<StorageElement><UniqueID>x</UniqueID></StorageElement>|||"


@dataclass
class Sent:
    """What one sender has sent and was answered, the ledger's row."""

    address: str
    at: list[tuple[float, str, int]] = field(default_factory=list)
    failures: list[tuple[float, int, str]] = field(default_factory=list)

    def count(self, what: str, since: float = 0.0) -> int:
        return sum(number for when, kind, number in self.at if kind == what and when >= since)

    def last(self, what: str) -> float | None:
        return max((when for when, kind, _ in self.at if kind == what), default=None)


#: What a sender may do: the body, the answer, what is counted beside it.
def kinds(sender: str, chance: random.Random) -> tuple[bytes, int, dict[str, int]]:
    size = chance.randint(1, 3)
    own = {"from": sender}
    names = [f"{sender}.{chance.random()}" for _ in range(size)]
    choice = chance.choice(["jobs", "jobs", "storage", "ping", "bad", "refused"])
    if choice == "jobs":
        return form(names, **own), 200, {"taken": 1, "JobUsageRecord": size}
    if choice == "storage":
        body = urlencode(parameters(["x"], arg1=STORAGE, **own)).encode()
        return body, 200, {"taken": 1, "StorageElement": 1}
    if choice == "ping":
        return PING.replace(b"from=probe", urlencode(own).encode()), 200, {"pings": 1}
    if choice == "bad":
        return form(names, **own, bundlesize="99"), 400, {"refused": 1}
    return form(["refused"], **own), 503, {"not_taken": 1}


async def send(client: Client, clock: list[float], ledger: Mapping[str, Sent]) -> None:
    """Let every sender send twice an hour, some of them in the first hours only."""
    chance = random.Random(SEED)
    begin = clock[0]
    for half_hour in range(2 * HOURS):
        for number, (sender, sent) in enumerate(ledger.items()):
            if number % 4 == 0 and half_hour >= 2 * HOURS - 6:
                continue
            clock[0] = begin + half_hour * HOUR_SECONDS / 2 + number + round(chance.random(), 3)
            body, code, counted = kinds(sender, chance)
            said = await client.post(body, X_Real_IP=sent.address)
            assert said.status == code
            now = round(clock[0], 3)
            sent.at += [(now, what, size) for what, size in counted.items()]
            sent.at.append((now, f"code_{code}", 1))
            if code != 200:
                why = "memory: refused" if code == 503 else said.body.decode()
                sent.failures.append((now, code, why))


def row(sender: str, sent: Sent, since: float, silent_before: float) -> dict[str, Any]:
    """What `tixd probes` must say of it."""
    seen = [when for when, _, _ in sent.at]
    failed = max(sent.failures, default=(None, None, None))
    state = "failing" if (failed[0] or 0) > (sent.last("taken") or 0) else ""
    hour = since // HOUR_SECONDS * HOUR_SECONDS
    by_hour = ("taken", "refused", "not_taken", "JobUsageRecord", "StorageElement")
    codes = Counter(kind for _, kind, _ in sent.at if kind.startswith("code_"))
    return {
        **dict.fromkeys(
            ("code_0", "code_408", "code_413", "code_415", "code_500", "code_other"), 0
        ),
        "StorageElementRecord": 0,
        "ProbeDetails": 0,
        "sender": sender,
        "address": sent.address,
        "first_seen": min(seen),
        "last_seen": max(seen),
        "taken_at": sent.last("taken"),
        **dict(zip(("failed_at", "failed_code", "failed_reason"), failed, strict=True)),
        **{what: sent.count(what, hour) for what in by_hour},
        **{code: codes[code] for code in ("code_200", "code_400", "code_503")},
        "pings": sent.count("pings"),
        "state": "silent" if max(seen) < silent_before else state,
    }


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Sent]]:
    """A history of simulated hours, the last of which is over, and what was sent."""
    file = tmp_path_factory.mktemp("ledger") / "h.sqlite"
    found = {f"probe{n}.example": Sent(f"192.0.2.{n}") for n in range(SENDERS_COUNT)}
    clock = [time.time() // HOUR_SECONDS * HOUR_SECONDS - HOURS * HOUR_SECONDS]
    log, sink = SenderLog(), MemorySink()
    sink.refused = {"refused"}

    async def main() -> None:
        history = HistoryWriter(str(file), [SENDERS], WIDE)
        async with running(history), collecting([sink], log, lambda: clock[0]) as client:
            await send(client, clock, found)
            history.put(SENDERS.name, log.take())

    asyncio.run(main())
    return file, found


@pytest.mark.parametrize(("since", "silent"), [("24h", "2h"), ("3h", "2h15m")])
def test_every_row_of_probes_is_what_its_sender_sent(ledger, since, silent):
    file, sent = ledger
    words = [*TIXD, "probes", "--file", str(file), "--format", "json"]
    moments = [time.time()]
    done = subprocess.run(
        [*words, "--since", since, "--silent", silent], cwd=ROOT, capture_output=True, check=True
    )
    moments.append(time.time())  # the program has looked at its clock between the two
    found = {row["sender"]: row for row in map(json.loads, done.stdout.splitlines())}
    ages = [HOUR_SECONDS * {"24h": 24, "3h": 3, "2h": 2, "2h15m": 2.25}[t] for t in (since, silent)]
    expected = [
        {name: row(name, one, *(now - age for age in ages)) for name, one in sent.items()}
        for now in moments
    ]
    assert found in expected
    assert {row["state"] for row in found.values()} == {"", "failing", "silent"}
