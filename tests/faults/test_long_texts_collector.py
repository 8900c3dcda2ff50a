"""Whatever a sender can make long: the collector's answers, log and memory stay bounded."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest
from _pytest.mark import ParameterSet

from tests.support import long_texts, memory
from tests.support.collector import Collector

MIB = 1024 * 1024

#: Lengths of the texts.
LENGTHS = (1_000, 64_000, 1_000_000, 16_000_000)
LONGEST = LENGTHS[-1]

#: No line of the log and no answer is longer.
MOST_BYTES = 4096

#: So much more memory than when idle may be used, beside the body in hand.
MOST_MEMORY_BYTES = 64 * MIB

#: A body in hand is there as it was sent, as a parameter, and as a text that is read.
IN_HAND = 3

#: How long an answer may take, in CPU time: where nothing else runs it takes no longer.
MOST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What a request took, and how long its answer was."""

    answer: bytes
    seconds: float
    memory_bytes: int


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A collector that writes records into a file."""
    folder = tmp_path_factory.mktemp("collector")
    settings = {"amqp": {"enable": False}, "file": {"path": str(folder / "records")}}
    with Collector(folder, settings) as running:
        running.runs()
        yield running


def cpu_seconds(collector: Collector) -> float:
    """The CPU time that it has used so far."""
    used = psutil.Process(collector.pid).cpu_times()
    return used.user + used.system


def exchange(collector: Collector, octets: bytes) -> Taken:
    """Send a request; the answer is b"" where the collector has closed the connection."""
    collector.forget_peak()
    begun = cpu_seconds(collector)
    with socket.create_connection(("127.0.0.1", collector.port)) as sock:
        answer = long_texts.answer_to(sock, octets)
    return Taken(answer, cpu_seconds(collector) - begun, collector.peak_bytes())


def longest_line(collector: Collector) -> int:
    """Bytes of the longest line of its log."""
    return max(map(len, collector.log_file.read_bytes().split(b"\n")))


def wrong(collector: Collector, places: dict[str, long_texts.Make]) -> dict[str, str]:
    """The places where a long text costs too much, and what."""
    idle_bytes, found = memory.resident_bytes(collector.pid), {}
    for place, make in places.items():
        octets = make().octets()
        taken = exchange(collector, octets)
        more_bytes = taken.memory_bytes - idle_bytes
        if len(taken.answer) > MOST_BYTES or taken.seconds > MOST_SECONDS:
            found[place] = f"{len(taken.answer)} bytes of answer, {taken.seconds:.1f} s"
        if more_bytes > MOST_MEMORY_BYTES + IN_HAND * len(octets):
            found[place] = f"{more_bytes / MIB:.0f} MiB more memory"
        assert collector.poll() is None
    return found


def cases() -> Iterator[ParameterSet]:
    """Kinds of places, and lengths."""
    for places in (long_texts.forms, long_texts.records, long_texts.heads):
        for length in LENGTHS:
            marks = [pytest.mark.long] if (places, length) == (long_texts.records, LONGEST) else []
            yield pytest.param(places, length, marks=marks, id=f"{places.__name__}-{length}")


@pytest.mark.alone
@pytest.mark.parametrize(("places", "length"), list(cases()))
def test_a_long_text_from_a_sender_costs_little_time_memory_and_log(collector, places, length):
    assert wrong(collector, places(length)) == {}
    assert longest_line(collector) <= MOST_BYTES
    assert collector.alive()
