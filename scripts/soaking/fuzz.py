"""Fuzz every reader of bytes from outside: a typed error or a valid object, in time and memory.

Findings are kept in tests/data/fuzz, where the tests try them again for ever.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from soaking.mutate import mutated
from soaking.output import say
from soaking.targets import SAVED, TARGETS, Target
from tests.support import memory

#: Most CPU seconds of one input, and by how many bytes memory may grow.
MAX_SECONDS, MAX_BYTES = 1.0, 64 * 2**20

#: Inputs between two looks at memory; fewer where each has to be waited for.
BATCH, WAITING_BATCH = 100, 4


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that a target did not stand."""

    target: str
    data: bytes
    reason: str


def tried(target: Target, data: bytes) -> Finding | None:
    """Run a target on one input; what is wrong, if anything."""
    begun = time.process_time()
    try:
        target.run(data)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
        return Finding(target.name, data, f"{type(error).__name__}: {_first_line(error)} ({where})")
    seconds = time.process_time() - begun
    if seconds > MAX_SECONDS:
        return Finding(target.name, data, f"{seconds:.1f} s of CPU")
    return None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def fuzzed(target: Target, seed: str, inputs: int) -> tuple[list[Finding], int]:
    """Try so many inputs of a seed; the findings, one for each reason, and how much memory grew."""
    random, corpus = Random(seed), target.corpus()
    findings: dict[str, Finding] = {}
    target.run(corpus[0])
    memory.forget_peak()
    before = memory.resident_bytes()
    for _ in range(inputs):
        if found := tried(target, mutated(random, corpus)):
            findings.setdefault(found.reason.rpartition(" (")[2], found)
    grown = memory.peak_bytes() - before
    return list(findings.values()), grown


def main(words: Sequence[str]) -> int:
    """Fuzz for some minutes, every target in its turn; the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/soak fuzz", description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=5.0, help="5 by default")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--target", help="only targets whose name has this text")
    options = parser.parse_args(words)
    wanted = [target for target in TARGETS if (options.target or "") in target.name]
    if not wanted:
        parser.error(f"no target has {options.target!r} in its name")
    logging.getLogger().addHandler(logging.NullHandler())  # what is refused is told in the log
    say(f"seed {options.seed}, {options.minutes:g} minutes, {len(wanted)} targets")
    ends = time.monotonic() + options.minutes * 60
    counts, findings = _rounds(wanted, options.seed, ends)
    for name, count in counts.items():
        say(f"{count:9,}  {name}")
    say(f"{sum(counts.values()):9,}  inputs, {len(findings)} findings")
    _keep(findings)
    return 1 if findings else 0


def _rounds(
    wanted: Sequence[Target], seed: int, ends: float
) -> tuple[dict[str, int], list[Finding]]:
    counts, findings = dict.fromkeys((target.name for target in wanted), 0), {}
    turn = 0
    while time.monotonic() < ends and wanted:
        target = wanted[turn % len(wanted)]
        batch = WAITING_BATCH if target.waits else BATCH
        found, grown = fuzzed(target, f"{seed}.{target.name}.{turn // len(wanted)}", batch)
        counts[target.name] += batch
        if grown > MAX_BYTES:
            say(f"{target.name}: memory grew by {grown / 1e6:.0f} MB in round {turn}")
            found.append(Finding(target.name, b"", f"{grown / 1e6:.0f} MB in a batch"))
        for one in found:
            key = one.target, one.reason
            if key not in findings:
                findings[key] = one
                say(f"{one.target}: {one.reason}: {one.data[:100]!r}")
        turn += 1
    return counts, list(findings.values())


def _keep(findings: Iterable[Finding]) -> None:
    for one in findings:
        folder = SAVED / one.target.replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / hashlib.sha256(one.data).hexdigest()[:16]
        path.write_bytes(one.data[:20_000])
        say(f"kept: {path}")
