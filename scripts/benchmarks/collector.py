"""The collector beside a RabbitMQ of its own: records a second, CPU of each record, waiting."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.yardstick import Row, cpu_ns, share_of_y, yardstick_ns

#: How long each combination is measured, seconds.
SECONDS = 5

#: Connections at once, and records of a bundle.
CONNECTIONS, RECORDS = (1, 8, 32), (15, 100)

#: What the specification allows for a record of a bundle of 15: 0.2 ms where Y is 54 ms.
MOST_Y = 1 / 270


def measure(base: Path) -> list[Row]:
    """JSON records onto a durable queue that is being drained, each confirmed."""
    sys.path.append(str(Path(__file__).parents[2]))
    from tests.support.broker import Broker
    from tests.support.collector import Collector
    from tests.support.direct import QUEUE, bound_queue, to_broker

    rows: list[Row] = []
    base.mkdir(parents=True)
    with Broker(base / "broker") as broker:
        bound_queue(broker)
        with (
            subprocess.Popen([sys.executable, _script("drain"), str(broker.port), QUEUE]) as drain,
            Collector(base, to_broker(broker.port), "-l", str(base / "log")) as collector,
        ):
            collector.becomes_ready()
            pids = (collector.pid, broker.pid)
            for records in RECORDS:
                for connections in CONNECTIONS:
                    rows += _measured(collector.port, pids, connections, records)
            drain.kill()
    return rows


def _script(name: str) -> str:
    return str(Path(__file__).with_name(f"{name}.py"))


def _measured(port: int, pids: tuple[int, int], connections: int, records: int) -> list[Row]:
    """The rows of one combination."""
    numbers = [str(number) for number in (port, connections, records, SECONDS)]
    before = [cpu_ns([pid]) for pid in pids]
    output = subprocess.check_output([sys.executable, _script("bundles"), *numbers])
    after = [cpu_ns([pid]) for pid in pids]
    seen: dict[str, Any] = json.loads(output)
    answers, count = seen["answers"], len(seen["answers"]) * records
    own, brokers = ((b - a) / count for a, b in zip(before, after, strict=True))
    middle, late = answers[len(answers) // 2], answers[int(len(answers) * 0.99)]
    ratio = own / yardstick_ns()
    target = (f"{share_of_y(MOST_Y)} or less", ratio <= MOST_Y) if records == RECORDS[0] else ()
    what = f"collector, {connections} connections, {records} records"
    return [
        Row(f"{what}: confirmed", f"{count / seen['seconds']:.0f} a second"),
        Row("  CPU of a record", f"{own / 1e6:.3f} ms", share_of_y(ratio), *target),
        Row("  CPU of a record in RabbitMQ", f"{brokers / 1e6:.3f} ms"),
        Row("  answers, median and 99 of 100", f"{middle * 1e3:.0f} and {late * 1e3:.0f} ms"),
    ]
