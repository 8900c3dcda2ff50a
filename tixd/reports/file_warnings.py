"""Warnings about single files, bounded so that many files cannot fill the log.

Rules: a name is logged once an hour, but in an hour at most MAX_NAMED for a folder and event,
however the names change; the others are counted, in one line an hour.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tixd import logs

#: At most this many names of a folder are logged in an hour, for each event.
MAX_NAMED = 20


class FileWarnings:
    """The warnings about one folder during one listing; labels: the folder in the log."""

    def __init__(
        self, folder: str, labels: Mapping[str, object], limiter: logs.RateLimiter, *, now: float
    ) -> None:
        self._folder = folder
        self._labels = labels
        self._limiter = limiter
        self._now = now
        self._more: Counter[str] = Counter()

    def warn(self, event: str, name: str, /, **values: object) -> None:
        """Log the event with these values, unless its name or too many others were logged."""
        if not self._limiter.would_allow(event, self._folder, name, now=self._now):
            return
        if self._limiter.allow(event, self._folder, now=self._now, most=MAX_NAMED) is None:
            self._more[event] += 1
            return
        self._limiter.allow(event, self._folder, name, now=self._now)
        logs.warning(event, **self._labels, **values)

    def close(self) -> None:
        """Log how many names were omitted."""
        for event, names in self._more.items():
            held = self._limiter.allow("more", event, self._folder, now=self._now)
            log = logs.debug if held is None else logs.warning
            log("warnings_omitted", **self._labels, of=event, names=names)
        self._more.clear()
