"""What the parent makes of a worker's death: whose fault it was, and what happens to the job.

In: how a worker ended and the phase that it was in. Out: a Verdict. Pure: the time is given.
Rules (operations.md §4): a crash counts against the window in hand (before one is chosen: against
the file being read); at the third, the reports of it are set aside. Being killed from outside,
lack of memory, talking with the tix-api, waiting for it or the disk never count; three in a row
only make the installation wait.

Lack of memory, which is never the input's fault.

In: an exception. Out: whether it comes of lack of memory, threads or processes. Rules: a crash
(SIGSEGV, SIGABRT, an exit code) does not tell that it came of it. So a job that is repeated after
such a death first proves, before each phase, that there is room for the largest window. Pure.
"""

from __future__ import annotations

import errno
import mmap
import signal
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

from tixd.bounded import forget_oldest
from tixd.jobs import Phase, PhaseName, ProcessInstallation

#: Deaths of either sort before something other than another try is done.
MOST_DEATHS = 3

#: First wait of an installation whose workers were killed from outside; it doubles each time.
FIRST_WAIT_SECONDS = 3600.0

#: Longest such wait.
LONGEST_WAIT_SECONDS = 24 * 3600.0

#: An analysis that used more CPU than this when its time was up is to blame itself.
BLAMED_CPU_NS = 60 * 10**9

#: Signals that a process gets for its own deeds.
_OWN_SIGNALS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE})

#: So many installations, and causes of deaths in each, are remembered; then the oldest go.
MOST_REMEMBERED = 10_000

#: Phases in which the other side of the line is to blame, and no report.
_POSTING = frozenset[PhaseName](("repost", "post"))

Cause = Literal["exit", "signal", "time", "exception", "memory"]


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
    def counts(self) -> bool:
        """Whether the input is to blame."""
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


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """Give out `job` again, or, where it is None, let the installation wait."""

    job: ProcessInstallation | None


class FailurePolicy:
    """The parent's memory of deaths, by installation and by window."""

    def __init__(self) -> None:
        self._blamed: dict[tuple[int, int], Counter[int | None]] = {}
        self._killed: Counter[tuple[int, int]] = Counter()
        self._waits: dict[tuple[int, int], tuple[float, float]] = {}

    def judge(self, job: ProcessInstallation, death: WorkerExit, now: float) -> RetryDecision:
        """What becomes of the job in whose hands a worker died at `now` (seconds)."""
        who = (job.user_id, job.installation_id)
        if death.counts:
            return self._blame(job, who, death, now)
        if death.cause == "exit" and death.phase is None:
            return RetryDecision(job)  # it was told to end and had not begun: nobody's fault
        return self._excuse(job, who, now)

    def _blame(
        self, job: ProcessInstallation, who: tuple[int, int], death: WorkerExit, now: float
    ) -> RetryDecision:
        """A death that counts: at the third, what was in hand goes out of the way.

        Only a job that goes isolated tells for sure what was in hand. A death before that counts
        (as None) against whatever turns out to be.
        """
        names = death.phase.names if death.phase else ()
        blamed = self._blamed.setdefault(who, Counter())
        blamed[hash(names) if job.isolated else None] += 1
        forget_oldest(blamed, MOST_REMEMBERED)
        forget_oldest(self._blamed, MOST_REMEMBERED)
        if not job.isolated or blamed[hash(names)] + blamed[None] < MOST_DEATHS:
            return RetryDecision(replace(job, isolated=True))
        del self._blamed[who]
        if not names or names == job.quarantine:  # nothing to set aside, or it could not be done
            return self._wait(who, now)
        return RetryDecision(replace(job, quarantine=names))

    def _excuse(self, job: ProcessInstallation, who: tuple[int, int], now: float) -> RetryDecision:
        """A death that does not count: again, but not for ever in a row."""
        self._killed[who] += 1
        forget_oldest(self._killed, MOST_REMEMBERED)
        return RetryDecision(job) if self._killed[who] < MOST_DEATHS else self._wait(who, now)

    def waits(self, job: ProcessInstallation, now: float) -> bool:
        """Whether the installation is to be left alone for now."""
        until, _ = self._waits.get((job.user_id, job.installation_id), (now, 0.0))
        return now < until

    def finished_window(self, job: ProcessInstallation) -> None:
        """A window came through: what was held against the installation is forgotten."""
        who = (job.user_id, job.installation_id)
        self._blamed.pop(who, None)
        self._killed.pop(who, None)
        self._waits.pop(who, None)

    def _wait(self, who: tuple[int, int], now: float) -> RetryDecision:
        _, last_seconds = self._waits.get(who, (0.0, FIRST_WAIT_SECONDS / 2))
        wait_seconds = min(2 * last_seconds, LONGEST_WAIT_SECONDS)
        self._waits[who] = (now + wait_seconds, wait_seconds)
        forget_oldest(self._waits, MOST_REMEMBERED)
        self._killed.pop(who, None)
        return RetryDecision(None)


#: Address space that is free before each phase of a repeated job. The largest window takes 25 MB
#: (measured with 117,000 observations), its largest report 16 MB.
RESERVE_BYTES = 64 * 2**20

#: Numbers of an OSError that mean lack of memory, processes or descriptors.
_NUMBERS = frozenset({errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE})

#: What RuntimeError and ImportError say of it: threading, the dynamic linker.
_WORDS = ("can't start new thread", "failed to map segment", "cannot allocate memory")


def is_lack(error: BaseException | None) -> bool:
    """Whether the exception, or one that led to it, comes of lack of memory and the like.

    >>> is_lack(MemoryError()), is_lack(RuntimeError("can't start new thread")), is_lack(KeyError())
    (True, True, False)
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


def prove_room() -> None:
    """Raise MemoryError where the process cannot have RESERVE_BYTES more; takes none of them."""
    try:
        mmap.mmap(-1, RESERVE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        raise MemoryError(f"less than {RESERVE_BYTES >> 20} MiB to be had") from error
