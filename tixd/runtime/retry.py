"""Pauses between tries, which double with each failure in a row up to a limit. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

#: After this many failures any pause is at its limit; a larger power of 2 overflows a float.
_MAX_DOUBLINGS = 32


@dataclass(frozen=True, slots=True)
class Retry:
    """The first pause and the longest one, seconds."""

    first_seconds: float
    longest_seconds: float

    def pause_seconds(self, failures: int) -> float:
        """Return the pause after that many failures in a row, 1 or more, before jitter.

        >>> [Retry(60, 3600).pause_seconds(failures) for failures in (1, 2, 6, 7, 1000)]
        [60.0, 120.0, 1920.0, 3600, 3600]
        """
        doubled = self.first_seconds * 2.0 ** min(failures - 1, _MAX_DOUBLINGS)
        return min(doubled, self.longest_seconds)

    def draw_seconds(self, failures: int, jitter: random.Random, least_share: float = 0.5) -> float:
        """Return a pause between `least_share` of the full one and all of it.

        Jitter keeps those that failed together from trying again together.

        >>> [Retry(1, 60).draw_seconds(n, random.Random(1)) // 1 for n in (1, 2, 3, 100)]
        [0.0, 1.0, 2.0, 34.0]
        """
        pause = self.pause_seconds(failures)
        return jitter.uniform(least_share * pause, pause)
