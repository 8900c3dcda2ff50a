"""Start a scan each period, and put a job for each installation that is due into the queue.

A cycle is one scan; its number is floor(epoch / period), so no local time is involved. It is due
when the number differs from that of the last completed scan, which is remembered over a restart:
after missed cycles one runs at once. While a scan still runs, the next cycle is skipped; an
installation whose job is still open is skipped alone (both are counted). An installation is due if
its folder changed since 3 periods before the last scan began, if it has kept results, and once an
hour in any case (reports/scan.py). Only jobs of the pool touch the reports volume, so a volume that
hangs blocks nothing here.
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

from tixd import bounded, errors, logs
from tixd.config.settings import Settings
from tixd.directory import Folder
from tixd.history.cycles import Cycle
from tixd.jobs import ListInstallations, ListUsers, ProcessInstallation
from tixd.pool.pool import Pool
from tixd.queues.base import JobSink
from tixd.runtime import tasks
from tixd.runtime.status import CycleView

#: File in the schedule folder that remembers the last completed scan.
STATE_FILE = "tixd-schedule.json"

#: Version of that file; a file of another one counts as absent.
FORMAT = 1

#: How often the scheduler checks whether a cycle is due.
TICK_SECONDS = 1

#: The clock was changed when wall and monotonic clock have parted by more than this.
PARTED_SECONDS = 2.0

#: A longer state file is not one of tixd.
_MAX_BYTES = 4096

#: Users whose installations one job lists, so that other jobs get a turn between.
USERS_PER_JOB = 100

#: An installation is due if its folder changed since this many periods before the last scan.
PERIODS_LOOKED_BACK = 3

#: Each installation is due once in this time, even if its folder has not changed.
FULL_ROUND_SECONDS = 3600.0

#: Pause after a scan that failed, or a period where that is shorter.
RETRY_SECONDS = 30.0

#: Queues a job for each installation that such a listing finds; returns counts.
QueueInstallations = Callable[[ListInstallations], Awaitable[Counter[str]]]


@dataclass(frozen=True, slots=True)
class LastScan:
    """The last completed scan: number of its cycle, period, and when it began (epoch seconds)."""

    number: int
    period_seconds: float
    started: float


def cycle_number(now: float, period_seconds: float) -> int:
    """Return the number of the cycle that the epoch second `now` lies in.

    >>> cycle_number(1200.0, 600.0), cycle_number(1199.9, 600.0)
    (2, 1)
    """
    return int(now // period_seconds)


def is_due(last: LastScan | None, now: float, period_seconds: float) -> bool:
    """Return whether the cycle that `now` lies in has not been scanned yet.

    The number of the last scan is computed anew, because the period can have been changed since.
    """
    if last is None:
        return True
    return cycle_number(now, period_seconds) != cycle_number(last.started, period_seconds)


def load_last_scan(path: str) -> LastScan | None:
    """Read the last completed scan; None where there is none, or (with a warning) no usable one."""
    try:
        with Folder(path, follow=True) as folder:
            return _parse(folder.load(STATE_FILE, _MAX_BYTES))
    except errors.NotFound:
        return None
    except (errors.VolumeError, ValueError, TypeError, KeyError) as error:
        logs.warning("schedule_unreadable", folder=path, reason=str(error))
        return None


def _parse(content: bytes) -> LastScan:
    """Parse a state file; raises ValueError, TypeError or KeyError."""
    members = orjson.loads(content)
    if not isinstance(members, dict) or members["format"] != FORMAT:
        raise ValueError("not a state file of this version")
    period_seconds = float(members["period_seconds"])
    if period_seconds <= 0:
        raise ValueError("a period must be positive")
    return LastScan(int(members["number"]), period_seconds, float(members["started"]))


def save_last_scan(path: str, last: LastScan) -> None:
    """Write the last completed scan; where that fails, a restart repeats the cycle."""
    try:
        with Folder(path, follow=True) as folder:
            folder.write(STATE_FILE, orjson.dumps({"format": FORMAT, **asdict(last)}))
    except errors.VolumeError as error:
        logs.error("schedule_not_stored", folder=path, reason=str(error))


class Tick:
    """Calls a function once a second, whatever the clock does.

    The `schedule` library uses the naive wall clock, so its job is armed anew whenever wall and
    monotonic clock part, or the UTC offset changes.
    """

    def __init__(
        self,
        function: Callable[[], None],
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._function = function
        self._wall = wall
        self._steady = steady
        self._scheduler = schedule.Scheduler()
        self._arm()

    def run_pending(self) -> None:
        """Call the function if a second is over; to be called about once a second."""
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
        """Return how far wall and monotonic clock, and local time and UTC, are apart (seconds)."""
        wall = self._wall()
        offset = datetime.fromtimestamp(wall).astimezone().utcoffset()
        return wall - self._steady(), offset.total_seconds() if offset else 0.0

    def _clocks_parted(self) -> bool:
        apart, offset = self._clocks()
        apart_then, offset_then = self._armed_at
        return abs(apart - apart_then) > PARTED_SECONDS or offset != offset_then


def listing_job(base: str, period_seconds: float, number: int, before: float) -> ListInstallations:
    """Return the job that lists the installations that are due in cycle `number`.

    before: epoch second when the scan before it began.
    """
    slots = max(1, round(FULL_ROUND_SECONDS / period_seconds))
    since = before - PERIODS_LOOKED_BACK * period_seconds
    return ListInstallations(base, (), since, number % slots, slots)


async def queue_installations(
    pool: Pool, listing: ListInstallations, queue: JobSink
) -> Counter[str]:
    """Queue a job for each installation that `listing` finds, among all users; return counts.

    Raises CannotStart where the reports cannot be listed.
    """
    counts: Counter[str] = Counter()
    users = [ids[0] for ids in await _rows(pool, ListUsers(listing.base))]
    for at in range(0, len(users), USERS_PER_JOB):
        part = replace(listing, user_ids=tuple(users[at : at + USERS_PER_JOB]))
        found = await _installations(pool, part)
        queued = await asyncio.gather(*(queue.put(_job(listing.base, *ids)) for ids in found))
        counts["installations_queued"] += sum(queued)
        counts["installations_skipped"] += len(queued) - sum(queued)
    return +counts


def _job(base: str, user_id: int, installation_id: int) -> ProcessInstallation:
    path = os.path.join(base, str(user_id), str(installation_id))
    return ProcessInstallation(path, user_id, installation_id)


async def _rows(pool: Pool, job: ListUsers) -> tuple[tuple[int, ...], ...]:
    result = await pool.submit(job)
    if result.failure:
        raise errors.CannotStart(result.failure)
    return result.rows


async def _installations(pool: Pool, job: ListInstallations) -> list[tuple[int, ...]]:
    """List installations; omit, with an error, users whose folder crashes or hangs workers.

    Raises CannotStart where no user's folder can be listed.
    """
    result = await pool.submit(job)
    if not result.failure:
        return list(result.rows)
    alone = [replace(job, user_ids=(user_id,)) for user_id in job.user_ids]
    each = await asyncio.gather(*map(pool.submit, alone)) if len(alone) > 1 else [result]
    if all(one.failure for one in each):
        raise errors.CannotStart(result.failure)
    for user_id, one in zip(job.user_ids, each, strict=True):
        if one.failure:
            logs.error("user_skipped", user=user_id, reason=one.failure)
    return [ids for one in each for ids in one.rows]


class Scheduler:
    """Runs a scan whenever a cycle is due."""

    def __init__(
        self,
        settings: Settings,
        queue_installations: QueueInstallations,
        count: Callable[[Mapping[str, int]], object],
        now: Callable[[], float] = time.time,
        note: Callable[[Cycle], object] = lambda _: None,
    ) -> None:
        """Make it. count: adds counts; note: is told of each cycle at its begin and its end."""
        self._note = note
        self._base = settings.reports_base_path
        self._period_seconds = settings.processing_period_minutes * 60.0
        self._folder = settings.schedule_dir
        self._queue_installations = queue_installations
        self._count = count
        self._now = now
        self._last = load_last_scan(self._folder)
        self._scan: asyncio.Task[None] | None = None
        self._scan_number: int | None = None
        self._scan_started: float | None = None
        self._scan_seconds: float | None = None
        self._not_before = float("-inf")
        self._notices = logs.RateLimiter()

    def tick(self) -> None:
        """Start a scan if a cycle is due; to be called every second."""
        now = self._now()
        number = cycle_number(now, self._period_seconds)
        if self._scan:
            if number != self._scan_number:
                self._scan_number = number
                self._count({"cycles_skipped": 1})
                logs.warning("cycle_skipped", cycle=number, reason="the scan before still runs")
        elif is_due(self._last, now, self._period_seconds) and time.monotonic() > self._not_before:
            self._scan_number = number
            self._scan_started = now
            self._scan = tasks.start(self._cycle(number, now), "scan")

    async def stop(self) -> None:
        """Give up the scan that is running."""
        if self._scan:
            await tasks.end(self._scan)

    def view(self) -> CycleView:
        """Return where the schedule stands."""
        last = self._last
        period = self._period_seconds
        due = (cycle_number(last.started, period) + 1) * period if last else None
        return CycleView(
            number=last.number if last else None,
            scanned=last.started if last else None,
            scan_seconds=self._scan_seconds,
            scanning_since=self._scan_started if self._scan else None,
            next_due=due,
        )

    async def _cycle(self, number: int, started: float) -> None:
        """Scan; after a failure of any kind, allow another try after a pause."""
        self._note(Cycle(started, number))
        try:
            await self._scan_all(number, started)
        except Exception as error:  # noqa: BLE001 - the error is logged, and the scan is tried again
            self._count({"cycles_failed": 1})
            self._not_before = time.monotonic() + min(RETRY_SECONDS, self._period_seconds)
            self._log_failure(error, number)
            self._note(Cycle(started, number, reason=bounded.error(error)))
        else:
            self._notices = logs.RateLimiter()
        finally:
            self._scan = None

    def _log_failure(self, error: Exception, number: int) -> None:
        """Log a failed scan, once an hour for the same reason until a scan succeeds."""
        log = self._notices.log
        event = "scan_failed"
        now = time.monotonic()
        if isinstance(error, errors.CannotStart | errors.BrokerError):
            reason = error.detail or str(error)
            log(logs.error, event, reason, now=now, cycle=number, reason=reason)
        else:
            failure = partial(logs.failure, problem=error)
            log(failure, event, type(error).__name__, now=now, cycle=number)

    async def _scan_all(self, number: int, started: float) -> None:
        """Scan; only a completed scan is remembered."""
        begun = time.monotonic()
        before = min(self._last.started, started) if self._last else started
        listing = listing_job(self._base, self._period_seconds, number, before)
        counts = await self._queue_installations(listing)
        self._scan_seconds = time.monotonic() - begun
        self._last = LastScan(number, self._period_seconds, started)
        save_last_scan(self._folder, self._last)
        self._count({"cycles": 1, **counts})
        queued = counts["installations_queued"]
        due = queued + counts["installations_skipped"]
        self._note(Cycle(started, number, self._scan_seconds, due, queued))
        logs.info("cycle_scanned", cycle=number, seconds=round(self._scan_seconds, 3), **counts)
