"""Plain words for usage and quality.

Rules: the words are no finer than the estimates, which are off by about 0.1. An idle downlink reads
up to 0.2 by mode, and delayed probes see nothing below 0.15; from 0.8 on, packets wait for several
others (four in the mean of a plain queue, one at 0.5). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from tixd.page.views import Tone

#: Decimals that are shown beside a word: it is that of the number as it is shown.
DIGITS = 2


class Grade(NamedTuple):
    """A grade: its word, the least value that has it, and what that means for the line."""

    word: str
    least: float
    meaning: str


#: Grades of usage, the fullest first.
USAGE: Sequence[Grade] = (
    Grade("full", 0.8, "little or nothing is left: whatever passes waits behind other packets"),
    Grade("busy", 0.5, "half of the capacity or more is used: packets often wait"),
    Grade("light", 0.2, "in use, with more than half of the capacity left"),
    Grade("idle", 0.0, "too little to be told from nothing"),
)

#: Grades of quality, the best first: each of its ten minutes is judged by itself.
QUALITY: Sequence[Grade] = (
    Grade("good", 0.85, "at most one of the ten minutes was congested, which may be chance"),
    Grade("fair", 0.5, "up to half of the minutes were congested"),
    Grade("poor", 0.0, "most of the minutes were congested"),
)

#: How much attention each word asks for.
TONES: Mapping[str, Tone] = MappingProxyType(
    {"full": "bad", "busy": "warn", "poor": "bad", "fair": "warn", "good": "good"}
)


def _grade(grades: Sequence[Grade], value: float | None) -> str:
    if value is None:
        return ""
    shown = round(value, DIGITS)
    return next((grade.word for grade in grades if shown >= grade.least), grades[-1].word)


def of_usage(usage: float | None) -> str:
    """Return the word for a usage; "" where that is undefined.

    >>> of_usage(0.1), of_usage(0.1951), of_usage(0.6), of_usage(1.4), of_usage(None)
    ('idle', 'light', 'busy', 'full', '')
    """
    return _grade(USAGE, usage)


def of_quality(quality: float | None) -> str:
    """Return the word for a quality; "" where that is undefined.

    >>> of_quality(0.9), of_quality(0.5), of_quality(0.4), of_quality(None)
    ('good', 'fair', 'poor', '')
    """
    return _grade(QUALITY, quality)
