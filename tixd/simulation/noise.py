"""Fractional Gaussian noise: series whose Hurst exponent is known, to judge estimators by.

In: an exponent and a length. Out: a series with exactly that covariance.
Rules: the circulant matrix that continues the covariance of n values is diagonal after a Fourier
transform, and its eigenvalues are not negative, so that white noise weighted by their roots gives
the series (Davies, Harte 1987; Dieker 2004). Pure.
"""

from __future__ import annotations

import numpy as np

from tixd.analysis.observations import Floats


def fractional_noise(random: np.random.Generator, hurst: float, count: int) -> Floats:
    """`count` >= 2 values of mean 0 and variance 1; 0 < hurst < 1, 0.5 being white noise.

    >>> random = np.random.default_rng(1)
    >>> made = np.array([fractional_noise(random, 0.8, 8) for _ in range(20_000)])
    >>> [round(float(np.mean(made[:, lag] * made[:, 0])), 1) for lag in (0, 1, 7)]
    [1.0, 0.5, 0.2]
    >>> [round((abs(lag + 1) ** 1.6 - 2 * lag**1.6 + abs(lag - 1) ** 1.6) / 2, 1) for lag in (1, 7)]
    [0.5, 0.2]
    """
    lag = np.arange(count + 1.0)
    ends = (lag + 1) ** (2 * hurst) - 2 * lag ** (2 * hurst) + abs(lag - 1) ** (2 * hurst)
    circle = np.concatenate([ends, ends[-2:0:-1]]) / 2
    power = np.fft.fft(circle).real.clip(min=0)
    white = random.standard_normal((2, len(circle)))
    series = np.fft.fft(np.sqrt(power / len(circle)) * (white[0] + 1j * white[1]))
    return series.real[:count].copy()
