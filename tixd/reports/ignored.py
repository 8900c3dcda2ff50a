"""Names that are left alone: whoever can put them there cannot fill the log with them.

In: names in a folder. Out: log lines. Rules: one an hour for each name, but in an hour at most
MOST_NAMED for a folder, however its names change; the others are one line an hour together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tixd import logs

#: So many names of a folder are told one by one in an hour.
MOST_NAMED = 20


def tell(
    names: Iterable[str],
    say: Callable[[str], None],
    folder: str,
    labels: Mapping[str, object],
    hourly: logs.Hourly,
    *,
    now: float,
) -> None:
    """Say each name whose time it is, as long as there is room; labels: the folder in the log."""
    free = (n for n in range(MOST_NAMED) if hourly.due("named", folder, "", str(n), now=now))
    more = 0
    for name in names:
        if not hourly.is_due("named", folder, name, now=now):
            continue
        if next(free, None) is None:
            more += 1
            continue
        hourly.due("named", folder, name, now=now)
        say(name)
    if more:
        log = logs.warning if hourly.due("more", folder, now=now) else logs.debug
        log("more_ignored", **labels, names=more)
