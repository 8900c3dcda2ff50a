"""How a role is at one moment, why it is not ready, its headline and its line in systemctl status.

Rules: no user, installation or client's address but in the jobs of workers; headline and line say
first what an operator must know first; figures in the line are so rounded that an idle role's line
stays the same. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from tixd import bounded

#: A volume that is silent for longer than this hangs.
VOLUME_SILENCE_SECONDS = 60.0

#: A broker that confirms no probe for longer than this cannot be used.
CONFIRM_SILENCE_SECONDS = 30.0

#: A reports volume with less free space than this is full.
LEAST_FREE_BYTES = 1024 * 1024


def free_space(free_bytes: float) -> str:
    """Describe the free space of a volume.

    >>> free_space(7.3 * 2**30), free_space(2**30 - 2**20), free_space(2**19)
    ('7.3 GiB free', '1023.0 MiB free', '0.5 MiB free')
    """
    size, unit = (2**30, "GiB") if free_bytes >= 2**30 else (2**20, "MiB")
    return f"{free_bytes / size:.1f} {unit} free"


#: What a role is doing.
State = Literal["starting", "standing by", "running", "stopping"]


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker process; job and phase in words, empty when it waits; seconds in that phase.

    busy: it processes an installation; other jobs only look, and are short.
    """

    pid: int
    ready: bool
    job: str
    phase: str
    seconds: float
    busy: bool = False


@dataclass(frozen=True, slots=True)
class VolumeView:
    """The last answer of the reports volume: when (epoch seconds, None: never yet), and what.

    asn_built: when the AS table was built, which is looked at with it; 0: unusable, None: not set.
    """

    answered: float | None = None
    error: str = ""
    free_bytes: int | None = None
    asn_built: int | None = None


@dataclass(frozen=True, slots=True)
class BrokerView:
    """Why the broker cannot be used now ("": it can), its last confirm (epoch), and where it is.

    address: a URL without user and password.
    """

    reason: str = ""
    confirmed: float | None = None
    address: str = ""


@dataclass(frozen=True, slots=True)
class ApiView:
    """When the tix-api last accepted a result, since when it accepts none, and why.

    Epoch seconds; None: none was accepted yet, or they are accepted now. address: its URL.
    """

    posted: float | None = None
    kept_since: float | None = None
    reason: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class QueueView:
    """The queue of jobs in RabbitMQ: its name, messages that wait, consumers.

    unattended_since: since when (epoch) messages came and nobody took them; None: somebody does.
    """

    name: str
    messages: int
    consumers: int
    unattended_since: float | None = None


@dataclass(frozen=True, slots=True)
class CycleView:
    """The schedule: last completed scan, the one that runs, the next one (epoch seconds)."""

    number: int | None = None
    scanned: float | None = None
    scan_seconds: float | None = None
    scanning_since: float | None = None
    next_due: float | None = None


@dataclass(frozen=True, slots=True)
class OutputView:
    """An output of the collector: where it leads, and why it cannot be used now ("": it can).

    confirmed: when it last took something, a probe too; refused: when it last refused a bundle, and
    `refusal` why. Epoch seconds; None: never yet.
    """

    name: str
    target: str
    reason: str = ""
    confirmed: float | None = None
    refused: float | None = None
    refusal: str = ""


#: From so many bundles in a row that were not taken on, the headline says so.
MANY_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class BundlesView:
    """When the collector last took a bundle, and how many in a row it has not taken since.

    refused_since: the first of them; code and reason: the last answer. Epoch seconds; None: never.
    """

    accepted: float | None = None
    refused_in_a_row: int = 0
    refused_since: float | None = None
    code: int = 0
    reason: str = ""

    def trouble(self, moment: float) -> str:
        """Say that no bundle is taken, and why; "" where some are.

        >>> BundlesView(None, 2, 0.0, 503, "AMQP: no queue").trouble(125.0)
        'NO BUNDLE TAKEN for 2 min, the last 2 failed: 503, AMQP: no queue'
        >>> BundlesView(100.0, 2, 0.0, 503, "AMQP: no queue").trouble(125.0)
        ''
        """
        count = self.refused_in_a_row
        if not count or (count < MANY_IN_A_ROW and self.accepted is not None):
            return ""
        since = age(0.0 if self.refused_since is None else moment - self.refused_since)
        reason = self.reason.rstrip(".")
        failed = f"the last {count:,} failed: {self.code}, {reason}"
        return f"NO BUNDLE TAKEN for {since}, {failed}"


@dataclass(frozen=True, slots=True)
class HistoryView:
    """The history: its file, why it cannot be written to now ("": it can), and what it tells.

    written, dropped: entries since the start; size_bytes: with its log; summary: by the parts of
    the history, as results_kept, installations_silent.
    """

    file: str
    reason: str = ""
    written: int = 0
    dropped: int = 0
    size_bytes: int = 0
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A role at one moment; `moment` and `started` are epoch seconds.

    open: jobs that wait or are in progress, requests of the collector; queue: as a dispatcher sees
    it; leaderless_since: since when a worker has had no job, where no dispatcher is found either;
    reports: the reports folder; listens: where HTTP is answered; sink_problems: why the collector's
    sinks accept no records; outputs, bundles: of the collector; shares_port: other collectors may
    have its port too; history: None where there is none;
    reload_error: why the last SIGHUP had no effect.
    """

    version: str
    role: str
    pid: int
    state: State
    moment: float
    started: float
    period_seconds: float = 0.0
    leader: str = ""
    waiting: int = 0
    open: int = 0
    workers: tuple[WorkerView, ...] = ()
    volume: VolumeView = field(default_factory=VolumeView)
    broker: BrokerView | None = None
    queue: QueueView | None = None
    leaderless_since: float | None = None
    reports: str = ""
    api: ApiView = field(default_factory=ApiView)
    cycle: CycleView = field(default_factory=CycleView)
    counts: dict[str, int] = field(default_factory=dict)
    sink_problems: tuple[str, ...] = ()
    outputs: tuple[OutputView, ...] = ()
    bundles: BundlesView = field(default_factory=BundlesView)
    shares_port: bool = False
    listens: str = ""
    history: HistoryView | None = None
    reload_error: str = ""

    def unready_reasons(self) -> tuple[str, ...]:
        """Return why the role cannot do its work now; empty: it can."""
        if self.state == "standing by":
            return ()
        if self.state != "running":
            return (f"it is {self.state}",)
        if self.role == "collector":
            return self.sink_problems
        return tuple(bounded.text(reason) for reason in self._processing_problems() if reason)

    def _processing_problems(self) -> Iterator[str | None]:
        """Yield what keeps a processing role from its work; None or "" where something is well."""
        if not any(worker.ready for worker in self.workers):
            scans = self.role == "dispatcher"
            yield f"no {'scanner' if scans else 'worker'} process is ready"
        if self.role != "dispatcher":
            yield from self._volume_problems()
        if self.broker:
            yield self.broker.reason or self._confirm_problem(self.broker)
        if self.role == "dispatcher":
            yield self._cycle_problem()
            if self.unattended_seconds > self.period_seconds:
                yield nobody_works(self, rough)

    @property
    def unattended_seconds(self) -> float:
        """Seconds for which jobs have waited in RabbitMQ and nobody has taken them; 0: somebody."""
        since = self.queue.unattended_since if self.queue else None
        return 0.0 if since is None else max(0.0, self.moment - since)

    def _confirm_problem(self, broker: BrokerView) -> str:
        silent_seconds = self.moment - (broker.confirmed or self.started)
        silent = silent_seconds > CONFIRM_SILENCE_SECONDS
        return f"RabbitMQ has confirmed nothing for {silent_seconds:.0f} s" if silent else ""

    def _cycle_problem(self) -> str:
        """Return whether the last scan is more than three periods ago."""
        age = self.moment - (self.cycle.scanned or self.started)
        stale = age > 3 * self.period_seconds + CONFIRM_SILENCE_SECONDS
        return f"the last scan was {age:.0f} s ago" if stale else ""

    def _volume_problems(self) -> Iterator[str]:
        volume = self.volume
        if volume.answered is None:
            yield "the reports volume has not answered yet"
        elif (silent_seconds := self.moment - volume.answered) > VOLUME_SILENCE_SECONDS:
            yield f"the reports volume last answered {silent_seconds:.0f} s ago"
        yield volume.error
        if volume.free_bytes is not None and volume.free_bytes < LEAST_FREE_BYTES:
            yield "the reports volume is full"


#: What a ready role does, in a word.
_DOING = MappingProxyType(
    {
        "standalone": "leading",
        "dispatcher": "leading",
        "worker": "working",
        "collector": "collecting",
    }
)

#: Writes a number of seconds.
Duration = Callable[[float], str]

#: How long workers, volume and broker may take to answer for the first time.
STARTING_SECONDS = 10.0

#: Units of an age, the longest first, and their seconds: the first that fits is named alone.
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def headline(now: Snapshot) -> str:
    """Say how the role is: its state, and the worst that there is to say of it.

    >>> standalone = Snapshot("1", "standalone", 7, "running", 940.0, 0.0)
    >>> headline(standalone)
    'running, NOT READY: no worker process is ready; the reports volume has not answered yet'
    """
    if now.state == "standing by":
        return f"standing by, led by {now.leader or 'another process'}"
    if now.state != "running":
        return now.state
    reasons = now.unready_reasons()
    wrong = "; ".join(troubles(now, duration))
    if reasons:
        return "; ".join(filter(None, (f"running, NOT READY: {'; '.join(reasons)}", wrong)))
    return f"running; {wrong}" if wrong else "running, ready"


def troubles(now: Snapshot, words: Duration) -> Iterator[str]:
    """Yield what is wrong although the role can work, the worst first; `words` writes seconds."""
    if not now.sink_problems and (trouble := now.bundles.trouble(now.moment)):
        yield trouble
    if 0.0 < now.unattended_seconds <= now.period_seconds:
        yield nobody_works(now, words)
    if now.leaderless_since is not None:
        yield no_leader(now, words)
    if now.api.reason:
        since = now.api.kept_since
        for_long = f"results have been KEPT for {words(now.moment - since)}" if since else ""
        yield f"{for_long or 'results are KEPT'}: {now.api.reason.rstrip('.')}"


def nobody_works(now: Snapshot, words: Duration) -> str:
    """Say that jobs wait in RabbitMQ and nobody takes them."""
    queue = now.queue or QueueView("", 0, 0)
    return (
        f"NOBODY WORKS: queue {queue.name} has {_many(queue.messages, 'message')}, and no worker"
        f" for {words(now.unattended_seconds)}"
    )


def no_leader(now: Snapshot, words: Duration) -> str:
    """Say that a worker gets no job, and that no dispatcher was found."""
    seconds = now.moment - (now.leaderless_since or now.moment)
    queue = f" (queue {now.queue.name})" if now.queue else ""
    return f"no job for {words(seconds)}: no dispatcher seems to run for this vhost{queue}"


def status_line(now: Snapshot) -> str:
    """Describe the role in one line.

    >>> from dataclasses import replace
    >>> collector = Snapshot("1", "collector", 7, "running", 0.0, 0.0, open=3)
    >>> status_line(collector)
    'collecting; 0 records, 3 requests in progress'
    >>> status_line(replace(collector, state="stopping"))
    'stopping: 3 requests in progress'
    """
    return "; ".join(part for part in (*_parts(now), now.reload_error) if part)


def _parts(now: Snapshot) -> Iterator[str]:
    if now.state == "stopping":
        yield f"stopping: {_current(now)} in progress"
    elif now.state == "standing by":
        yield f"standing by for {now.leader or 'another process'}"
    elif now.state == "starting":
        yield "starting"
    else:
        yield _verdict(now)
        yield from troubles(now, rough)
        yield from _work(now)


def _verdict(now: Snapshot) -> str:
    """Say whether the role can work; one that was just started is starting, not broken."""
    reasons = now.unready_reasons()
    if not reasons:
        return _DOING[now.role]
    state = "starting" if now.moment - now.started < STARTING_SECONDS else "NOT READY"
    return f"{state}: {', '.join(reason.rstrip('.') for reason in reasons)}"


def work_line(now: Snapshot) -> str:
    """Say what a running role does, without what is wrong."""
    return "; ".join(_work(now))


def _work(now: Snapshot) -> Iterator[str]:
    if now.role == "collector":
        yield f"{_many(now.counts.get('Records', 0), 'record')}, {_current(now)} in progress"
    elif now.role != "dispatcher":
        workers = _many(len(now.workers), "worker")
        yield f"{_busy(now)} of {workers} busy, {_many(now.waiting, 'job')} waiting"
    if now.role in ("standalone", "dispatcher"):
        yield _scan(now.cycle, now.moment)


def _busy(now: Snapshot) -> int:
    return sum(worker.busy for worker in now.workers)


def _current(now: Snapshot) -> str:
    collecting = now.role == "collector"
    return _many(now.open, "request") if collecting else _many(_busy(now), "window")


def _scan(cycle: CycleView, moment: float) -> str:
    if cycle.scanning_since is not None:
        return "scanning"
    return f"last scan {age(moment - cycle.scanned)} ago" if cycle.scanned else "no scan yet"


def _many(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def age(seconds: float) -> str:
    """Describe an age in one unit, so that it seldom changes.

    >>> age(-1), age(59), age(150), age(7300), age(200_000)
    ('under 1 min', 'under 1 min', '2 min', '2 h', '2 d')
    """
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "under 1 min"


def rough(seconds: float) -> str:
    """Describe an age as `age` does, and one of under a minute in steps of 10 s.

    >>> rough(59), rough(150)
    ('50 s', '2 min')
    """
    return age(seconds) if seconds >= 60 else f"{max(0, int(seconds // 10)) * 10} s"


def duration(seconds: float) -> str:
    """Return a duration in two units at most.

    >>> duration(-1), duration(59), duration(61), duration(7300), duration(100_000)
    ('0 s', '59 s', '1 min 1 s', '2 h 1 min', '1 d 3 h')
    """
    left = max(0, int(seconds))
    words: list[str] = []
    for size, unit in (*_UNITS, (1, "s")):
        count, left = divmod(left, size)
        if count or words:
            words.append(f"{count} {unit}")
    return " ".join(words[:2]) or "0 s"
