"""The recorded experiments: how near both estimators come, also where a clock is set.

The figures are mean absolute errors of the downstream usage over the 61 golden windows, or over
those of them whose last ten minutes the schedule covers by half at the least.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest
from click.testing import CliRunner

from tests.support.recordings import (
    CASES,
    RECORDED,
    expected,
    first_window,
    of_experiment,
    shared_data,
)
from tests.support.windows import DAY_ns
from tixd.analysis import delayed_probes
from tixd.analysis.clock_steps import Repaired
from tixd.analysis.delayed_probes import waiting_of
from tixd.analysis.observations import Floats, short_packets
from tixd.analysis.summary import summarise
from tixd.commands import Invocation
from tixd.commands.analyze import command
from tixd.simulation.evaluation import covered, read
from tixd.simulation.evaluation import expected as expected_usage

#: Experiment, windows, and the largest error of delayed probes; what the mode has to come to.
FIGURES = [
    ("batch-test-report-1b", 15, 0.141, 0.159),
    ("batch-test-reports-3b", 21, 0.060, 0.101),
    ("batch-test-reports-5b", 25, 0.170, 0.211),
]

#: The same where the schedule covers half of the ten minutes.
COVERED = [
    ("batch-test-report-1b", 14, 0.112, 0.130),
    ("batch-test-reports-3b", 21, 0.060, 0.101),
    ("batch-test-reports-5b", 23, 0.185, 0.216),
]

RECORDED_WINDOWS = [(name, number) for name, number in CASES if name in RECORDED]


def compared(tmp_path: Path, experiment: str) -> dict[str, dict]:
    """What `tixd analyze --truth` says of each estimator."""
    description = tmp_path / "description.yml"
    description.write_bytes(of_experiment(experiment))
    archive = shared_data(f"tix/{experiment}.tar.gz")
    arguments = ["--truth", str(description), "--format", "json", str(archive)]
    done = CliRunner().invoke(command, arguments, obj=Invocation({}, None))
    assert done.exit_code == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["estimator"]: line for line in lines if "estimator" in line}


@pytest.mark.parametrize("least_covered", [0.0, 0.5])
@pytest.mark.parametrize("number", range(3))
def test_delayed_probes_come_nearer_to_the_truth(tmp_path, monkeypatch, number, least_covered):
    monkeypatch.setattr("tixd.commands.compare_truth.LEAST_COVERED", least_covered)
    experiment, windows, at_most, mode = (COVERED if least_covered else FIGURES)[number]
    found = compared(tmp_path, experiment)
    assert {each["windows"] for each in found.values()} == {windows}
    assert found["delayed-probes"]["error"] <= at_most
    assert found["mode"]["error"] == pytest.approx(mode, abs=0.0015)
    assert found["delayed-probes"]["correlation"] > found["mode"]["correlation"]


@pytest.mark.parametrize(("experiment", "number"), RECORDED_WINDOWS)
def test_a_recorded_window_waits_as_it_did_before_clocks_were_mended(
    experiment, number, monkeypatch
):
    columns = short_packets(first_window(experiment, expected(experiment)[number]["window"]))
    found = waiting_of(columns)
    monkeypatch.setattr(delayed_probes, "repaired", untouched)
    assert found.clock == "fine"
    assert found.q_ns.tobytes() == waiting_of(columns).q_ns.tobytes()


def untouched(seconds: Floats, trips: Floats, skew: Callable[..., float]) -> Repaired:
    """No repair at all."""
    return Repaired("fine", trips, skew(seconds, trips))


def errors_of(experiment: str, step_ms: float) -> list[float]:
    """Errors of delayed probes where the client's clock is set ahead at 40 % of each window."""
    schedule, found = read(of_experiment(experiment)).downstream, []
    for golden in expected(experiment):
        rows = first_window(experiment, golden["window"]).copy()
        begin, end = int(rows["second"].min()), int(rows["second"].max())
        late = rows["second"] >= begin + 0.4 * (end - begin)
        for name in ("t1", "t4"):
            rows[name] = (rows[name] + late * int(step_ms * 1e6)) % DAY_ns
        if covered(schedule, end - 600, end) >= 0.5:
            usage = summarise(rows, "delayed-probes").downstream.usage
            found.append(abs(usage - expected_usage(schedule, begin, end)))
    return found


@pytest.mark.parametrize("step_ms", [50, 10, -50, 3_600_000, -3_600_000])
@pytest.mark.parametrize("experiment", RECORDED)
def test_a_clock_that_is_set_costs_at_most_two_hundredths(experiment, step_ms):
    assert fmean(errors_of(experiment, step_ms)) <= fmean(errors_of(experiment, 0)) + 0.02


@pytest.mark.parametrize("step_ms", [50, 10, 3_600_000])
@pytest.mark.parametrize("experiment", RECORDED)
def test_a_clock_that_is_set_would_cost_much_if_it_were_not_mended(
    experiment, step_ms, monkeypatch
):
    untouched_error = fmean(errors_of(experiment, 0))
    monkeypatch.setattr(delayed_probes, "repaired", untouched)
    assert fmean(errors_of(experiment, step_ms)) > untouched_error + 0.1
