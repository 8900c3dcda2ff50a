"""The analysis of one window: observations in, a Summary out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Direction:
    """What is known of one direction of the line; None where it is undefined.

    usage: raw ratio, 0 and up (may exceed 1); quality: 0..1; hurst_rs, hurst_wavelet: as estimated.
    """

    usage: float | None
    quality: float | None
    hurst_rs: float | None
    hurst_wavelet: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of one window; `timestamp` is its last epoch second."""

    timestamp: int
    upstream: Direction
    downstream: Direction
