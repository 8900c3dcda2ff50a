"""Count what the collector does, for /stats and /metrics.

Rules: a record counts as accepted once every sink has it, else as an error, unknown ones too; pings
are requests.
"""

from __future__ import annotations

from collections import Counter

from tixd import __version__
from tixd.collector.admission import Admission
from tixd.collector.publish import SinkGroup
from tixd.runtime.metrics import Metric, Values, exposition

#: Answers that are shown from the start, as 0: those of the manual's table, and 500.
USUAL_CODES = (200, 400, 408, 413, 415, 500, 503)

#: The metrics, those of gracc-collector first.
METRICS = (
    Metric("gracc_records", "counter", "Records accepted by all outputs."),
    Metric("gracc_record_errors", "counter", "Records failed or unknown."),
    Metric("gracc_requests", "counter", "Servlet requests, including pings."),
    Metric("gracc_request_errors", "counter", "Servlet requests not answered 200."),
    Metric(
        "tixd_collector_requests",
        "counter",
        "Servlet requests by status; 0: the sender disconnected.",
        "code",
    ),
    Metric("tixd_collector_request_seconds", "counter", "Time that servlet requests took."),
    Metric("tixd_collector_requests_in_hand", "gauge", "Bundles in progress."),
    Metric(
        "tixd_collector_bytes_in_hand",
        "gauge",
        "Memory that requests reserve: heads, bodies, records.",
    ),
    Metric("tixd_collector_output_ready", "gauge", "1 if this output accepts records.", "output"),
)


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
    codes = sorted({*USUAL_CODES, *counts.codes})
    values: Values = {
        "gracc_records": counts.records,
        "gracc_record_errors": counts.record_errors,
        "gracc_requests": counts.requests,
        "gracc_request_errors": counts.request_errors,
        "tixd_collector_requests": {str(code): float(counts.codes[code]) for code in codes},
        "tixd_collector_request_seconds": counts.seconds,
        "tixd_collector_requests_in_hand": admission.admitted_requests,
        "tixd_collector_bytes_in_hand": admission.reserved_bytes,
        "tixd_collector_output_ready": {
            sink.name: float(not sink.unready_reason()) for sink in sinks.sinks
        },
        "tixd_ready": float(is_ready),
    }
    return exposition(METRICS, values, __version__, "collector")
