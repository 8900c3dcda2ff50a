"""The collector beside a RabbitMQ of its own: records a second, CPU of each record, waiting.

One collector, then two that share a port. Combinations are measured in turn, several times, because
other work on the machine comes and goes.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.yardstick import Row, cpu_ns, share_of_y, yardstick_ns

if TYPE_CHECKING:
    from tests.support.collector import Collector

#: How long each combination is measured at once, seconds, and how often.
SECONDS, ROUNDS = 2, 3

#: Connections at once, and records of a bundle: for one collector, and for two.
CONNECTIONS, RECORDS = (1, 8, 32), (15, 100)
CONNECTIONS_OF_TWO = (32,)

#: What the specification allows for a record.
MOST_Y = 1 / 300


@dataclass(frozen=True, slots=True)
class Run:
    """What one run has shown: records a second; ns of CPU a record, of it in Y; answers (s)."""

    rate: float
    own_ns: float
    own_y: float
    broker_ns: float
    median: float
    late: float


def measure(base: Path) -> list[Row]:
    """JSON records onto a durable queue that is being drained, each confirmed."""
    sys.path.append(str(Path(__file__).parents[2]))
    from tests.support.broker import Broker
    from tests.support.direct import QUEUE, bound_queue, to_broker

    base.mkdir(parents=True)
    with Broker(base / "broker") as broker:
        bound_queue(broker)
        settings = to_broker(broker.port)
        drain = subprocess.Popen([sys.executable, _script("drain"), str(broker.port), QUEUE])
        with drain:
            with _collectors(base, settings, 1) as one:
                rows = _rows("collector", one, broker.pid, CONNECTIONS)
            with _collectors(base, {**settings, "reusePort": True}, 2) as two:
                rows += _rows("two on one port", two, broker.pid, CONNECTIONS_OF_TWO)
            drain.kill()
    return rows


@contextlib.contextmanager
def _collectors(base: Path, settings: dict[str, Any], count: int) -> Iterator[list[Collector]]:
    """So many collectors on one port."""
    from tests.support.collector import Collector
    from tests.support.stand_in_api import closed_port

    port = closed_port()
    with contextlib.ExitStack() as stack:
        found = []
        for number in range(count):
            folder = base / f"{number + 1} of {count}"
            folder.mkdir()
            one = Collector(folder, settings, "-l", str(folder / "log"), port=port)
            found.append(stack.enter_context(one))
            one.becomes_ready()
        yield found


def _rows(
    what: str, collectors: Sequence[Collector], broker: int, connections: Sequence[int]
) -> list[Row]:
    """The rows of all combinations."""
    runs: dict[tuple[int, int], list[Run]] = {}
    for _ in range(ROUNDS):
        for records in RECORDS:
            for count in connections:
                run = _run(collectors, broker, count, records)
                runs.setdefault((records, count), []).append(run)
    rows: list[Row] = []
    for records in RECORDS:
        for count in connections:
            title = f"{what}, {count} connections, {records} records"
            rows += _combination(title, runs[records, count])
        if {8, 32} <= set(connections):
            rows.append(_against(runs[records, 32], runs[records, 8]))
    return rows


def _run(collectors: Sequence[Collector], broker: int, connections: int, records: int) -> Run:
    numbers = [str(number) for number in (collectors[0].port, connections, records, SECONDS)]
    pids = [one.pid for one in collectors]
    before = cpu_ns(pids), cpu_ns([broker])
    seen = json.loads(subprocess.check_output([sys.executable, _script("bundles"), *numbers]))
    after = cpu_ns(pids), cpu_ns([broker])
    answers = seen["answers"]
    count = len(answers) * records
    own, brokers = ((b - a) / count for a, b in zip(before, after, strict=True))
    late = answers[int(len(answers) * 0.99)]
    middle = answers[len(answers) // 2]
    return Run(count / seen["seconds"], own, own / yardstick_ns(), brokers, middle, late)


def _combination(title: str, runs: Sequence[Run]) -> list[Row]:
    def median(name: str) -> float:
        return float(statistics.median(getattr(run, name) for run in runs))

    ratio = median("own_y")
    target = f"{share_of_y(MOST_Y)} or less"
    waits = f"{median('median') * 1e3:.0f} and {median('late') * 1e3:.0f} ms"
    own = f"{median('own_ns') / 1e6:.3f} ms"
    return [
        Row(f"{title}: confirmed", f"{median('rate'):.0f} a second"),
        Row("  CPU of a record", own, share_of_y(ratio), target, ratio <= MOST_Y),
        Row("  CPU of a record in RabbitMQ", f"{median('broker_ns') / 1e6:.3f} ms"),
        Row("  answers, median and 99 of 100", waits),
    ]


def _against(many: Sequence[Run], few: Sequence[Run]) -> Row:
    """How many records a second 32 connections bring, of what 8 bring in the same round."""
    ratio = statistics.median(a.rate / b.rate for a, b in zip(many, few, strict=True))
    what = "  records a second at 32 connections, of those at 8"
    return Row(what, f"{ratio:.2f}", "", "1.00 or more", ratio >= 1)


def _script(name: str) -> str:
    return str(Path(__file__).with_name(f"{name}.py"))
