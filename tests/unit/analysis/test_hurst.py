"""Hurst estimates against R's fArma, against series of known H, and where they are undefined."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.support import reference_analysis as reference
from tests.support.recordings import shared_data
from tests.support.windows import assert_close
from tixd.analysis.hurst import rescaled_range, wavelet


def fractional_gaussian_noise(hurst: float, count: int, rows: int) -> np.ndarray:
    """Rows of noise of known H, by Cholesky from the covariance (exact)."""
    k = np.arange(float(count))
    power = 2 * hurst
    covariance = ((k + 1) ** power - 2 * k**power + abs(k - 1) ** power) / 2
    root = np.linalg.cholesky(covariance[abs(np.subtract.outer(range(count), range(count)))])
    return np.random.default_rng(7).standard_normal((rows, count)) @ root.T


@pytest.mark.parametrize("series", range(2))
def test_estimates_are_those_of_r(series):
    case = json.loads(shared_data("hurst/test_hurst_data.json").read_text())[series]
    values = np.array([case["values"]])
    # 0.5 %: R's own rounding of the printed values, and its other wavelet extension
    assert rescaled_range(values)[0] == pytest.approx(case["expected"]["rs"], rel=0.005)
    assert wavelet(values)[0] == pytest.approx(case["expected"]["wavelet"], rel=0.005)


@pytest.mark.parametrize("hurst", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_noise_of_known_exponent_is_found_on_average(hurst):
    series = fractional_gaussian_noise(hurst, 512, 100)
    # scatter of the mean is 0.01; R/S is known to be drawn towards 0.7 in short series
    assert np.mean(wavelet(series)) == pytest.approx(hurst, abs=0.03)
    assert np.mean(rescaled_range(series)) == pytest.approx(hurst, abs=0.11)


@pytest.mark.parametrize("estimate", [rescaled_range, wavelet])
@pytest.mark.parametrize(("unit", "origin", "rounding"), [(1e6, -4e9, 1e-6), (1.0, 1e13, 0.01)])
def test_unit_and_origin_of_the_values_do_not_matter(estimate, unit, origin, rounding):
    series = fractional_gaussian_noise(0.7, 256, 2)
    assert estimate(series * unit + origin) == pytest.approx(estimate(series), rel=rounding)


@pytest.mark.parametrize("length", [1, 2, 4, 7, 8, 16, 63, 64, 65, 128, 256, 500, 1024, 4096])
def test_every_length_is_estimated_as_in_plain_python(length):
    series = np.random.default_rng(length).gamma(2, 1e6, (2, length))
    rows = series.tolist()
    assert_close(rescaled_range(series), list(map(reference.rescaled_range, rows)), rel=1e-9)
    assert_close(wavelet(series), list(map(reference.wavelet, rows)), rel=1e-9)


@pytest.mark.parametrize("estimate", [rescaled_range, wavelet])
@pytest.mark.parametrize("value", [0.0, 12_345_678.3, -4e13 - 0.1])
def test_a_constant_series_has_no_exponent_and_does_not_harm_its_neighbour(estimate, value):
    lively = np.random.default_rng(1).standard_normal(512)
    constant = np.full(512, value)
    neighbour, none = estimate(np.stack((lively, constant)))
    assert none is None
    assert neighbour == pytest.approx(estimate(lively[None])[0], rel=1e-12)


def test_a_constant_stretch_is_left_out_of_rescaled_range():
    series = np.random.default_rng(3).gamma(2, 1e6, (1, 512))
    series[0, 95:160] = 7_654_321.7
    plain = reference.rescaled_range(series[0].tolist())
    assert rescaled_range(series) == pytest.approx([plain], rel=1e-9)


@pytest.mark.parametrize("position", [511, 505])
def test_variation_that_no_or_one_lag_sees_gives_no_slope(position):
    series = np.full((1, 512), 5.0)
    series[0, position] = 6.0  # no segment reaches 511, and 505 only one with the lag of 102
    assert rescaled_range(series) == [None]
    series[0, 1] = 6.0  # a segment of every lag begins with it
    assert rescaled_range(series) != [None]


def test_a_burst_does_not_blur_the_quiet_stretch_after_it():
    series = np.random.default_rng(4).normal(1e7, 10, (1, 512))
    series[0, 3] = 4e13  # half a day, as a clock that is set makes it
    plain = reference.rescaled_range(series[0].tolist())
    assert rescaled_range(series) == pytest.approx([plain], rel=1e-9)


def test_a_window_between_two_of_the_same_length_changes_nothing():
    first, second = fractional_gaussian_noise(0.6, 256, 4).reshape(2, 2, 256)
    alone = rescaled_range(first)
    rescaled_range(second)
    assert rescaled_range(first) == alone
