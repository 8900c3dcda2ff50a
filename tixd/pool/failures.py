"""Retry policy for jobs that failed or whose worker ended; lack of memory is not a crash.

A crash counts against the current window (before one is chosen: against the file being read). After
three, its reports are quarantined. Kills from outside, lack of memory, posting, and waiting for the
tix-api or the disk never count; three in a row make the installation wait. Pure.
"""

from __future__ import annotations

import errno
import signal
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

from tixd.bounded import forget_oldest
from tixd.jobs import Phase, PhaseName, ProcessInstallation
from tixd.runtime.retry import Retry

#: After this many failures of one kind a job is not simply tried again.
MAX_FAILURES = 3

#: Waits of an installation whose workers were killed from outside, or whose reports crash workers
#: and cannot be quarantined.
RETRY = Retry(3600.0, 24 * 3600.0)

#: Waits of an installation whose jobs said that they lack memory or descriptors: three can do so in
#: one moment, in a worker that is short of them.
LACKING_RETRY = Retry(60.0, 3600.0)

#: An analysis that used more CPU than this before its time was up counts as a crash.
BLAMED_CPU_NS = 60 * 10**9

#: Signals that a process gets for its own faults.
_OWN_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE})

#: At most this many installations, and causes in each, are remembered; then the oldest go.
MAX_REMEMBERED = 10_000

#: Phases in which a failure is never the reports' fault.
_POSTING = frozenset[PhaseName](("repost", "post"))

#: In place of reports: failures of jobs that were not isolated count against all reports.
_ANY_REPORTS = None

#: Numbers of an OSError that mean lack of memory, processes or descriptors.
_NUMBERS = frozenset({errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE})

#: How RuntimeError and ImportError word it: threading, the dynamic linker.
_WORDS = ("can't start new thread", "failed to map segment", "cannot allocate memory")

Cause = Literal["exit", "signal", "time", "exception", "memory"]

#: User and installation.
_Ids = tuple[int, int]


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """How a worker, or its job, ended.

    number: exit code (cause exit), signal number (cause signal), else 0; phase: what it was doing;
    cpu_ns: CPU time used since that phase began (cause time).
    """

    cause: Cause
    number: int
    phase: Phase | None
    cpu_ns: int = 0

    @property
    def blames_reports(self) -> bool:
        """Whether the reports can have caused it."""
        if self.phase is not None and self.phase.name in _POSTING:
            return False
        match self.cause:
            case "exit":
                return self.number != 0
            case "signal":
                return self.number in _OWN_SIGNALS
            case "time":
                analysing = self.phase is not None and self.phase.name == "analyse"
                return analysing and self.cpu_ns > BLAMED_CPU_NS
            case "exception":
                return True
            case "memory":
                return False


class FailurePolicy:
    """Decides what becomes of a failed job, by what it remembers of each installation."""

    def __init__(self) -> None:
        self._crashes: dict[_Ids, Counter[int | None]] = {}
        self._kills: Counter[_Ids] = Counter()
        self._waits: dict[_Ids, tuple[float, int]] = {}

    def next_try(
        self, job: ProcessInstallation, end: WorkerExit, now: float
    ) -> ProcessInstallation | None:
        """Return the job to try next, or None where the installation has to wait.

        now: monotonic seconds.
        """
        if end.blames_reports:
            return self._after_crash(job, end.phase.names if end.phase else (), now)
        if end.cause == "exit" and end.phase is None:
            return job  # the worker was asked to end before it began
        return self._after_kill(job, now, LACKING_RETRY if end.cause == "memory" else RETRY)

    def _after_crash(
        self, job: ProcessInstallation, names: tuple[str, ...], now: float
    ) -> ProcessInstallation | None:
        """Try again in isolation; the third time, quarantine the current reports.

        Only with an isolated job it is certain which they were.
        """
        ids = _ids(job)
        crashes = self._crashes.setdefault(ids, Counter())
        crashes[hash(names) if job.isolated else _ANY_REPORTS] += 1
        forget_oldest(crashes, MAX_REMEMBERED)
        forget_oldest(self._crashes, MAX_REMEMBERED)
        if not job.isolated or crashes[hash(names)] + crashes[_ANY_REPORTS] < MAX_FAILURES:
            return replace(job, isolated=True)
        del self._crashes[ids]
        if not names or names == job.crashers:  # nothing to quarantine, or it could not be done
            self._back_off(ids, now, RETRY)
            return None
        return replace(job, crashers=names)

    def _after_kill(
        self, job: ProcessInstallation, now: float, retry: Retry
    ) -> ProcessInstallation | None:
        """Try again; after several kills in a row, make the installation wait."""
        ids = _ids(job)
        self._kills[ids] += 1
        forget_oldest(self._kills, MAX_REMEMBERED)
        if self._kills[ids] < MAX_FAILURES:
            return job
        self._back_off(ids, now, retry)
        return None

    def is_waiting(self, job: ProcessInstallation, now: float) -> bool:
        """Return whether no job of the installation is to be begun yet."""
        until, _ = self._waits.get(_ids(job), (now, 0))
        return now < until

    def forget(self, job: ProcessInstallation) -> None:
        """Forget the installation's failures: a window of it was finished."""
        self._crashes.pop(_ids(job), None)
        self._kills.pop(_ids(job), None)
        self._waits.pop(_ids(job), None)

    def _back_off(self, ids: _Ids, now: float, retry: Retry) -> None:
        _, waits = self._waits.get(ids, (0.0, 0))
        self._waits[ids] = (now + retry.pause_seconds(waits + 1), waits + 1)
        forget_oldest(self._waits, MAX_REMEMBERED)
        self._kills.pop(ids, None)


def _ids(job: ProcessInstallation) -> _Ids:
    return job.user_id, job.installation_id


def lacks_memory(error: BaseException | None) -> bool:
    """Return whether the exception, or one that led to it, means lack of memory or the like.

    >>> [lacks_memory(error) for error in (RuntimeError("can't start new thread"), KeyError())]
    [True, False]
    """
    while error:
        if isinstance(error, MemoryError):  # numpy's is one of these
            return True
        if isinstance(error, OSError) and error.errno in _NUMBERS:
            return True
        words = str(error).lower() if isinstance(error, RuntimeError | ImportError) else ""
        if any(word in words for word in _WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False
