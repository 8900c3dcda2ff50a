"""scripts/curves: its truth is exact, and what both estimators must read of simulated lines."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
from benchmarks.curves import command
from benchmarks.judge import (
    LINES,
    SERIES_VALUES,
    Readings,
    fractional_noise,
    hurst_readings,
    readings,
)
from click.testing import CliRunner

WINDOWS = 4
USAGES = (0.0, 0.25, 0.5, 0.75, 1.0)
WAYS = pytest.mark.parametrize("way", [0, 1], ids=["up", "down"])


@functools.cache
def read(line: str, usage: float) -> Readings:
    return readings(LINES[line], usage, WINDOWS, seed=1)


@pytest.mark.parametrize("usage", USAGES)
def test_the_truth_is_what_the_line_carried(usage):
    assert read("cable", usage).truth == pytest.approx(usage, abs=0.1)


@WAYS
@pytest.mark.parametrize("line", ["cable", "asymmetric", "skewed"])
def test_delayed_probes_read_idle_lines_as_idle_and_full_ones_as_full(line, way):
    assert read(line, 0.0).delayed_probes[:, way].max() <= 0.05
    assert read(line, 1.0).delayed_probes[:, way].mean() >= 0.95


@WAYS
def test_delayed_probes_rise_with_usage_between_idle_and_full(way):
    means = [read("cable", usage).delayed_probes[:, way].mean() for usage in USAGES]
    assert np.all(np.diff(means) > 0)


@pytest.mark.parametrize("line", ["jittery", "very-jittery", "mobile", "wifi"])
def test_a_downlink_that_jitters_by_itself_reads_idle(line):
    assert read(line, 0.0).delayed_probes[:, 1].mean() <= 0.05


@pytest.mark.parametrize("line", ["stepping", "step-back", "two-steps", "skewed-step"])
@pytest.mark.parametrize("usage", [0.0, 0.5])
def test_a_clock_that_is_set_is_told_and_reads_as_one_that_is_not(line, usage):
    found, true = read(line, usage), read("skewed", usage)
    assert set(found.clocks) == {"set"}
    assert found.delayed_probes.mean(axis=0) == pytest.approx(
        true.delayed_probes.mean(axis=0), abs=0.1
    )


def test_a_slewed_clock_is_told_and_true_clocks_are_not():
    assert set(read("slewed", 0.25).clocks) == {"not-credible"}
    for line in ("cable", "skewed", "mobile", "wifi", "jittery"):
        for usage in (0.0, 0.5, 1.0):
            assert set(read(line, usage).clocks) == {"fine"}


def test_the_mode_does_not_see_that_an_uplink_is_full_throughout():
    assert read("cable", 1.0).mode[:, 0].min() < 0.5


def test_equal_seeds_read_alike_and_others_differ():
    again = readings(LINES["cable"], 0.5, 1, seed=1)
    assert again.truth[0].tolist() == read("cable", 0.5).truth[0].tolist()
    assert readings(LINES["cable"], 0.5, 1, seed=2).truth.tolist() != again.truth.tolist()


def test_a_line_that_loses_everything_gives_no_reading():
    from dataclasses import replace

    assert len(readings(replace(LINES["cable"], loss=1.0), 0.5, 2, seed=1).truth) == 0


@pytest.mark.parametrize("exponent", [0.5, 0.7, 0.9])
def test_both_hurst_estimators_know_the_exponent_of_noise_within_their_bias(exponent):
    rs, wavelet = hurst_readings(exponent, 100, seed=1).mean(axis=0)
    assert wavelet == pytest.approx(exponent, abs=0.05)
    assert rs == pytest.approx(exponent, abs=0.13)


def test_noise_of_one_half_is_white_and_has_variance_one():
    series = fractional_noise(np.random.default_rng(1), 0.5, SERIES_VALUES * 64)
    assert series.var() == pytest.approx(1, abs=0.02)
    assert np.mean(series[1:] * series[:-1]) == pytest.approx(0, abs=0.02)


def test_noise_has_exactly_the_covariance_of_its_exponent():
    random = np.random.default_rng(1)
    made = np.array([fractional_noise(random, 0.8, 8) for _ in range(20_000)])
    found = [float(np.mean(made[:, lag] * made[:, 0])) for lag in (0, 1, 7)]
    true = [(abs(g + 1) ** 1.6 - 2 * g**1.6 + abs(g - 1) ** 1.6) / 2 for g in (0, 1, 7)]
    assert found == pytest.approx(true, abs=0.05)


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_line_is_read_from_idle_to_full_in_both_directions():
    done = run("--windows", 1, "--format", "json", "cable")
    points = [json.loads(line) for line in done.stdout.splitlines()]
    errors = points.pop()
    assert done.exit_code == 0
    assert (errors["line"], errors["windows"], errors["clock_set"]) == ("cable", 11, 0)
    assert 0 < errors["delayed_probes"][0] < 0.1
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
