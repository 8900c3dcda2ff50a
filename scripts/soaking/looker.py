"""Somebody who looks at the pages of all roles now and then; no answer may be 5xx but 503."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable

#: Seconds from one page to the next.
PAUSE_SECONDS = 2.0

#: What is looked at, in turns; a role answers 404 to what it has not.
PATHS = (
    *("/", "/cycles", "/installations", "/installations/1/1", "/as", "/failed", "/collector"),
    *("/cycles.json", "/installations.csv", "/metrics", "/readyz"),
)


class Looker:
    """A thread that looks; addresses: host and port of each role at the moment."""

    def __init__(self, addresses: Callable[[], Iterable[str]]) -> None:
        self._addresses = addresses
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: How many answers of each status came; 0: none.
        self.statuses: Counter[int] = Counter()

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join(60)

    def problems(self) -> list[str]:
        """Return what no answer may be."""
        odd = {status: n for status, n in self.statuses.items() if status not in FINE}
        return [f"{n} answers of pages had status {status}" for status, n in odd.items()]

    def _run(self) -> None:
        for turn in itertools.count():
            for address in list(self._addresses()):
                self.statuses[_status(address, PATHS[turn % len(PATHS)])] += 1
            if self._stop.wait(PAUSE_SECONDS):
                return


#: No answer came, or one that means something.
FINE = {0, 200, 400, 404, 503}


def _status(address: str, path: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=10)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    return 0
