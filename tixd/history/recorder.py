"""Collects what one job tells the history, in the worker; job_record.py says in which form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from tixd.analysis.summary import Direction
from tixd.asn.origin import Origin
from tixd.history.job_record import OUTCOMES, STATE, fitting, scaled
from tixd.reports.model import Installation
from tixd.results.payload import WindowResult
from tixd.results.posting import Fate, Was
from tixd.results.response import PostOutcome


class Recorder:
    """Collects what one job tells.

    state: values of STATE by name, but `at`; {} where the job saw nothing of the installation;
    kept: results that it kept, less those that it posted or rejected.
    """

    def __init__(
        self,
        installation: Installation,
        origin_of: Callable[[str], Origin | None],
        clock: Callable[[], float],
    ) -> None:
        """origin_of: the AS of an address; clock: epoch seconds."""
        self.state: Mapping[str, object] = {}
        self.kept = 0
        self._ids = installation.user_id, installation.installation_id
        self._origin_of = origin_of
        self._clock = clock
        self._origins: dict[str, Origin | None] = {}
        self._results: list[tuple[Any, ...]] = []

    def add(self, result: WindowResult, was: Was, fate: Fate, answer: PostOutcome) -> None:
        """Add a result: what it was, what became of it, and why."""
        if result.ip not in self._origins:
            self._origins[result.ip] = self._origin_of(result.ip)
        origin, summary = self._origins[result.ip], result.summary
        words = "" if fate == "posted" else ": ".join(filter(None, _reasons(answer)))
        self._results.append(
            (
                summary.timestamp,
                int(self._clock()),
                OUTCOMES.index(fate),
                fitting(words),
                was == "kept",
                origin.asn if origin else None,
                fitting(origin.name) if origin else None,
                *_values(summary.upstream),
                *_values(summary.downstream),
            )
        )
        self.kept += (fate == "kept") - (was == "kept")

    def text(self) -> str:
        """Return the record; "" where there is nothing to tell."""
        if not self.state:
            return self._text(None) if self._results else ""
        known = {"at": int(self._clock()), **self.state}
        return self._text([fitting(known.get(name)) for name in STATE])

    def _text(self, state: list[object] | None) -> str:
        return orjson.dumps((self._ids, state, self._results)).decode()


def _reasons(answer: PostOutcome) -> tuple[str, str]:
    return answer.reason, answer.words


def _values(of: Direction) -> list[int | None]:
    values = of.usage, of.quality, of.hurst_rs, of.hurst_wavelet, of.usage_alt
    return [scaled(value) for value in values]
