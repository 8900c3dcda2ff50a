"""Probes that post bundles to a collector, and repeat each until it is answered 200."""

from __future__ import annotations

import http.client
import itertools
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Self

from tests.support.bundles import form
from tests.support.collecting import FORM
from tests.support.direct import Direct, identities
from tests.support.program import until
from tixd.collector.server import SERVLET


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to one try: status (0: none came), when (monotonic), how long it took, headers."""

    status: int
    moment: float
    seconds: float
    retry_after: str


class Senders:
    """So many threads that post bundles of `size` records; a context manager that stops them.

    pause_seconds: how long a sender waits before it repeats what was not answered 200;
    rest_seconds: how long before the next bundle.
    """

    def __init__(
        self,
        port: int,
        count: int,
        size: int,
        pause_seconds: float = 0.05,
        rest_seconds: float = 0.0,
    ) -> None:
        self._port, self._size, self._pause_seconds = port, size, pause_seconds
        self._rest_seconds = rest_seconds
        self._stop = threading.Event()
        self.answers: list[Answered] = []
        self.accepted: set[str] = set()
        self.tried: set[str] = set()
        #: Records of bundles that were answered 200 at the first try.
        self.at_once: set[str] = set()
        #: When each record was accepted (monotonic).
        self.moments: dict[str, float] = {}
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """End after the try in hand."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def statuses(self) -> Counter[int]:
        """How many answers of each status came."""
        return Counter(answer.status for answer in list(self.answers))

    def until_accepted(self, more: int, seconds: float = 60.0) -> None:
        """Wait until so many more records were accepted."""
        before = len(self.accepted)
        until(lambda: len(self.accepted) >= before + more, seconds)

    def _send(self, sender: int) -> None:
        number = 0
        while not self._stop.is_set():
            identities = [f"{sender}.{number}.{n}" for n in range(self._size)]
            self.tried.update(identities)
            tries = self._repeat(form(identities))
            if tries:
                self.accepted.update(identities)
                self.moments.update(dict.fromkeys(identities, time.monotonic()))
            if tries == 1:
                self.at_once.update(identities)
            number += 1
            self._stop.wait(self._rest_seconds)

    def _repeat(self, body: bytes) -> int:
        """Post until it is answered 200; how many tries that took, 0 where it is time to stop."""
        for tries in itertools.count(1):
            answer = self._try(body)
            self.answers.append(answer)
            if answer.status == 200:
                return tries
            if self._stop.wait(self._pause_seconds):
                break
        return 0

    def _try(self, body: bytes) -> Answered:
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        status, retry_after = 0, ""
        try:
            connection.request("POST", SERVLET, body, FORM)
            answer = connection.getresponse()
            status, retry_after = answer.status, answer.headers.get("Retry-After", "")
            answer.read()
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        now = time.monotonic()
        return Answered(status, now, now - begun, retry_after)


def check_promises(senders: Senders, direct: Direct) -> None:
    """Whatever was answered 200 is in the queue; print what came twice."""
    found = identities(direct)
    lost = senders.accepted - set(found)
    told = f"answers {dict(senders.statuses())}, accepted {len(senders.accepted)}"
    twice = len(found) - len(set(found))
    sys.stdout.write(f"{told}, lost {len(lost)}, twice {twice}\n")
    assert lost == set()
    assert set(found) <= senders.tried
    unavailable = [answer for answer in senders.answers if answer.status == 503]
    assert all(int(answer.retry_after) > 0 for answer in unavailable)
