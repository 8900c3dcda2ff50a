"""Every metric, once: what is counted, and the text that Prometheus reads.

In: counts of jobs and cycles as they happen, a Snapshot when somebody asks. Out: bytes in the
Prometheus text format 0.0.4. Rules: names begin with tixd_ and end with a base unit or _total
(but for process_…, which all programs call alike); a label's values are known here, and none is a
user, installation or address; a counter stands at 0 before anything happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tixd.runtime import tasks
from tixd.runtime.status import Snapshot

#: Type of the text, as HTTP names it.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Counted:
    """A counter: its name without tixd_ and _total; tallies: our names, and the label of each."""

    name: str
    help: str
    label: str = ""
    tallies: Mapping[str, str] = field(default_factory=dict)


def _alone(tally: str, words: str) -> Counted:
    """A counter without labels, named as what is counted."""
    return Counted(tally, words, tallies={tally: ""})


#: How a job of an installation can end but for "done", which has no name of its own in the counts.
_ENDS = {
    "jobs_locked": "locked",
    "jobs_vanished": "vanished",
    "jobs_failed": "failed",
    "jobs_given_up": "given_up",
    "jobs_waiting": "waiting",
    "jobs_not_finished": "not_finished",
    "jobs_not_begun": "not_begun",
}

#: All counters.
COUNTERS = (
    Counted(
        "windows",
        "Windows finished: result posted, stored in failed-results, or empty (no short packet).",
        "result",
        {
            "windows_posted": "posted",
            "windows_stored": "stored",
            "windows_without_short": "empty",
        },
    ),
    Counted(
        "stored_results",
        "Posts of stored results: accepted, refused by the tix-api, or moved to rejected.",
        "outcome",
        {
            "results_reposted": "reposted",
            "results_refused": "refused",
            "results_rejected": "rejected",
        },
    ),
    Counted(
        "posts",
        "Posts to the tix-api; failed: 5xx, delayed: 408 and 429, refused: other 4xx and 3xx.",
        "outcome",
        {
            "posts_accepted": "accepted",
            "posts_failed": "failed",
            "posts_refused": "refused",
            "posts_unauthorised": "unauthorised",
            "posts_delayed": "delayed",
            "posts_unanswered": "unanswered",
            "posts_unreachable": "unreachable",
        },
    ),
    _alone("reports_deleted", "Reports deleted, their result being safe or impossible."),
    Counted(
        "reports_discarded",
        "Reports that could be part of no window, by why.",
        "reason",
        {
            "reports_discarded_source": "source",
            "reports_discarded_gap": "gap",
            "reports_discarded_crowded": "crowded",
        },
    ),
    _alone("reports_bad", "Bad reports moved to bad-reports."),
    _alone("reports_unreadable", "Times that a report could not be read and was passed over."),
    _alone("bad_reports_expired", "Bad reports deleted because of their age or number."),
    _alone("journals_without_room", "Windows finished without a journal: disk full."),
    _alone("reports_not_deleted", "Deletions of finished reports that failed; tried again."),
    Counted(
        "jobs",
        "Visits of installations, by how they ended.",
        "end",
        {"jobs_done": "done", **_ENDS},
    ),
    Counted(
        "worker_restarts",
        "Worker processes, or jobs in them, that ended otherwise than they should.",
        "reason",
        {
            "worker_restarts_exit": "exit",
            "worker_restarts_signal": "signal",
            "worker_restarts_time": "time",
            "worker_restarts_exception": "exception",
            "worker_restarts_memory": "memory",
        },
    ),
    _alone("observations_duplicate", "Observations that came twice and were counted once."),
    _alone("cycles", "Scans completed."),
    _alone("cycles_failed", "Scans that could not list the reports."),
    _alone("cycles_skipped", "Cycles skipped because a scan was still running."),
    _alone("installations_queued", "Installations that were given a job."),
    _alone("installations_skipped", "Installations skipped because their job was still open."),
    _alone("messages_for_users", "Cycles that asked the workers to look through the reports."),
    _alone("messages_fanned_out", "Such messages that this worker has turned into jobs."),
    _alone("messages_expired", "Messages of jobs that came later than they were good for."),
    _alone("messages_dead", "Messages that were no jobs and lie in tixd.dead now."),
    _alone(tasks.COUNTED, tasks.MEANING),
)


class Metrics:
    """The counts of a role since it started."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._process = ProcessCollector(registry=None)

    @property
    def counts(self) -> dict[str, int]:
        """Everything counted so far, by our names; what never happened is left out."""
        return dict(self._counts)

    def heard(self, done_counts: Mapping[str, int]) -> None:
        """A job of an installation has ended, with these counts."""
        self.add(done_counts)
        if not _ENDS.keys() & done_counts.keys():
            self._counts["jobs_done"] += 1

    def add(self, counts: Mapping[str, int]) -> None:
        """Something else happened: cycles, cycles_skipped, installations_skipped."""
        self._counts.update(counts)

    def ended(self, causes: Mapping[str, int]) -> None:
        """How many workers, or jobs in them, have ended otherwise than they should, by cause."""
        for cause, number in causes.items():
            self._counts[f"worker_restarts_{cause}"] = number

    def text(self, snapshot: Snapshot) -> bytes:
        """What Prometheus reads; costs about a millisecond."""
        self._counts[tasks.COUNTED] = tasks.failures()
        picture = _Picture(self._counts, snapshot)
        return generate_latest(picture) + generate_latest(self._process)


class _Picture(Collector):
    """The metrics of one moment."""

    def __init__(self, counts: Mapping[str, int], snapshot: Snapshot) -> None:
        self._counts = counts
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Counters, then gauges, then who runs here."""
        for counted in COUNTERS:
            labels = [counted.label] if counted.label else []
            family = CounterMetricFamily(f"tixd_{counted.name}", counted.help, labels=labels)
            for tally, value in counted.tallies.items():
                family.add_metric([value] if labels else [], self._counts.get(tally, 0))
            yield family
        for name, words, number in _gauges(self._snapshot):
            if number is not None:
                yield GaugeMetricFamily(f"tixd_{name}", words, value=number)
        yield _build(self._snapshot.version, self._snapshot.role)


def _build(version: str, role: str) -> Metric:
    """Who runs here."""
    family = GaugeMetricFamily("tixd_build_info", "Version.", labels=["version", "role"])
    family.add_metric([version, role], 1)
    return family


def _gauges(now: Snapshot) -> Iterator[tuple[str, str, float | None]]:
    """Name, help and value of every gauge; None where there is no value yet."""
    cycle, volume = now.cycle, now.volume
    answer_age = None if volume.answered is None else max(0.0, now.moment - volume.answered)
    yield "ready", "1 where the role can do its work, as /readyz says.", float(not now.not_ready())
    yield (
        "leading",
        "1 where this process does its role's work, 0 on stand-by.",
        float(now.state == "running"),
    )
    yield "queue_length", "Jobs that wait for a worker.", now.waiting
    yield "jobs_open", "Jobs that wait or are being done.", now.open
    yield "workers", "Worker processes.", len(now.workers)
    ready = sum(worker.ready for worker in now.workers)
    yield "workers_ready", "Worker processes that can be given jobs.", ready
    yield "period_seconds", "Time from one cycle to the next.", now.period_seconds
    yield "last_scan_timestamp_seconds", "When the last completed scan began.", cycle.scanned
    yield "last_scan_duration_seconds", "How long it took.", cycle.scan_seconds
    broker, confirm_age = now.broker, None
    if broker:
        yield "broker_usable", "1 where RabbitMQ takes and gives messages.", not broker.reason
        confirm_age = broker.confirmed and max(0.0, now.moment - broker.confirmed)
    yield "broker_confirm_age_seconds", "Time since RabbitMQ last confirmed.", confirm_age
    yield "volume_free_bytes", "Space left on the reports volume.", volume.free_bytes
    yield "volume_answer_age_seconds", "Time since the reports volume last answered.", answer_age
    if volume.asn_built is not None:
        yield "asn_table_usable", "1 where the AS table can be used.", float(volume.asn_built > 0)
        age = max(0.0, now.moment - volume.asn_built) if volume.asn_built else None
        yield "asn_table_age_seconds", "Time since the AS table was built.", age


# --- for roles that count other things ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Family:
    """A metric of one moment: its name (a counter's without _total), values by label, or by ""."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    values: Mapping[str, float]
    label: str = ""


class _Families(Collector):
    def __init__(self, families: Iterable[Family], version: str, role: str) -> None:
        self._families, self._version, self._role = families, version, role

    def collect(self) -> Iterator[Metric]:
        """Each family in prometheus_client's own terms, then who runs here."""
        kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        for family in self._families:
            made = kinds[family.kind](
                family.name, family.help, labels=[family.label] * bool(family.label)
            )
            for value, number in family.values.items():
                made.add_metric([value] * bool(family.label), number)
            yield made
        yield _build(self._version, self._role)


def exposition(families: Iterable[Family], version: str, role: str) -> bytes:
    """The text of these families, of who runs here, and of this process."""
    told = _Families(families, version, role)
    return generate_latest(told) + generate_latest(ProcessCollector(registry=None))
