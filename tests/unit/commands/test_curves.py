"""`tixd curves`: tables and JSON of what the estimators read."""

from __future__ import annotations

import json

from click.testing import CliRunner

from tixd.commands.curves import command


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_line_is_read_from_idle_to_full_in_both_directions():
    done = run("--windows", 1, "--format", "json", "cable")
    points = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert len(points) == 11 * 2 * 2
    curve = [p for p in points if (p["curve"], p["estimator"]) == ("cable upstream", "mode")]
    truths = [point["truth"] for point in curve]
    assert truths == sorted(truths)
    assert truths[0] == 0
    assert all(0 <= point["mean"] <= 1 for point in points)


def test_the_table_has_a_row_for_each_exponent():
    lines = run("--windows", 1, "hurst").stdout.splitlines()
    assert lines[0].split() == ["hurst"]
    assert lines[1].split() == ["truth", "R/S", "wavelet"]
    assert [line.split()[0] for line in lines[2:]] == ["0.50", "0.60", "0.70", "0.80", "0.90"]


def test_an_unknown_line_is_refused_with_the_known_ones():
    done = run("tin-cans")
    assert done.exit_code == 2
    assert "short-buffers" in done.stderr
