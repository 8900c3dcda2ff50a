"""The messages between parent, queues and workers: jobs and results; and the phases of a job.

Parent to worker: an Assignment for each job. Worker to parent: Ready, then Done for each job, and
Hungry where it could have more of them. What
a worker does meanwhile is on its board (pool/board.py), not in messages. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

#: What a worker does with an installation, in the order of the steps.
PhaseName = Literal["start", "read", "repost", "analyse", "post", "journal", "delete"]

#: Counts of windows that were finished: their reports will not be analysed again.
_FINISHED = frozenset({"windows_posted", "windows_stored", "windows_without_short"})


@dataclass(frozen=True, slots=True)
class ProcessInstallation:
    """Process the reports of one installation.

    crashers: reports that crashed workers before; they are moved to bad-reports first.
    isolated: read a single file at a time, so that after a crash the parent knows which file caused
    it; and begin no phase without enough memory. at_once: an operator asked for it, so the worker
    tries the tix-api although it would wait.
    """

    path: str
    user_id: int
    installation_id: int
    crashers: tuple[str, ...] = ()
    isolated: bool = False
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class ListUsers:
    """List the users that have a folder under the base.

    Rows of the result: (user id,).
    """

    base: str


@dataclass(frozen=True, slots=True)
class ListInstallations:
    """List the installations of these users that are due for a job.

    changed_since: epoch second; an installation whose folder changed later is due; slot, slots: of
    the others, those in `slot` of `slots` are. With one slot all are (reports/scan.py decides).
    Rows: (user id, installation id).
    """

    base: str
    user_ids: tuple[int, ...]
    changed_since: float = 0.0
    slot: int = 0
    slots: int = 1


@dataclass(frozen=True, slots=True)
class CheckVolume:
    """Check that the reports can be listed, and how many bytes are free there.

    One row: bytes, and where an AS table is set the epoch second it was built, 0 if it is unusable.
    """

    base: str


@dataclass(frozen=True, slots=True)
class ListFailed:
    """List the kept results of these (user, installation) pairs.

    Rows, for those that have any: (user, installation, kept results, timestamp of the oldest or 0,
    epoch second until which they wait or 0, rejected results); reasons: why they wait.
    """

    base: str
    installations: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class RetryFailed:
    """Keep rejected results of these (user, installation) pairs again, and end their pauses.

    Rows: (user, installation, results restored); counts: "locked" and "failed" pairs.
    """

    base: str
    installations: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """Report that a worker has started and can be given a job."""

    pid: int


@dataclass(frozen=True, slots=True)
class Phase:
    """What a job begins next, so that the parent knows where an exit happened.

    window: first second of the current window, None before one is chosen; names: its reports, on
    the board as many as fit; cpu_ns: CPU time that the worker process has used so far;
    has_finished_window: the job has finished a window before.
    """

    name: PhaseName
    window: int | None
    names: tuple[str, ...]
    cpu_ns: int
    has_finished_window: bool = False


@dataclass(frozen=True, slots=True)
class JobResult:
    """Report how a job ended.

    counts: what happened, by name; has_more: there is work left, queue the job again; rows: as each
    kind of job documents; reasons: a text for each row; failure: an unexpected exception; phase:
    the one in which it was raised; lacks_memory: it is lack of memory or the like;
    unposted_reason: why the tix-api accepts no results, "" where it does; record: what the history
    is told (job_record.py), or "".
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    has_more: bool = False
    rows: tuple[tuple[int, ...], ...] = ()
    failure: str = ""
    unposted_reason: str = ""
    lacks_memory: bool = False
    reasons: tuple[str, ...] = ()
    record: str = ""
    phase: Phase | None = None

    @property
    def has_finished_window(self) -> bool:
        """Whether the job has finished a window, be it before it failed."""
        before = self.phase is not None and self.phase.has_finished_window
        return before or not _FINISHED.isdisjoint(self.counts)


Job = ProcessInstallation | ListUsers | ListInstallations | CheckVolume | ListFailed | RetryFailed


@dataclass(frozen=True, slots=True)
class Assignment:
    """Give a worker a job; number: what its result and the worker's board will call it, from 1."""

    number: int
    job: Job


@dataclass(frozen=True, slots=True)
class Done:
    """Return the result of the job with this number; its place is free for the next one."""

    number: int
    result: JobResult


@dataclass(frozen=True, slots=True)
class Hungry:
    """Ask for more jobs: all that the worker has wait for the tix-api."""


Message = Assignment | Ready | Done | Hungry

#: Descriptions, for users, of the jobs that process no installation.
_WORDS: Mapping[type[Job], str] = MappingProxyType(
    {
        ListUsers: "looking for installations",
        ListInstallations: "looking for installations",
        CheckVolume: "checking the volume",
        ListFailed: "listing kept results",
        RetryFailed: "bringing back rejected results",
    }
)


def describe(job: Job) -> str:
    """Return a description of a job for users."""
    if isinstance(job, ProcessInstallation):
        return f"installation {job.user_id}/{job.installation_id}"
    return _WORDS[type(job)]
