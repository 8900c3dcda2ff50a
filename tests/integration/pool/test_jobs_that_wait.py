"""A job that waits for the tix-api, and what it does once the answer has come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pools import left, window
from tests.support.results import result, settings_for
from tixd.installation import MAX_HELD_BYTES, Worker, process_installation
from tixd.jobs import JobResult
from tixd.results.client import ApiClient
from tixd.results.payload import failed_report
from tixd.results.response import Posting, of_status

ACCEPTED = of_status(200, None, 0.0)


@pytest.fixture
def stops() -> list[str]:
    """Whatever is put in stops the worker."""
    return []


@pytest.fixture
def worker(tmp_path: Path, stops: list[str]) -> Iterator[Worker]:
    """A worker whose posts the test answers."""
    settings = settings_for(1, reports_base_path=str(tmp_path))
    client = ApiClient(settings)
    yield Worker(settings, client, lambda _: None, lambda: bool(stops))
    client.close()


def end(steps: Posting[JobResult]) -> JobResult:
    """The result of a job that ends with this answer to its post."""
    with pytest.raises(StopIteration) as stop:
        steps.send(ACCEPTED)
    return stop.value.value


def test_a_stopping_worker_begins_no_window_after_the_post_of_a_kept_result(
    tmp_path, worker, stops
):
    job = window(tmp_path, 1, windows=2)
    kept = tmp_path / "1/1/failed-results"
    kept.mkdir()
    (kept / "failed-report-1505000000.json").write_bytes(failed_report(result(1505000000)))
    steps = process_installation(job, worker)
    next(steps)
    stops.append("SIGTERM")
    done = end(steps)
    assert (dict(done.counts), done.has_more) == (
        {"posts_accepted": 1, "results_reposted": 1},
        True,
    )
    assert (left(tmp_path, 1), left(tmp_path, 1, "failed-results")) == (6, 0)


def test_a_job_goes_on_later_where_others_hold_much_memory(tmp_path, worker):
    steps = process_installation(window(tmp_path, 1, windows=2), worker)
    next(steps)
    assert 0 < sum(worker.open_folders.values()) < MAX_HELD_BYTES
    worker.open_folders["another"] = MAX_HELD_BYTES + 1
    done = end(steps)
    assert (done.counts["windows_posted"], done.has_more) == (1, True)
    assert worker.open_folders == {"another": MAX_HELD_BYTES + 1}
    del worker.open_folders["another"]
    steps = process_installation(window(tmp_path, 2), worker)
    next(steps)
    assert end(steps).counts["windows_posted"] == 1


def test_a_job_that_is_abandoned_while_it_waits_leaves_all_as_it_was(tmp_path, worker):
    steps = process_installation(window(tmp_path, 1), worker)
    next(steps)
    steps.close()
    assert worker.open_folders == {}
    assert left(tmp_path, 1) == 4
    assert list(tmp_path.rglob("*.tmp")) == []
    again = process_installation(window(tmp_path, 2), worker)
    next(again)
    assert end(again).counts["windows_posted"] == 1
