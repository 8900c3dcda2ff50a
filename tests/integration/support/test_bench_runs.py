"""The benchmark's runs: real roles do the backlog, and what they take is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import runs


def test_a_run_posts_its_backlog_and_sees_what_that_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "LEAD_SECONDS", 2.0)
    seen = runs.run(tmp_path, 2, 2, delay_ms=20, workers=1)
    assert 0 < seen.rate <= 2 / 0.020, "two installations, one post of each at a time"
    assert seen.cpu.workers > 0 < seen.cpu.parents
    assert (seen.cpu.dispatcher, seen.cpu.broker) == (0, 0)
    assert min(*seen.worker_mb, *seen.parent_mb) > 1
    assert list(tmp_path.iterdir()) == [tmp_path / "staged"]


def test_the_cycle_of_a_run_begins_at_its_second() -> None:
    begin = 1_700_000_123.5
    period_seconds = runs._period_seconds(begin)
    assert period_seconds == pytest.approx(runs.PERIOD_SECONDS, rel=1e-5)
    assert begin % period_seconds == pytest.approx(0, abs=1e-3)
