"""A site of many installations, simulated: a dispatcher, RabbitMQ, a volume, and hosts of workers.

Every installation finishes a window each WINDOW_SECONDS, at a phase of its own. Each PERIOD_SECONDS
the dispatcher sends a message for each installation, unless it is still sending those of the cycle
before. RabbitMQ passes them on in order; one that waits for longer than a period is dropped. A
worker takes a message and does all windows that are finished then. Installations go by in batches.
What takes time are costs that have been measured, each spread by chance; equal seeds give equal
results.
"""

from __future__ import annotations

import heapq
import math
import statistics
from dataclasses import dataclass
from random import Random

#: From one cycle to the next, and how long tixd lets a message wait.
PERIOD_SECONDS = 600.0

#: A report is of 61 packets, one a second.
REPORT_SECONDS = 61.0

#: Reports that a window consumes, and how long they take.
CONSUMED = 9
WINDOW_SECONDS = CONSUMED * REPORT_SECONDS

#: Cycles of a simulation; the first comes a period after the beginning.
CYCLES = 12

#: Installations go by in so many batches at the least, and in batches of at most so many.
LEAST_BATCHES, LARGEST_BATCH = 1000, 1000

#: Worker processes of a host, one for each of its cores.
CORES = 8

#: A host is given so much of what it can do.
LOAD = 0.7

#: How long the tix-api takes for a post, and how many of them a worker has open (the default).
POST_SECONDS = 0.05
POSTS_IN_FLIGHT = 16

#: Shape of the gamma distribution of a cost: its standard deviation is a quarter of the mean.
_SHAPE = 16.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of one core, or of one volume.

    dispatch: the dispatcher finds an installation and sends its message; message: RabbitMQ passes
    it on; parent, window: a worker's parent and the worker itself, a window; report: the volume
    creates a report file and deletes it.
    """

    dispatch: float
    message: float
    parent: float
    window: float
    report: float

    def hosts(self, installations: int) -> int:
        """Hosts of workers that so many installations need."""
        cores = installations / WINDOW_SECONDS * (self.parent + self.slot)
        return math.ceil(cores / (CORES * LOAD))

    @property
    def slot(self) -> float:
        """How long a window keeps a worker process busy, at the least."""
        return max(self.window, POST_SECONDS / POSTS_IN_FLIGHT)


@dataclass(frozen=True, slots=True)
class Busy:
    """Shares of the time in which a part has work; above 1 it cannot keep up."""

    dispatcher: float
    broker: float
    volume: float
    workers: float


def on_paper(installations: int, hosts: int, costs: Costs) -> Busy:
    """What each part has to do, by the rates alone."""
    windows = installations / WINDOW_SECONDS
    return Busy(
        installations / PERIOD_SECONDS * costs.dispatch,
        installations / PERIOD_SECONDS * costs.message,
        windows * CONSUMED * costs.report,
        windows * costs.slot / (hosts * CORES),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """A simulation: busy parts, cycles skipped, share of messages dropped, seconds to the post.

    median, late: from the end of a window to its post, or to now, of half of all and 99 of 100.
    """

    busy: Busy
    skipped: int
    dropped: float
    median: float
    late: float


def simulate(installations: int, hosts: int, costs: Costs, seed: int = 0) -> Outcome:
    """Run CYCLES cycles."""
    site = _Site(installations, hosts, costs, Random(seed))  # noqa: S311 - no secret
    for cycle in range(1, CYCLES + 1):
        site.cycle(cycle * PERIOD_SECONDS)
    return site.outcome()


class _Station:
    """Serves one after the other, in the order of their coming."""

    def __init__(self) -> None:
        self.free_at = self.busy = 0.0

    def serve(self, at: float, seconds: float) -> float:
        """When what comes at `at` and takes so long is done."""
        self.free_at = max(self.free_at, at) + seconds
        self.busy += seconds
        return self.free_at


class _Site:
    """The parts, and which windows of each batch have been posted."""

    def __init__(self, installations: int, hosts: int, costs: Costs, random: Random) -> None:
        self._batches = max(LEAST_BATCHES, installations // LARGEST_BATCH)
        self._size, self._costs, self._random = installations / self._batches, costs, random
        self._dispatcher, self._broker, self._volume = _Station(), _Station(), _Station()
        self._parents = [_Station() for _ in range(hosts)]
        self._slots = [(0.0, host) for host in range(hosts) for _ in range(CORES)]
        self._phases = [random.uniform(0, WINDOW_SECONDS) for _ in range(self._batches)]
        self._posted = [0] * self._batches
        self._waits: list[float] = []
        self._worked = 0.0
        self._sent = self._dropped = self._skipped = 0

    def cycle(self, tick: float) -> None:
        """The cycle that begins at `tick`."""
        if self._dispatcher.free_at > tick:
            self._skipped += 1
            return
        for batch in range(self._batches):
            sent = self._dispatcher.serve(tick, self._take(self._costs.dispatch))
            self._work(batch, sent, self._broker.serve(sent, self._take(self._costs.message)))

    def _work(self, batch: int, sent: float, came: float) -> None:
        """A message is taken by the worker that is free first."""
        free_at, host = heapq.heappop(self._slots)
        start = max(free_at, came)
        self._sent += 1
        if start - sent > PERIOD_SECONDS:
            self._dropped += 1
            heapq.heappush(self._slots, (free_at, host))
            return
        windows = self._finished(batch, start) - self._posted[batch]
        taken = self._take(windows * self._costs.slot)
        self._worked += taken
        end = max(
            start + taken,
            self._parents[host].serve(start, self._take(windows * self._costs.parent)),
            self._volume.serve(start, self._take(windows * CONSUMED * self._costs.report)),
        )
        heapq.heappush(self._slots, (end, host))
        self._post(batch, windows, end)

    def _finished(self, batch: int, at: float) -> int:
        """How many windows of an installation have ended by then."""
        return int((at + self._phases[batch]) / WINDOW_SECONDS)

    def _post(self, batch: int, windows: int, at: float) -> None:
        """Note how long the next windows have waited."""
        for number in range(self._posted[batch] + 1, self._posted[batch] + windows + 1):
            self._waits.append(at - (number * WINDOW_SECONDS - self._phases[batch]))
        self._posted[batch] += windows

    def _take(self, seconds: float) -> float:
        """What a batch takes where an installation takes so long."""
        return self._size * seconds * self._random.gammavariate(_SHAPE, 1 / _SHAPE)

    def outcome(self) -> Outcome:
        """What was seen."""
        lasted = CYCLES * PERIOD_SECONDS
        for batch in range(self._batches):  # those that wait still
            self._post(batch, max(0, self._finished(batch, lasted) - self._posted[batch]), lasted)
        waits = sorted(self._waits)
        stations = (self._dispatcher.busy, self._broker.busy, self._volume.busy)
        shares = [busy / lasted for busy in (*stations, self._worked / len(self._slots))]
        return Outcome(
            Busy(*shares),
            self._skipped,
            self._dropped / self._sent,
            statistics.median(waits),
            waits[int(len(waits) * 0.99)],
        )
