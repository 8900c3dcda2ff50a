"""Simulates a day of lines for `scripts/demo --look`, whose last hour passes while one looks.

`make PROGRAM FOLDER LINES HOURS` simulates below FOLDER/made, with that tixd, and moves the reports
of the hours that have passed to FOLDER/reports. `feed FOLDER` moves each other one when its minute
has passed, until it is killed. Three lines are as lines are at times: one has stopped, one had a
report that cannot be read, and one has an IPv6 address: its results are not taken by the tix-api.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

#: Seconds of an hour.
HOUR_SECONDS = 3600

#: A report is written this long after its first second.
REPORT_SECONDS = 60

#: How often reports whose minute has passed are moved.
FEED_SECONDS = 5.0

#: Share of the time before its end at which a line stops.
STOP_SHARE = 0.15

#: Usage of a line in each hour of the day (UTC), down and up, by what its people do.
HABITS: Sequence[tuple[Sequence[float], Sequence[float]]] = (
    ([0.03] * 7 + [0.1] * 10 + [0.3, 0.5, 0.75, 0.85, 0.8, 0.5, 0.2], [0.03] * 24),
    ([0.02] * 8 + [0.4] * 3 + [0.2] + [0.4] * 5 + [0.1] * 7, [0.02] * 8 + [0.35] * 9 + [0.05] * 7),
    ([0.05] * 24, [0.05, 0.9, 0.9, 0.6] + [0.05] * 20),
    ([0.9, 0.6, 0.3] + [0.1] * 9 + [0.4] * 4 + [0.7, 0.8] + [0.95] * 6, [0.1] * 24),
    ([0.02] * 24, [0.02] * 24),
)


@dataclass(frozen=True, slots=True)
class Network:
    """A network of lines: its prefix, the addresses in it, its AS, and options of their lines."""

    prefix: str
    address: str
    asn: int
    name: str
    options: Sequence[str]


#: Made-up networks with AS numbers for documentation (RFC 5398). Addresses for documentation would
#: not do: tixd knows that they belong to no AS.
NETWORKS = (
    Network("22.0.0.0/16", "22.0.0.{}", 64496, "EXAMPLE-CABLE", ()),
    Network("22.1.0.0/16", "22.1.0.{}", 64497, "EXAMPLE-FIBRE", ("--jitter", "0.1")),
    Network("22.2.0.0/16", "22.2.0.{}", 64498, "EXAMPLE-WIFI", ("--access", "wifi")),
    Network("22.3.0.0/16", "22.3.0.{}", 64499, "EXAMPLE-MOBILE", ("--access", "mobile")),
)


def main(job: str, *arguments: str) -> int:
    """Do the job that the first argument names; returns the exit code."""
    if job == "make":
        program, folder, lines, hours = arguments
        return make(program, Path(folder), int(lines), float(hours))
    feed(Path(arguments[0]))
    return 0


def make(program: str, folder: Path, lines: int, hours: float) -> int:
    """Simulate so many lines, and move what has passed; returns 1 where a line failed."""
    start = (int(time.time()) - int((hours - 1) * HOUR_SECONDS)) // 60 * 60
    (folder / "networks").write_text("".join(f"{n.prefix} {n.asn}\n" for n in NETWORKS))
    (folder / "names").write_text("".join(f"{n.asn} {n.name}\n" for n in NETWORKS))

    def simulated(user: int) -> int:
        words = options(user, start, hours, is_ipv6=user == lines - 2)
        command = [program, "simulate", str(folder / "made" / str(user)), *words]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        quiet = subprocess.DEVNULL
        return subprocess.run(command, env=environment, stdout=quiet, check=False).returncode

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, code in enumerate(pool.map(simulated, range(1, lines + 1)), 1):
            if code:
                return 1
            if sys.stdout.isatty():
                sys.stdout.write(f"{number} of {lines} lines\r")
                sys.stdout.flush()
    spoil(folder, lines, start + hours * HOUR_SECONDS * (1 - STOP_SHARE))
    count = release(waiting(folder), folder)
    sys.stdout.write(f"{count} reports of {lines} lines; others come while you look\n")
    return 0


def options(user: int, start: int, hours: float, *, is_ipv6: bool) -> Iterator[str]:
    """Yield the options of `tixd simulate` for a line."""
    network = NETWORKS[user % len(NETWORKS)]
    down, up = HABITS[user % len(HABITS)]
    yield from ("--user", str(user), "--seed", str(user), "--start", str(start))
    yield from ("--hours", f"{hours:g}", *network.options)
    yield from ("--source", f"2001:db8::{user}" if is_ipv6 else network.address.format(user))
    yield from ("--usage", by_hour(down, start, hours, user))
    yield from ("--up-usage", by_hour(up, start, hours, user))


def by_hour(day: Sequence[float], start: int, hours: float, user: int) -> str:
    """Return the usage in each hour from the start on; users differ in when and how much."""
    first = start // HOUR_SECONDS + user % 3
    share = 0.8 + user * 7 % 40 / 100
    parts = [day[(first + hour) % 24] * share for hour in range(max(1, round(hours)))]
    return ",".join(f"{min(part, 0.98):.3f}" for part in parts)


def spoil(folder: Path, lines: int, stop: float) -> None:
    """Stop the last line at that epoch second, and damage a report of the one before it."""
    for report in reports(folder / "made" / str(lines)):
        if second(report) > stop:
            report.unlink()
    others = sorted(reports(folder / "made" / str(lines - 1)), key=second)
    spoilt = others[len(others) // 4]
    spoilt.write_bytes(b"not a report\n")
    os.utime(spoilt, (0, 0))  # a new one might still be being written


def reports(folder: Path) -> Iterator[Path]:
    """Yield the reports below a folder."""
    return folder.glob("**/tix-report-*.json")


def second(report: Path) -> int:
    """Return the first second of a report."""
    return int(report.stem.rpartition("-")[2])


def waiting(folder: Path) -> list[Path]:
    """Return the reports that were not moved yet, the latest first."""
    return sorted(reports(folder / "made"), key=second, reverse=True)


def release(left: list[Path], folder: Path) -> int:
    """Move the reports whose minute has passed, out of those that are left; returns how many."""
    count = 0
    while left and second(left[-1]) + REPORT_SECONDS <= time.time():
        report = left.pop()
        target = folder / "reports" / report.parent.parent.name / report.parent.name
        target.mkdir(parents=True, exist_ok=True)
        report.rename(target / report.name)
        count += 1
    return count


def feed(folder: Path) -> None:
    """Move each report when its minute has passed, until none is left."""
    left = waiting(folder)
    while left:
        release(left, folder)
        time.sleep(FEED_SECONDS)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
