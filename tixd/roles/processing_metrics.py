"""What the processing roles count and measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tixd.runtime.metrics import Metric, Values, counted, exposition
from tixd.runtime.status import HistoryView, Snapshot

#: Outcomes of an installation job other than "done", which has no count of its own.
_ENDS = {
    "jobs_locked": "locked",
    "jobs_vanished": "vanished",
    "jobs_failed": "failed",
    "jobs_given_up": "given_up",
    "jobs_waiting": "waiting",
    "jobs_not_finished": "not_finished",
    "jobs_not_begun": "not_begun",
}

#: Counters, and the counts of jobs and cycles that they are made of.
COUNTERS = (
    Metric(
        "tixd_windows",
        "counter",
        "Windows finished: result posted, result kept, or empty (no short packet).",
        "result",
        {
            "windows_posted": "posted",
            "windows_stored": "kept",
            "windows_without_short": "empty",
        },
    ),
    Metric(
        "tixd_odd_clocks",
        "counter",
        "Windows in which a clock was set, or whose clocks are not credible.",
        "reason",
        {"windows_clock_set": "set", "windows_clock_not_credible": "not-credible"},
    ),
    Metric(
        "tixd_kept_results",
        "counter",
        "Posts of kept results: accepted, refused this time, or rejected: refused for good.",
        "outcome",
        {
            "results_reposted": "reposted",
            "results_refused": "refused",
            "results_rejected": "rejected",
        },
    ),
    Metric(
        "tixd_posts",
        "counter",
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
    counted(
        "reports_deleted",
        "Reports deleted after their result was posted or kept, or none was possible.",
    ),
    Metric(
        "tixd_reports_discarded",
        "counter",
        "Reports discarded because no window can use them, by reason.",
        "reason",
        {
            "reports_discarded_source": "source",
            "reports_discarded_gap": "gap",
            "reports_discarded_crowded": "crowded",
        },
    ),
    counted("reports_bad", "Bad reports that were set aside in bad-reports."),
    counted("reports_unreadable", "Times that a report could not be read and was skipped."),
    counted("bad_reports_expired", "Reports set aside that were deleted: too old or too many."),
    counted("journals_without_room", "Windows finished without a journal: disk full."),
    counted("reports_not_deleted", "Deletions of finished reports that failed; tried again."),
    Metric(
        "tixd_jobs",
        "counter",
        "Installation jobs, by outcome.",
        "end",
        {"jobs_done": "done", **_ENDS},
    ),
    Metric(
        "tixd_worker_restarts",
        "counter",
        "Worker processes, or jobs in them, that failed, by reason.",
        "reason",
        {
            "worker_restarts_exit": "exit",
            "worker_restarts_signal": "signal",
            "worker_restarts_time": "time",
            "worker_restarts_exception": "exception",
            "worker_restarts_memory": "memory",
        },
    ),
    counted("observations_duplicate", "Duplicate observations, counted once."),
    counted("cycles", "Scans completed."),
    counted("cycles_failed", "Scans that could not list the reports."),
    counted("cycles_skipped", "Cycles skipped because a scan was still running."),
    counted("installations_queued", "Installations for which a job was queued."),
    counted("installations_skipped", "Installations skipped because their job was still open."),
    counted("messages_for_users", "Cycles that asked the workers to scan the reports."),
    counted("messages_fanned_out", "Such messages that this worker has turned into jobs."),
    counted("messages_expired", "Messages of jobs that came after they had expired."),
    counted("messages_dead", "Messages that were not jobs, moved to tixd.dead."),
)

#: Gauges.
GAUGES = (
    Metric("tixd_leading", "gauge", "1 if this process works, 0 on stand-by."),
    Metric("tixd_queue_length", "gauge", "Jobs that wait for a worker."),
    Metric("tixd_jobs_open", "gauge", "Jobs that wait or are in progress."),
    Metric("tixd_workers", "gauge", "Worker processes."),
    Metric("tixd_workers_ready", "gauge", "Worker processes that can be given jobs."),
    Metric("tixd_period_seconds", "gauge", "Time from one cycle to the next."),
    Metric("tixd_last_scan_timestamp_seconds", "gauge", "When the last completed scan began."),
    Metric("tixd_last_scan_duration_seconds", "gauge", "Duration of the last completed scan."),
    Metric("tixd_broker_usable", "gauge", "1 if RabbitMQ accepts and delivers messages."),
    Metric("tixd_broker_confirm_age_seconds", "gauge", "Time since RabbitMQ last confirmed."),
    Metric("tixd_job_queue_messages", "gauge", "Messages that wait in RabbitMQ's queue of jobs."),
    Metric("tixd_job_queue_consumers", "gauge", "Consumers of that queue: workers, also Celery's."),
    Metric(
        "tixd_job_queue_unattended_seconds",
        "gauge",
        "How long messages have waited in that queue without a consumer; 0 where it has one.",
    ),
    Metric(
        "tixd_leader_missing",
        "gauge",
        "1 if this worker had no job for two periods and finds no dispatcher.",
    ),
    Metric("tixd_volume_free_bytes", "gauge", "Space left on the reports volume."),
    Metric(
        "tixd_volume_answer_age_seconds", "gauge", "Time since the reports volume last answered."
    ),
    Metric("tixd_results_kept", "gauge", "Results that are kept now, of all installations."),
    Metric(
        "tixd_installations_silent",
        "gauge",
        "Installations that had results and have none now, for up to a day or for longer.",
        "since",
    ),
    Metric("tixd_history_usable", "gauge", "1 if the history can be written to."),
    Metric("tixd_history_size_bytes", "gauge", "Size of the history with its log."),
    Metric("tixd_history_dropped", "gauge", "Entries that the history lacks since the start."),
    Metric("tixd_asn_table_usable", "gauge", "1 if the AS table can be used."),
    Metric("tixd_asn_table_age_seconds", "gauge", "Time since the AS table was built."),
)


class ProcessingMetrics:
    """The counts of a role since it started."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> dict[str, int]:
        """Everything counted so far; what never happened is left out."""
        return dict(self._counts)

    def add_job(self, counts: Mapping[str, int]) -> None:
        """Count a job of an installation that has ended."""
        self.add(counts)
        if not _ENDS.keys() & counts.keys():
            self._counts["jobs_done"] += 1

    def add(self, counts: Mapping[str, int]) -> None:
        """Count something else: cycles, cycles_skipped, installations_skipped."""
        self._counts.update(counts)

    def set_restarts(self, causes: Mapping[str, int]) -> None:
        """Set how many workers, or jobs in them, have failed so far, by cause."""
        for cause, number in causes.items():
            self._counts[f"worker_restarts_{cause}"] = number

    def text(self, now: Snapshot) -> bytes:
        """Return what Prometheus reads."""
        values = {**self._counts, **_gauges(now)}
        return exposition((*COUNTERS, *GAUGES), values, now.version, now.role)


def _gauges(now: Snapshot) -> Values:
    """Return the value of every gauge; None where there is none yet."""
    cycle, volume, broker, queue = now.cycle, now.volume, now.broker, now.queue
    asn_built = volume.asn_built
    return {
        "tixd_ready": float(not now.unready_reasons()),
        "tixd_leading": float(now.state == "running"),
        "tixd_queue_length": now.waiting,
        "tixd_jobs_open": now.open,
        "tixd_workers": len(now.workers),
        "tixd_workers_ready": sum(worker.ready for worker in now.workers),
        "tixd_period_seconds": now.period_seconds,
        "tixd_last_scan_timestamp_seconds": cycle.scanned,
        "tixd_last_scan_duration_seconds": cycle.scan_seconds,
        "tixd_broker_usable": float(not broker.reason) if broker else None,
        "tixd_broker_confirm_age_seconds": _age(now, broker.confirmed if broker else None),
        "tixd_job_queue_messages": queue.messages if queue else None,
        "tixd_job_queue_consumers": queue.consumers if queue else None,
        "tixd_job_queue_unattended_seconds": now.unattended_seconds if queue else None,
        "tixd_leader_missing": float(now.leaderless_since is not None) if broker else None,
        "tixd_volume_free_bytes": volume.free_bytes,
        "tixd_volume_answer_age_seconds": _age(now, volume.answered),
        **_of_history(now.history),
        "tixd_asn_table_usable": None if asn_built is None else float(asn_built > 0),
        "tixd_asn_table_age_seconds": _age(now, asn_built or None),
    }


def _of_history(history: HistoryView | None) -> Values:
    """Return the values that the history gives; none where there is none."""
    if history is None:
        return {}
    return {
        "tixd_results_kept": history.summary.get("results_kept"),
        "tixd_installations_silent": _silent(history.summary),
        "tixd_history_usable": float(not history.reason),
        "tixd_history_size_bytes": history.size_bytes,
        "tixd_history_dropped": history.dropped,
    }


def _silent(summary: Mapping[str, int]) -> Mapping[str, float] | None:
    """Return how many installations are silent, by since when; None while that is not known."""
    if "silent" not in summary:
        return None
    lately = summary["silent_day"]
    return {"day": lately, "longer": summary["silent"] - lately}


def _age(now: Snapshot, since: float | None) -> float | None:
    return None if since is None else max(0.0, now.moment - since)
