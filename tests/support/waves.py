"""Reports of many installations at once, a window for each at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.support import made

#: Reports of a first window and seconds of each, just enough packets; two more make the next one.
REPORTS, REPORT_SECONDS = 4, 271

#: First second of the first report.
START = 1_600_000_000


def report(place: int) -> Callable[[int, int], bytes]:
    """A report of that place in the series as any installation writes it."""
    content = made.minute(START + place * REPORT_SECONDS, REPORT_SECONDS, userId=-1)
    head, tail = content.rsplit(b"-1", 1)
    assert tail.startswith(b', "installationId": 2}')
    return lambda user, number: head + b'%d, "installationId": %d}' % (user, number)


def write(base: Path, lively: Iterable[tuple[int, int]], places: range) -> float:
    """The next reports of everybody who has work; returns the epoch second at the last one."""
    everybody = list(lively)
    for place in places:
        content = report(place)
        name = f"tix-report-{START + place * REPORT_SECONDS}.json"
        for user, number in everybody:
            Path(base, str(user), str(number), name).write_bytes(content(user, number))
    for user, number in everybody:
        made.lively(Path(base, str(user), str(number)))
    return time.time()


class Waves:
    """Installation 1 of so many users; each wave is one more window for each of them."""

    def __init__(self, base: Path, users: int) -> None:
        self._base, self._users = base, users
        self._reports = 0
        for folder in self._folders():
            folder.mkdir(parents=True)

    def _folders(self) -> Iterator[Path]:
        return (self._base / str(user) / "1" for user in range(1, self._users + 1))

    @property
    def due(self) -> int:
        """How many windows there have been in all by now."""
        return self._users * max(0, self._reports - 2) // 2

    def write(self) -> None:
        """The next wave."""
        reports = 2 if self._reports else REPORTS
        places = range(self._reports, self._reports + reports)
        write(self._base, ((user, 1) for user in range(1, self._users + 1)), places)
        self._reports += reports

    def live(self) -> None:
        """Something changes in every folder, as each minute where installations live."""
        for folder in self._folders():
            os.utime(folder)
