"""The AS table: time and memory to make one, a look-up, and the memory that it takes.

The table is made of simulated prefixes: 100,000 of IPv4 and 20,000 of IPv6, of 80,000 AS numbers.
"""

from __future__ import annotations

import ipaddress
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.memory import memory_mb
from benchmarks.yardstick import Row, interleaved, own_cpu_ns, row, share_of_y, yardstick_ns
from tixd.asn.lookup import OriginLookup
from tixd.asn.table import KNOWN

#: Prefixes of each family, AS numbers, look-ups of a round, rounds.
PREFIXES_V4, PREFIXES_V6, NUMBERS = 100_000, 20_000, 80_000
LOOK_UPS, ROUNDS = 10_000, 7


def measure(base: Path) -> list[Row]:
    """Make the table, then look addresses up in it."""
    base.mkdir(parents=True)
    chance = random.Random(1)  # noqa: S311 - no secret
    source, table = base / "prefixes", base / "asn.mmdb"
    source.write_text("\n".join(_prefixes(chance)) + "\n")
    made = _make(source, table)
    addresses = [str(ipaddress.IPv4Address(chance.getrandbits(32))) for _ in range(LOOK_UPS)]
    rss_before, own_before = memory_mb(os.getpid())
    origins = OriginLookup(str(table))
    figures, ratios = interleaved(lambda: _look_up(origins, addresses), ROUNDS)
    rss, own = memory_mb(os.getpid())
    grown = f"{rss - rss_before:.0f} ({own - own_before:.0f}) MB"
    return [
        made,
        row("look up the AS of an address, CPU", figures, ratios),
        Row("memory of the table in one process: RSS (USS while nobody shares it)", grown),
    ]


def _prefixes(chance: random.Random) -> Iterator[str]:
    """Lines as the original's file has them, with prefixes within prefixes."""
    yield from (f"{ipaddress.ip_network(address)} {asn}" for address, asn in KNOWN)
    for _ in range(PREFIXES_V4):
        length = chance.choice((16, 19, 20, 22, 23, 24, 24, 24, 24))
        address = chance.getrandbits(32) >> 32 - length << 32 - length
        yield f"{ipaddress.IPv4Address(address)}/{length} {chance.randint(1, NUMBERS)}"
    for _ in range(PREFIXES_V6):
        length = chance.choice((32, 40, 44, 48, 48))
        address = (
            (2 << 124 | chance.getrandbits(11) << 113 | chance.getrandbits(20) << 80)
            >> 128 - length
            << 128 - length
        )
        yield f"{ipaddress.IPv6Address(address)}/{length} {chance.randint(1, NUMBERS)}"


def _make(source: Path, table: Path) -> Row:
    """`tixd asn build` as it is run, with its checks."""
    y_ns, before = yardstick_ns(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "tixd", "asn", "build", str(source), "--table", str(table)]
    begun = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_ns = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e9
    count = PREFIXES_V4 + PREFIXES_V6
    what = f"make a table of {count:,} prefixes ({after.ru_maxrss / 1024:.0f} MB at most)"
    return Row(what, f"{seconds:.0f} s", share_of_y(cpu_ns / y_ns))


def _look_up(origins: OriginLookup, addresses: list[str]) -> float:
    """CPU time of one look-up."""
    before = own_cpu_ns()
    for address in addresses:
        origins.lookup(address)
    return (own_cpu_ns() - before) / len(addresses)
