"""The schedule at work: a scan each period, and its installations into the queue.

In: the settings, a function that scans. Out: a job for each installation, and counts of cycles.
Rules: a cycle is its scan; one that is still running makes the next one be skipped (counted). An
installation whose job is still open is skipped alone (counted). Only jobs of the pool touch the
reports volume, so one that hangs holds up nothing here.

When a cycle is due: cycle numbers, the tick, and what is remembered over a restart.

In: the wall clock and a monotonic one. Out: the number of a cycle, when it is due. Rules: a cycle's
number is floor(epoch / period), so no local time is involved; a cycle is due when the number
differs from the stored one: a missed cycle runs at once, once. The number is stored when the scan
has completed. `schedule` looks at the naive wall clock, so its tick is armed anew whenever wall and
monotonic clock part, or the UTC offset changes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial

import orjson
import schedule

from tixd import errors, logs
from tixd.config.settings import Settings
from tixd.directory import Folder
from tixd.jobs import JobResult, ListInstallations, ListUsers, ProcessInstallation
from tixd.pool.pool import Pool
from tixd.runtime import tasks
from tixd.runtime.status import CycleView

#: File in the schedule folder that remembers the last completed scan.
STATE_FILE = "tixd-schedule.json"

#: Version of that file; a file of another one counts as absent.
FORMAT = 1

#: How often it is asked whether a cycle is due.
TICK_SECONDS = 1

#: Wall and monotonic clock have parted when they differ by more than before.
PARTED_SECONDS = 2.0

#: A state file is short; a longer one is not ours.
_LONGEST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class LastScan:
    """The last completed scan: number of its cycle, period, and when it began (epoch seconds)."""

    number: int
    period_seconds: float
    started: float


def cycle_number(now: float, period_seconds: float) -> int:
    """The number of the cycle that the epoch second `now` lies in.

    >>> cycle_number(1200.0, 600.0), cycle_number(1199.9, 600.0)
    (2, 1)
    """
    return int(now // period_seconds)


def is_due(last: LastScan | None, now: float, period_seconds: float) -> bool:
    """Whether the cycle that `now` lies in has not been scanned yet.

    A period that was changed since gives the last scan's start another number.
    """
    if last is None:
        return True
    return cycle_number(now, period_seconds) != cycle_number(last.started, period_seconds)


def load(path: str) -> LastScan | None:
    """The last completed scan that the folder knows; None, and a warning, where it should know."""
    try:
        with Folder(path, follow=True) as folder:
            return parse(folder.load(STATE_FILE, _LONGEST_BYTES))
    except errors.NotFound:
        return None
    except (errors.VolumeError, ValueError, TypeError, KeyError) as error:
        logs.warning("schedule_unreadable", folder=path, reason=str(error))
        return None


def parse(content: bytes) -> LastScan:
    """The scan that a state file tells of; ValueError, TypeError or KeyError where it does not."""
    members = orjson.loads(content)
    if not isinstance(members, dict) or members["format"] != FORMAT:
        raise ValueError("no state of this version")
    period_seconds = float(members["period_seconds"])
    if period_seconds <= 0:
        raise ValueError("a period must be positive")
    return LastScan(int(members["number"]), period_seconds, float(members["started"]))


def save(path: str, last: LastScan) -> None:
    """Remember a completed scan; a folder that cannot be written costs a repeated cycle only."""
    try:
        with Folder(path, follow=True) as folder:
            folder.write(STATE_FILE, orjson.dumps({"format": FORMAT, **asdict(last)}))
    except errors.VolumeError as error:
        logs.error("schedule_not_stored", folder=path, reason=str(error))


class Tick:
    """Calls a function once a second by the `schedule` library, whatever the clock does."""

    def __init__(
        self,
        function: Callable[[], None],
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._function = function
        self._wall, self._steady = wall, steady
        self._scheduler = schedule.Scheduler()
        self._arm()

    def run_pending(self) -> None:
        """Call the function if its time has come; to be called about once a second."""
        if self._clocks_parted():
            logs.warning("clock_changed", reason="wall clock or UTC offset moved: tick armed anew")
            self._scheduler.clear()
            self._arm()
            self._function()
        self._scheduler.run_pending()

    def _arm(self) -> None:
        self._armed_at = self._clocks()
        self._scheduler.every(TICK_SECONDS).seconds.do(self._function)

    def _clocks(self) -> tuple[float, float]:
        """How far wall and monotonic clock are apart, and local time from UTC, in seconds."""
        wall = self._wall()
        offset = datetime.fromtimestamp(wall).astimezone().utcoffset()
        return wall - self._steady(), offset.total_seconds() if offset else 0.0

    def _clocks_parted(self) -> bool:
        """Whether the clocks have moved against each other since the tick was armed."""
        (apart, offset), (apart_then, offset_then) = self._clocks(), self._armed_at
        return abs(apart - apart_then) > PARTED_SECONDS or offset != offset_then


#: Users whose installations are listed by one job, so that other jobs have their turn between.
USERS_PER_JOB = 100

#: An installation is looked at if its folder changed since so many periods before the last scan.
PERIODS_LOOKED_BACK = 3

#: Each installation is looked at once in this time, whatever its folder's time says.
FULL_ROUND_SECONDS = 3600.0

#: How long after a scan that failed another one is tried, or a period where that is shorter.
RETRY_SECONDS = 30.0

Put = Callable[[ProcessInstallation], Awaitable[bool]]

#: Finds the installations that are wanted and has a job made for each; counts what it did.
Find = Callable[[ListInstallations], Awaitable[Counter[str]]]


def due_installations(
    base: str, period_seconds: float, number: int, before: float
) -> ListInstallations:
    """The installations that cycle `number` looks at; before: when the scan before it began."""
    slots = max(1, round(FULL_ROUND_SECONDS / period_seconds))
    since = before - PERIODS_LOOKED_BACK * period_seconds
    return ListInstallations(base, (), since, number % slots, slots)


async def scan(pool: Pool, which: ListInstallations, put: Put) -> Counter[str]:
    """Put a job for each installation that `which` (its user_ids aside) wants; counts them.

    Raises CannotStart where the reports cannot be listed.
    """
    counts: Counter[str] = Counter()
    users = [ids[0] for ids in (await _listing(pool, ListUsers(which.base))).rows]
    for at in range(0, len(users), USERS_PER_JOB):
        job = replace(which, user_ids=tuple(users[at : at + USERS_PER_JOB]))
        found = await _installations(pool, job)
        taken = await asyncio.gather(*(put(_job(which.base, *ids)) for ids in found))
        counts["installations_queued"] += sum(taken)
        counts["installations_skipped"] += len(taken) - sum(taken)
    return +counts


def _job(base: str, user_id: int, installation_id: int) -> ProcessInstallation:
    path = os.path.join(base, str(user_id), str(installation_id))
    return ProcessInstallation(path, user_id, installation_id)


async def _listing(pool: Pool, job: ListUsers) -> JobResult:
    done = await pool.submit(job)
    if done.failure:
        raise errors.CannotStart(done.failure)
    return done


async def _installations(pool: Pool, job: ListInstallations) -> list[tuple[int, ...]]:
    """What the job finds; a user whose folder ends or holds up workers is left out (an error).

    Raises CannotStart where no user's folder can be listed.
    """
    done = await pool.submit(job)
    if not done.failure:
        return list(done.rows)
    alone = [replace(job, user_ids=(user_id,)) for user_id in job.user_ids]
    each = await asyncio.gather(*map(pool.submit, alone)) if len(alone) > 1 else [done]
    if all(done.failure for done in each):
        raise errors.CannotStart(done.failure)
    for user_id, done in zip(job.user_ids, each, strict=True):
        if done.failure:
            logs.error("user_skipped", user=user_id, reason=done.failure)
    return [ids for done in each for ids in done.rows]


class Scheduler:
    """Runs a cycle whenever one is due."""

    def __init__(
        self,
        settings: Settings,
        find: Find,
        count: Callable[[Mapping[str, int]], object],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._base = settings.reports_base_path
        self._period_seconds = settings.processing_period_minutes * 60.0
        self._find, self._folder = find, settings.schedule_dir
        self._count = count
        self._now = now
        self._last = load(self._folder)
        self._scan: asyncio.Task[None] | None = None
        self._scan_number: int | None = None
        self._scan_started: float | None = None
        self._scan_seconds: float | None = None
        self._not_before = float("-inf")
        self._notices = logs.RateLimiter()

    def tick(self) -> None:
        """Start a cycle if one is due; asked every second."""
        now = self._now()
        number = cycle_number(now, self._period_seconds)
        if self._scan:
            if number != self._scan_number:
                self._scan_number = number
                self._count({"cycles_skipped": 1})
                logs.warning("cycle_skipped", cycle=number, reason="the scan before still runs")
        elif is_due(self._last, now, self._period_seconds) and time.monotonic() > self._not_before:
            self._scan_number, self._scan_started = number, now
            self._scan = tasks.start(self._cycle(number, now), "scan")

    async def stop(self) -> None:
        """Start no cycle any more, and give up the one that is running."""
        if self._scan:
            await tasks.end(self._scan)

    def view(self) -> CycleView:
        """Where the schedule stands."""
        last, period = self._last, self._period_seconds
        due = (cycle_number(last.started, period) + 1) * period if last else None
        return CycleView(
            number=last.number if last else None,
            scanned=last.started if last else None,
            scan_seconds=self._scan_seconds,
            scanning_since=self._scan_started if self._scan else None,
            next_due=due,
        )

    async def _cycle(self, number: int, started: float) -> None:
        """One scan; one that fails is tried again after a pause, whatever it failed of."""
        try:
            await self._scan_all(number, started)
        except Exception as error:  # noqa: BLE001 - the error is logged, and the scan is tried again
            self._count({"cycles_failed": 1})
            self._not_before = time.monotonic() + min(RETRY_SECONDS, self._period_seconds)
            self._tell_of(error, number)
        else:
            self._notices = logs.RateLimiter()
        finally:
            self._scan = None

    def _tell_of(self, error: Exception, number: int) -> None:
        """Log a failed scan, once an hour for the same reason until a scan succeeds."""
        log, event, now = self._notices.log, "scan_failed", time.monotonic()
        if isinstance(error, errors.CannotStart | errors.BrokerError):
            reason = error.detail or str(error)
            log(logs.error, event, reason, now=now, cycle=number, reason=reason)
        else:
            failure = partial(logs.failure, problem=error)
            log(failure, event, type(error).__name__, now=now, cycle=number)

    async def _scan_all(self, number: int, started: float) -> None:
        """Scan; it counts as done, and is remembered, only when it has come to its end."""
        begun = time.monotonic()
        found = await self._find(self._wanted(number, started))
        self._scan_seconds = time.monotonic() - begun
        self._last = LastScan(number, self._period_seconds, started)
        save(self._folder, self._last)
        self._count({"cycles": 1, **found})
        logs.info("cycle_scanned", cycle=number, seconds=round(self._scan_seconds, 3), **found)

    def _wanted(self, number: int, started: float) -> ListInstallations:
        """Which installations are worth a job in this cycle."""
        before = min(self._last.started, started) if self._last else started
        return due_installations(self._base, self._period_seconds, number, before)
