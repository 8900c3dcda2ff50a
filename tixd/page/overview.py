"""The pages `/` and `/cycles`: well or not, why not, and what each part does and did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from tixd.history import cycles
from tixd.history.store import DAY_SECONDS, HOUR_SECONDS
from tixd.page.charts import Point, Series, TimeChart
from tixd.page.views import Column, Query, Table, Tone, View
from tixd.runtime import status_words
from tixd.runtime.status import STARTING_SECONDS, Snapshot, headline, rough, troubles, work_line

if TYPE_CHECKING:
    from tixd.history.store import Connection

#: Shortest and longest time that a bar of the chart stands for, seconds.
MIN_STEP_SECONDS, MAX_STEP_SECONDS = 600, HOUR_SECONDS

#: A bar that has only begun says nothing yet.
MIN_ELAPSED_SECONDS = 60

#: What to do about a trouble, by what its words hold; the first that fits counts.
ADVICE = (
    ("process is ready", "They start again by themselves. If it lasts, the log says why they end."),
    ("volume has not answered", "If it lasts, the volume hangs: look at its mount and its server."),
    ("volume last answered", "The volume hangs: look at its mount and its server."),
    ("volume is full", "Free some space; tixd goes on by itself."),
    ("confirmed nothing", "See which alarm RabbitMQ has raised: rabbitmq-diagnostics alarms."),
    ("last scan was", "See the log for scan_failed and cycle_skipped."),
    ("NOBODY WORKS", "Start a worker for this virtual host: tixd --role worker."),
    ("no dispatcher", "Start a dispatcher for this virtual host: tixd --role dispatcher."),
    ("KEPT", "Nothing is lost: tixd posts them by itself when the tix-api takes them."),
    ("NO BUNDLE TAKEN", "Nothing is lost: senders keep their bundles and send them again."),
    ("secrets not reloaded", "Correct it and send SIGHUP again; the old secrets are in use."),
    ("history is not written", "Results are posted as always; they are missing on these pages."),
    ("amqp", "tixd tries again by itself. Look at RabbitMQ, at its address and at the login."),
    ("AMQP", "tixd tries again by itself; senders keep their bundles and send them again."),
    ("Kafka", "tixd tries again by itself; senders keep their bundles and send them again."),
    ("AS table", "Results are posted without AS; tixd asn info FILE says what is wrong."),
)

#: What to do about any other.
OTHER_ADVICE = "See tixd manual troubleshooting."


class Trouble(NamedTuple):
    """What is wrong, and what to do."""

    words: str
    advice: str


class Verdict(NamedTuple):
    """The role in a word, how that is shown, and in a line."""

    word: str
    tone: Tone
    line: str


def show(query: Query, now: Snapshot, history: Connection | None) -> View:
    """Show the role."""
    found = [*_troubles(now)]
    role = {**asdict(now), "headline": headline(now), "not_ready": now.unready_reasons()}
    numbers = [*_numbers(now)]
    figures = {}
    data: dict[str, Any] = {**role, "no_history": query.no_history}
    if history and now.role != "collector":
        steps = _steps(history, now)
        done = sum(windows for _, windows, _ in steps)
        numbers.insert(1, ("Windows", f"{done:,}", "in 24 h", "/cycles", "quiet"))
        data["windows_in_24_h"] = done
        figures["windows"] = _chart(steps, now).svg()
    shown = {
        "verdict": _verdict(now, found),
        "troubles": found,
        "facts": [fact for fact in status_words.facts(role) if fact[0] != "SIGHUP"],
        "numbers": numbers,
    }
    data["troubles"] = [trouble._asdict() for trouble in found]
    return View("overview.html", "Overview", data, _workers(now), figures=figures, shown=shown)


# --- well or not ---------------------------------------------------------------------------------


def _verdict(now: Snapshot, found: list[Trouble]) -> Verdict:
    if now.state == "standing by":
        leader = now.leader or "another process"
        line = f"{leader} leads; this process takes over when that one ends"
        return Verdict("Standing by", "quiet", line)
    line = work_line(now)
    if now.state != "running":
        return Verdict(now.state.capitalize(), "quiet", line if now.state == "stopping" else "")
    if now.unready_reasons():
        if now.moment - now.started < STARTING_SECONDS:
            return Verdict("Starting", "quiet", line)
        return Verdict("Not working", "bad", line)
    return (
        Verdict("Working, but not well", "warn", line) if found else Verdict("Well", "good", line)
    )


def _troubles(now: Snapshot) -> Iterator[Trouble]:
    """Yield what is wrong, the worst first."""
    if now.state in ("running", "starting"):
        words = [*now.unready_reasons()] if now.state == "running" else []
        words += troubles(now, rough)
        if now.history and now.history.reason:
            words.append(f"the history is not written: {now.history.reason}")
        if now.volume.asn_built == 0:
            words.append("the AS table cannot be used")
        words.append(now.reload_error)
        for said in dict.fromkeys(filter(None, words)):
            yield Trouble(_sentence(said), _advice(said))


def _sentence(words: str) -> str:
    """Begin with a capital, but for the address of a broker."""
    return words if "://" in words.partition(" ")[0] else words[:1].upper() + words[1:]


def _advice(words: str) -> str:
    return next((advice for part, advice in ADVICE if part in words), OTHER_ADVICE)


# --- in numbers ----------------------------------------------------------------------------------


def _numbers(now: Snapshot) -> Iterator[tuple[str, str, str, str, Tone]]:
    """Yield what can be counted: a name, the number, its unit, where there is more, its tone."""
    told = now.history.summary if now.history else {}
    for name, unit, key, path, tone in _COUNTS[now.role == "collector"]:
        if (count := told.get(key)) is not None:
            yield name, f"{count:,}", unit, path, tone if count else "quiet"
    if now.role == "collector":
        for name in ("Records", "Requests"):
            yield name, f"{now.counts.get(name, 0):,}", "since the start", "", "quiet"


#: Counts of the history's summary, of a processing role and of a collector.
_COUNTS: tuple[tuple[tuple[str, str, str, str, Tone], ...], ...] = (
    (
        ("Installations", "known", "installations", "/installations", "quiet"),
        ("Silent", "had results, have none now", "silent", "/installations", "warn"),
        ("Blocked", "cannot be processed", "blocked", "/installations", "bad"),
        ("Kept", "results wait for the tix-api", "results_kept", "/failed", "warn"),
    ),
    (
        ("Silent", "senders, no request for 2 h", "senders_silent", "/collector", "warn"),
        ("Failing", "senders, last bundle not taken", "senders_failing", "/collector", "bad"),
    ),
)


def _steps(history: Connection, now: Snapshot) -> list[tuple[float, int, int]]:
    """Return the steps that lie wholly in the last day, but for the one that has only begun."""
    step = _step_seconds(now)
    since = -((DAY_SECONDS - now.moment) // step) * step
    return cycles.windows_over_time(history, since, step)


def _step_seconds(now: Snapshot) -> float:
    return min(max(now.period_seconds, MIN_STEP_SECONDS), MAX_STEP_SECONDS)


def _chart(steps: list[tuple[float, int, int]], now: Snapshot) -> TimeChart:
    step = _step_seconds(now)
    points = []
    for begin, windows, _ in steps:
        elapsed = min(step, now.moment - begin)
        if elapsed >= MIN_ELAPSED_SECONDS:
            points.append(Point(begin + step / 2, 60 * windows / elapsed))
    return TimeChart(
        name="windows",
        title="Windows a minute over the last 24 hours",
        series=[Series("windows a minute", points)],
        begin=now.moment - DAY_SECONDS,
        end=now.moment,
        step_seconds=step,
        unit="windows a minute",
        digits=1,
        low=0.0,
        high=1.0,
        is_bars=True,
    )


def _workers(now: Snapshot) -> Table:
    columns = (Column("pid", "Process"), Column("doing", "Does now"))
    rows = [(one.pid, status_words.worker(asdict(one))) for one in now.workers]
    return Table(columns, rows, "")


# --- /cycles -------------------------------------------------------------------------------------

#: How many cycles are shown.
MAX_CYCLES = 200

#: What is shown of each, in the order of cycles.latest.
CYCLE_COLUMNS = (
    Column("begin_at", "Began", kind="time"),
    Column("number", "Number"),
    Column("scan_seconds", "Scan took", kind="seconds"),
    Column("installations", "Installations with work", kind="number"),
    Column("jobs", "Given a job", kind="number"),
    Column("skipped", "Skipped", kind="number"),
    Column("windows", "Windows", kind="number"),
    Column("failures", "Failures", kind="number"),
    Column("reason", "Why the scan failed"),
)

#: What to do where there is none.
NO_CYCLE = "No cycle yet: the first one begins when tixd leads and its workers are ready."


def show_cycles(query: Query, now: Snapshot, history: Connection | None) -> View:
    """Show the last cycles."""
    rows = cycles.latest(history, MAX_CYCLES) if history else []
    table = Table(CYCLE_COLUMNS, rows, "" if query.no_history else NO_CYCLE)
    data = {"period_seconds": now.period_seconds, "no_history": query.no_history}
    return View("cycles.html", "Cycles", data, table)
