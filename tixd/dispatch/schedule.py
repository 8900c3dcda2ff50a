"""When a cycle is due: cycle numbers, the tick, and what is remembered over a restart.

In: the wall clock and a monotonic one. Out: the number of a cycle, when it is due. Rules: a cycle's
number is floor(epoch / period), so no local time is involved; a cycle is due when the number
differs from the stored one: a missed cycle runs at once, once. The number is stored when the scan
has completed. `schedule` looks at the naive wall clock, so its tick is armed anew whenever wall and
monotonic clock part, or the UTC offset changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime

import orjson
import schedule

from tixd import errors, logs
from tixd.directory import Folder

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
    except errors.Vanished:
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
