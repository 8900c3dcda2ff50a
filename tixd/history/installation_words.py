"""How an installation is, in words: for the commands and the page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, get_args

from tixd.history.installations import InstallationState
from tixd.history.results import GONE_SECONDS
from tixd.results.response import with_hint
from tixd.runtime.status import age

#: What an installation can be in a word, those first that need attention.
Kind = Literal["blocked", "silent", "kept", "set-aside", "new", "well", "gone"]

#: All of them, in that order.
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Ages of many installations are alike.
_age = lru_cache(maxsize=4096)(age)


@dataclass(frozen=True, slots=True)
class Words:
    """What is said at the epoch second `now`.

    silent_seconds: after which time without a result one is silent; latest: when any installation
    was visited last.
    """

    now: float
    silent_seconds: float
    latest: int = 0

    def last_result(self, state: InstallationState) -> int | None:
        """Return when the last result was made, as far as it is known."""
        return state.result_at or state.timestamp

    def is_gone(self, state: InstallationState) -> bool:
        """Return whether jobs do not find its folder any more."""
        return state.seen_at is not None and state.seen_at < self.latest - GONE_SECONDS

    def is_silent(self, state: InstallationState) -> bool:
        """Return whether it had results and has none now."""
        last = self.last_result(state)
        late = last is not None and self.now - last > self.silent_seconds
        return late and not self.is_gone(state)

    def kind(self, state: InstallationState) -> Kind:
        """Return how it is in a word: the first of KINDS that applies, but for the gone."""
        if self.is_gone(state):
            return "gone"
        if state.trouble:
            return "blocked"
        if self.is_silent(state):
            return "silent"
        if state.kept:
            return "kept"
        if self._is_bad(state):
            return "set-aside"
        return "well" if self.last_result(state) else "new"

    def urgency(self, state: InstallationState) -> tuple[int, int, int, int]:
        """Sort those first that need attention, and of the silent those that stopped last."""
        kind = self.kind(state)
        last = 0 if kind == "well" else self.last_result(state) or 0
        return KINDS.index(kind), -last, state.user, state.installation

    def of(self, state: InstallationState) -> str:
        """Say how it is, in one line.

        >>> words = Words(now=7200.0, silent_seconds=1800.0, latest=7200)
        >>> words.of(InstallationState(1, 2, seen_at=7000, result_at=3600))
        'SILENT since 01:00 UTC'
        >>> words.of(InstallationState(1, 2, result_at=7000, kept=3, next_try=9060, reason="no"))
        '3 kept, next try in 31 min: no'
        """
        parts = [self._life(state), self.kept(state) if state.kept else ""]
        if self._is_bad(state):
            parts.append(f"bad report: {state.set_aside_reason or 'no reason is known'}")
        return "; ".join(filter(None, parts)) or "well"

    def _life(self, state: InstallationState) -> str:
        if self.is_gone(state):
            return f"GONE: no folder since {self.clock(state.seen_at or 0)}"
        if state.trouble:
            return f"CANNOT BE PROCESSED: {state.trouble}"
        last = self.last_result(state)
        if last is None:
            is_late = state.newest is not None and self.now - state.newest > self.silent_seconds
            late = f", no report since {self.clock(state.newest or 0)}" if is_late else ""
            return f"no result yet{late}"
        return f"SILENT since {self.clock(last)}" if self.is_silent(state) else ""

    def kept(self, state: InstallationState) -> str:
        """Say how many results are kept, when they are tried again, and why."""
        wait = (state.next_try or 0) - self.now
        when = f"in {age(wait)}" if wait > 0 else "in the next cycle"
        reason = f": {with_hint(state.reason)}" if state.reason else ""
        return f"{state.kept:,} kept, next try {when}{reason}"

    def _is_bad(self, state: InstallationState) -> bool:
        """Return whether a report was set aside since the last result."""
        return state.set_aside_at is not None and state.set_aside_at >= (state.result_at or 0)

    def ago(self, moment: float | None) -> str:
        """Return how long ago that was; "" where it is not known."""
        return "" if moment is None else _age(int(self.now - moment))

    def clock(self, moment: float) -> str:
        """Return the time of day, with the date where that is not today's."""
        then, today = (datetime.fromtimestamp(each, UTC) for each in (moment, self.now))
        form = "%H:%M UTC" if then.date() == today.date() else "%Y-%m-%d %H:%M UTC"
        return then.strftime(form)
