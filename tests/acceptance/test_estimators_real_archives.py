"""`tixd analyze --truth` on the recorded experiments: how near both estimators come.

The figures are mean absolute errors of the downstream usage over the 61 golden windows.
"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tests.support.recordings import of_experiment, shared_data
from tixd.commands import Invocation
from tixd.commands.analyze import command

#: Experiment, windows, and the largest error of delayed probes; what the mode has to come to.
FIGURES = [
    ("batch-test-report-1b", 15, 0.141, 0.159),
    ("batch-test-reports-3b", 21, 0.060, 0.101),
    ("batch-test-reports-5b", 25, 0.170, 0.211),
]


@pytest.mark.parametrize(("experiment", "windows", "at_most", "mode"), FIGURES)
def test_delayed_probes_come_nearer_to_the_truth(tmp_path, experiment, windows, at_most, mode):
    description = tmp_path / "description.yml"
    description.write_bytes(of_experiment(experiment))
    archive = shared_data(f"tix/{experiment}.tar.gz")
    arguments = ["--truth", str(description), "--format", "json", str(archive)]
    done = CliRunner().invoke(command, arguments, obj=Invocation({}, None))
    assert done.exit_code == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = {line["estimator"]: line for line in lines if "estimator" in line}
    assert {each["windows"] for each in found.values()} == {windows}
    assert found["delayed-probes"]["error"] <= at_most
    assert found["mode"]["error"] == pytest.approx(mode, abs=0.0015)
    assert found["delayed-probes"]["correlation"] > found["mode"]["correlation"]
