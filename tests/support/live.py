"""Live installations: reports arrive as the condenser writes them, half-written first.

Each installation writes a report every so often; its first half appears at once, the rest a moment
later, which changes the file but not the folder. Every window that the reports give must be posted
once, on the cycle after its last report was complete.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import made
from tests.support.stand_in_api import Behaviour
from tixd.reports.decode import decode
from tixd.reports.model import Report
from tixd.reports.window import windows

#: Epoch second of every installation's first observation.
START = 1_700_000_000


@dataclass
class Installation:
    """One client: what it has written so far, and when each report was complete (monotonic)."""

    user: int
    folder: Path
    reports: list[Report] = field(default_factory=list)
    complete: list[float] = field(default_factory=list)

    def write(self, pause_seconds: float) -> None:
        """The next report: its first half, a pause, the rest."""
        first = START + 60 * len(self.reports)
        name = f"tix-report-{first}.json"
        content = made.minute(first, userId=self.user, installationId=1)
        with (self.folder / name).open("wb", buffering=0) as file:
            file.write(content[: len(content) // 2])
            if pause_seconds:
                threading.Event().wait(pause_seconds)
            file.write(content[len(content) // 2 :])
        self.reports.append(decode(name, content))
        self.complete.append(time.monotonic())

    def due(self) -> dict[tuple[int, int], float]:
        """Every window so far by (user, timestamp), and when it was complete."""
        named = zip(self.reports, self.complete, strict=True)
        at = {report.name: moment for report, moment in named}
        found = windows(self.reports)
        return {(self.user, window[-1].last): at[window[-1].name] for window in found}


@dataclass
class Arrivals:
    """When the stand-in for the tix-api heard of each window (monotonic), as often as it did."""

    posts: list[tuple[tuple[int, int], float]] = field(default_factory=list)

    def hear(self, user: int, _installation: int, body: dict[str, Any]) -> Behaviour:
        self.posts.append(((user, body["timestamp"]), time.monotonic()))
        return Behaviour()


class Fleet:
    """Installations that write at the same pace, each at its own moment of it, in one thread."""

    def __init__(self, base: Path, count: int, backlog: int, every_seconds: float) -> None:
        self.installations = [Installation(n, base / f"{n}/1") for n in range(1, count + 1)]
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        for installation in self.installations:
            installation.folder.mkdir(parents=True)
            for _ in range(backlog):
                installation.write(0)
        self._thread = threading.Thread(target=self._write, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def due(self) -> dict[tuple[int, int], float]:
        return {key: at for each in self.installations for key, at in each.due().items()}

    def _write(self) -> None:
        """One installation after the other, so that all have written once in `every_seconds`."""
        turn = self._every_seconds / len(self.installations)
        upcoming = time.monotonic()
        while True:
            for installation in self.installations:
                upcoming += turn
                if self._stop.wait(max(0.0, upcoming - time.monotonic())):
                    return
                installation.write(min(2.0, turn / 2))
