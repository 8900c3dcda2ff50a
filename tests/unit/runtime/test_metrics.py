"""ProcessingMetrics: every count has its name, and the text is what Prometheus reads."""

import ast
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.service import snapshot
from tixd.commands.output import WORDS
from tixd.pool.failures import Cause
from tixd.reports.window import Discard
from tixd.roles.processing_metrics import COUNTERS, GAUGES, ProcessingMetrics
from tixd.runtime.metrics import COMMON
from tixd.runtime.status import (
    BrokerView,
    CycleView,
    HistoryView,
    QueueView,
    Snapshot,
    VolumeView,
)

ROOT = Path(__file__).parents[3] / "tixd"

#: What `tixd once` looks up at its end: a state, no count of a service, which `failed list` shows.
LOOKED_UP = {"results_waiting"}

MAPPED = {name for metric in COUNTERS for name in metric.counts}


def values(metrics: ProcessingMetrics, now: Snapshot) -> dict[str, float]:
    """Every sample of the text by name and labels, as a scrape finds them."""
    families = text_string_to_metric_families(metrics.text(now).decode())
    return {
        sample.name + "".join(f"{{{k}={v}}}" for k, v in sample.labels.items()): sample.value
        for family in families
        for sample in family.samples
    }


def tallied_in(path: Path) -> set[str]:
    """Names that the module counts under: tally["…"] += …, and Done(counts={"…": …})."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith(
            ("tally", "counts")
        ):
            found.add(ast.unparse(node.slice).strip("'\"f"))
        if isinstance(node, ast.keyword) and node.arg == "counts":
            keys = node.value.keys if isinstance(node.value, ast.Dict) else []
            found |= {key.value for key in keys if isinstance(key, ast.Constant)}
    return found


def test_everything_that_is_counted_has_a_metric():
    own = [path for path in ROOT.rglob("*.py") if "metrics" not in path.name]
    tallies = {name for path in own for name in tallied_in(path)}
    fixed = {name for name in tallies if name.isidentifier() and "_" in name}
    assert "windows_posted" in fixed, "the search finds nothing"
    assert fixed - MAPPED == LOOKED_UP
    made = {name for name in tallies if "{" in name}
    assert made == {"reports_discarded_{step.reason}", "worker_restarts_{cause}"}


def test_every_line_of_the_summary_has_a_metric():
    assert WORDS.keys() - MAPPED == LOOKED_UP


@pytest.mark.parametrize("reason", get_args(get_type_hints(Discard)["reason"]))
def test_every_reason_to_discard_has_a_label(reason):
    assert f"reports_discarded_{reason}" in MAPPED


def test_no_count_appears_in_two_metrics():
    assert len(MAPPED) == sum(len(metric.counts) for metric in COUNTERS)


def test_counts_stand_at_zero_before_anything_happened():
    found = values(ProcessingMetrics(), snapshot())
    assert found["tixd_windows_total{result=posted}"] == 0
    assert found["tixd_reports_deleted_total"] == 0
    assert found["tixd_worker_restarts_total{reason=signal}"] == 0


def test_what_jobs_tell_is_added_up():
    metrics = ProcessingMetrics()
    metrics.add_job({"windows_posted": 2, "reports_deleted": 18})
    metrics.add_job({"windows_posted": 1, "windows_stored": 1, "reports_deleted": 9})
    metrics.add_job({"jobs_locked": 1})
    metrics.add({"cycles": 1, "installations_skipped": 3})
    found = values(metrics, snapshot())
    assert found["tixd_windows_total{result=posted}"] == 3
    assert found["tixd_reports_deleted_total"] == 27
    assert found["tixd_jobs_total{end=done}"] == 2
    assert found["tixd_jobs_total{end=locked}"] == 1
    assert found["tixd_installations_skipped_total"] == 3
    assert metrics.counts["jobs_done"] == 2


@pytest.mark.parametrize("cause", get_args(Cause))
def test_every_cause_of_a_death_is_counted_by_its_name(cause):
    metrics = ProcessingMetrics()
    metrics.set_restarts({cause: 1})
    assert values(metrics, snapshot())[f"tixd_worker_restarts_total{{reason={cause}}}"] == 1


def test_every_gauge_of_the_table_is_shown_and_no_other():
    volume = VolumeView(answered=990.0, free_bytes=5_000_000, asn_built=400)
    told = HistoryView("h", summary={"results_kept": 3, "silent": 3, "silent_day": 1})
    cycle, broker = CycleView(7, 900.0, 1.5), BrokerView("", 990.0)
    full = snapshot(volume=volume, cycle=cycle, broker=broker, history=told)
    full = replace(full, queue=QueueView("celery", 2, 0, 930.0))
    families = text_string_to_metric_families(ProcessingMetrics().text(full).decode())
    shown = [family.name for family in families if family.name.startswith("tixd_")]
    expected = [row.name for row in (*COUNTERS, *GAUGES, *COMMON)] + ["tixd_build_info"]
    assert sorted(shown) == sorted(expected)


def test_gauges_show_the_moment():
    volume = VolumeView(answered=990.0, free_bytes=5_000_000)
    now = snapshot(volume=volume, cycle=CycleView(7, 900.0, 1.5), waiting=4)
    found = values(ProcessingMetrics(), now)
    assert found["tixd_ready"] == 1
    assert found["tixd_queue_length"] == 4
    assert found["tixd_workers_ready"] == 1
    assert found["tixd_volume_free_bytes"] == 5_000_000
    assert found["tixd_volume_answer_age_seconds"] == 10
    assert found["tixd_last_scan_timestamp_seconds"] == 900
    assert found["tixd_last_scan_duration_seconds"] == 1.5
    assert found["tixd_build_info{role=standalone}{version=1.2.3}"] == 1
    assert found["process_resident_memory_bytes"] > 1_000_000


@pytest.mark.parametrize(
    ("built", "usable", "age"), [(None, None, None), (0, 0, None), (400, 1, 600), (2000, 1, 0)]
)
def test_the_age_of_the_as_table_is_shown_where_one_is_set(built, usable, age):
    found = values(
        ProcessingMetrics(), snapshot(volume=VolumeView(answered=995.0, asn_built=built))
    )
    assert found.get("tixd_asn_table_usable") == usable
    assert found.get("tixd_asn_table_age_seconds") == age


def test_what_is_not_known_yet_is_left_out():
    found = values(ProcessingMetrics(), snapshot(volume=VolumeView(), cycle=CycleView()))
    assert not [name for name in found if name.startswith(("tixd_volume", "tixd_last_scan"))]
    assert found["tixd_ready"] == 0


def test_no_user_installation_or_address_is_in_the_text():
    text = ProcessingMetrics().text(snapshot()).decode()
    assert "/reports/12345/67890" not in text
    assert "12345" not in text
    assert "67890" not in text
