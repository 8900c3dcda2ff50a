"""Sends bundles of several probes for `scripts/demo collector --look`.

`fill FOLDER` sends those of the last 24 hours to a collector of its own, whose clock runs along, so
that the history in FOLDER begins a day ago; `feed PORT` then sends further ones until it is killed.
One probe has stopped, of one nothing is taken any more, one has no name, and one calls itself what
browsers, terminals and spreadsheets might obey.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: Seconds of an hour.
HOUR_SECONDS = 3600

#: How often a probe sends, in the day that has passed and while somebody looks.
PAST_SECONDS, LIVE_SECONDS = 600, 20

#: A record of each kind; `{id}` is its identity.
STORAGE = "<{kind}><UniqueID>{id}</UniqueID><Timestamp>2026-11-30T00:00:00Z</Timestamp></{kind}>"


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe: its name, records an hour, and their kind.

    stops, spoils: how many hours before the end it stops, or begins to send records with a mistake.
    """

    name: str
    records: float
    kind: str = "JobUsageRecord"
    stops: float = 0.0
    spoils: float = 0.0


PROBES = (
    Probe("condor:ce1.grid.example.org", 240),
    Probe("condor:ce2.grid.example.org", 180),
    Probe("condor:ce3.grid.example.org", 90),
    Probe("slurm:hpc1.example.edu", 150),
    Probe("slurm:hpc2.example.edu", 60, stops=4.5),
    Probe("pbs-lsf:batch.example.net", 45, spoils=3.2),
    Probe("dcache-storage:se1.grid.example.org", 30, "StorageElement"),
    Probe("dcache-transfer:se1.grid.example.org", 60, "StorageElementRecord"),
    Probe("<script>alert('probe')</script> \u202eexe.gnp ../../%2F\n=1+1", 12),
    Probe("", 12),
)


def main(job: str, argument: str) -> None:
    """Do the job that the first argument names."""
    sys.path.append(str(ROOT))
    if job == "fill":
        asyncio.run(fill(Path(argument)))
    else:
        feed(int(argument))


async def fill(folder: Path) -> None:
    """Send the bundles of the last 24 hours to a collector whose clock runs along."""
    from tests.support.collecting import collecting
    from tixd.history import store
    from tixd.history.senders import SENDERS, SenderLog
    from tixd.sinks.json_lines import LinesSink

    logging.disable()
    end, moment = time.time(), 0.0
    senders, sink = SenderLog(), LinesSink(str(folder / "records"), 0, 0)
    history = store.open_for_writing(str(folder / store.COLLECTOR_FILE_NAME), [SENDERS])
    with contextlib.closing(history):
        async with collecting([sink], senders, lambda: moment) as collector:
            for step in range(24 * HOUR_SECONDS // PAST_SECONDS):
                moment = end - 24 * HOUR_SECONDS + step * PAST_SECONDS
                for body in bundles(moment, (end - moment) / HOUR_SECONDS, PAST_SECONDS):
                    await collector.post(body)
                if seen := senders.take():
                    SENDERS.write(history, [seen])


def bundles(moment: float, left: float, seconds: float) -> list[bytes]:
    """Return the bundles of the last so many seconds, so many hours before the end."""
    return [bundle(probe, moment, left, seconds) for probe in PROBES if left >= probe.stops]


def bundle(probe: Probe, moment: float, left: float, seconds: float) -> bytes:
    """Return the bundle of a probe: fewer records at night, at least one."""
    from tests.support.bundles import form, job

    by_day = 1 - 0.6 * math.cos(moment % (24 * HOUR_SECONDS) / (24 * HOUR_SECONDS) * math.tau)
    count = max(1, round(probe.records * seconds / HOUR_SECONDS * by_day))
    make: Callable[[str], str] = job
    if probe.kind != "JobUsageRecord":
        make = lambda identity: STORAGE.format(kind=probe.kind, id=identity)  # noqa: E731
    records = [make(f"{probe.records}.{moment:.0f}.{n}") for n in range(count)]
    if left < probe.spoils:
        records[-1] = records[-1].replace("2016-05-27T20:00:00Z", "yesterday")
    text = "".join(f"replication|{record}|||" for record in records)
    return form([], arg1=text, bundlesize=str(count), **{"from": probe.name})


def feed(port: int) -> None:
    """Send bundles until the collector has gone."""
    with contextlib.suppress(OSError):
        while True:
            for body in bundles(time.time(), 0.0, LIVE_SECONDS):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                kind = {"Content-Type": "application/x-www-form-urlencoded"}
                connection.request("POST", "/gratia-servlets/rmi", body, kind)
                connection.getresponse().read()
                connection.close()
            time.sleep(LIVE_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
