"""Live load: reports of installations, one after the other, as a condenser writes them.

A report is written to a temporary name and renamed. What the disk refuses is written again later,
and noted: it proves that a fault of the disk acted.
"""

from __future__ import annotations

import errno
import functools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.support import made, waves

#: Reports of a first window, and how many more make the next one.
FIRST, MORE = waves.REPORTS, 2

Key = tuple[int, int, int]


def windows(user: int, installation: int, reports: int) -> list[Key]:
    """Return the windows that so many reports of an installation give."""
    last = [waves.START + (2 * n + FIRST) * waves.REPORT_SECONDS - 1 for n in range(reports // 2)]
    return [(user, installation, second) for second in last[: max(0, (reports - FIRST) // 2 + 1)]]


class Load:
    """Installation 1 of so many users, each of which gets two more reports in its turn.

    pace_seconds: from one installation to the next.
    """

    def __init__(self, base: Path, users: int, pace_seconds: float) -> None:
        self._base, self._pace_seconds = base, pace_seconds
        self.users = range(1, users + 1)
        self._written = dict.fromkeys(self.users, 0)
        #: How often the disk has refused a report, by the error's name.
        self.refused: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        for user in self.users:
            self.folder(user).mkdir(parents=True)

    def folder(self, user: int) -> Path:
        """Return the folder of a user's installation."""
        return self._base / str(user) / "1"

    def start(self) -> None:
        """Write from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Write no more, once everybody's last pair of reports is there."""
        self._stop.set()
        self._thread.join(120)

    def sent(self) -> set[Key]:
        """Return the windows that the reports up to now give."""
        found = (windows(user, 1, reports) for user, reports in list(self._written.items()))
        return {window for user in found for window in user}

    def _run(self) -> None:
        turn = 0
        while not self._stop.is_set():
            user = self.users[turn % len(self.users)]
            self._pair(user)
            turn += 1
            self._stop.wait(self._pace_seconds)
        for user in self.users:
            self._pair(user, patient=True)

    def _pair(self, user: int, *, patient: bool = False) -> None:
        """Write reports until their number is even, or the disk refuses one."""
        more = FIRST if self._written[user] < FIRST else MORE
        wanted = (self._written[user] // 2 * 2) + more
        ends = time.monotonic() + 60
        while self._written[user] < wanted and time.monotonic() < ends:
            if self._write(user, self._written[user]):
                self._written[user] += 1
            elif patient:
                time.sleep(0.5)
            else:
                return

    def _write(self, user: int, place: int) -> bool:
        folder = self.folder(user)
        name = f"tix-report-{waves.START + place * waves.REPORT_SECONDS}.json"
        temporary = folder / f"{name}.load"
        try:
            temporary.write_bytes(_report(place)(_named(user), 1))
            temporary.rename(folder / name)
            made.lively(folder)
        except OSError as error:
            self.refused[errno.errorcode.get(error.errno or 0, "?")] += 1
            if (folder / name).exists():
                return True
            _remove(temporary)
            return False
        return True


def _named(user: int) -> int:
    """The user that the reports name: those of the first one another, and the folder counts."""
    return 999 if user == 1 else user


@functools.lru_cache(maxsize=64)
def _report(place: int) -> Callable[[int, int], bytes]:
    return waves.report(place)


def _remove(path: Path) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
