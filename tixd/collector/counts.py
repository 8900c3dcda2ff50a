"""Count what the collector does, for /stats and /metrics.

In: how each request ended. Out: the numbers of the original, under its names, and our own. Rules:
a record counts as accepted once every sink has it, else as an error, unknown ones too; pings are
requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tixd import __version__
from tixd.collector.admission import Admission
from tixd.collector.publish import SinkGroup
from tixd.runtime import tasks
from tixd.runtime.metrics import Family, exposition

#: Answers that stand at 0 before anything happened: those of the manual's table, and 500.
USUAL_CODES = (200, 400, 408, 413, 415, 500, 503)


class Counts:
    """The numbers; `codes`: servlet requests by the status that they were answered with."""

    def __init__(self) -> None:
        self.records = 0
        self.record_errors = 0
        self.codes: Counter[int] = Counter()
        self.seconds = 0.0

    def answered(self, code: int, seconds: float) -> None:
        """Count a servlet request that has ended; code 0: its sender had left."""
        self.codes[code] += 1
        self.seconds += seconds

    @property
    def requests(self) -> int:
        """Servlet requests."""
        return self.codes.total()

    @property
    def request_errors(self) -> int:
        """Those that were not answered 200."""
        return self.requests - self.codes[200]

    def stats(self) -> dict[str, int]:
        """Return what /stats shows, under the names of the original."""
        return {
            "Records": self.records,
            "RecordErrors": self.record_errors,
            "Requests": self.requests,
            "RequestErrors": self.request_errors,
        }


def metrics(counts: Counts, admission: Admission, sinks: SinkGroup, *, is_ready: bool) -> bytes:
    """Return what Prometheus reads."""
    families = _families(counts, admission, sinks, is_ready=is_ready)
    return exposition(families, __version__, "collector")


def _families(
    counts: Counts, admission: Admission, sinks: SinkGroup, *, is_ready: bool
) -> Iterator[Family]:
    totals = {
        "records": ("Records accepted by all outputs.", counts.records),
        "record_errors": ("Records failed or unknown.", counts.record_errors),
        "requests": ("Servlet requests, pings too.", counts.requests),
        "request_errors": ("Servlet requests not answered 200.", counts.request_errors),
    }
    for name, (words, number) in totals.items():
        yield Family(f"gracc_{name}", "counter", words, {"": number})
    seen = sorted({*USUAL_CODES, *counts.codes})
    codes = {str(code): float(counts.codes[code]) for code in seen}
    words = "Servlet requests by answer; 0: the sender had left."
    yield Family("tixd_collector_requests", "counter", words, codes, "code")
    words = "Time that servlet requests took."
    yield Family("tixd_collector_request_seconds", "counter", words, {"": counts.seconds})
    words = "Bundles that are worked on."
    yield Family(
        "tixd_collector_requests_in_hand", "gauge", words, {"": admission.admitted_requests}
    )
    words = "Memory that requests reserve: heads, bodies, records."
    yield Family("tixd_collector_bytes_in_hand", "gauge", words, {"": admission.reserved_bytes})
    ready = {sink.name: float(not sink.unready_reason()) for sink in sinks.sinks}
    yield Family(
        "tixd_collector_output_ready", "gauge", "1 where it can take records.", ready, "output"
    )
    yield Family(f"tixd_{tasks.COUNTED}", "counter", tasks.MEANING, {"": tasks.failures()})
    words = "1 where the role can do its work, as /readyz says."
    yield Family("tixd_ready", "gauge", words, {"": float(is_ready)})
