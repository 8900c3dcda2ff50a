"""What a running role answers on its control socket.

In: requests of `tixd status`, `tixd health` and `tixd failed`, a pool. Out: JSON objects.
Rules: the status comes from memory; the volume is touched by jobs of the pool alone, some hundred
installations each, so that other jobs have their turn between.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tixd import errors
from tixd.jobs import (
    Job,
    JobResult,
    ListFailed,
    ListInstallations,
    ListUsers,
    ProcessInstallation,
    RetryFailed,
    describe,
)
from tixd.pool.pool import Pool
from tixd.runtime.control_server import Command
from tixd.runtime.status import Snapshot, WorkerView

#: Users, or installations, that one job looks at.
BATCH = 200


def commands(pool: Pool, base: str, snapshot: Callable[[], Snapshot]) -> dict[str, Command]:
    """The requests that a role with workers answers, by their words."""
    answers = _Answers(pool, base, snapshot)
    return {
        "GET /status": answers.status,
        "GET /failed": answers.failed_list,
        "POST /failed/retry": answers.failed_retry,
    }


def status_alone(snapshot: Callable[[], Snapshot]) -> dict[str, Command]:
    """The handlers of a process without workers: one that stands by."""

    async def status(_: Mapping[str, str]) -> object:
        return _in_full(snapshot())

    return {"GET /status": status}


def _in_full(now: Snapshot) -> dict[str, Any]:
    return {**asdict(now), "not_ready": now.not_ready()}


class _Answers:
    def __init__(self, pool: Pool, base: str, snapshot: Callable[[], Snapshot]) -> None:
        self._pool, self._base, self._snapshot = pool, base, snapshot

    async def status(self, _: Mapping[str, str]) -> object:
        """The snapshot, and why the role is not ready."""
        return _in_full(self._snapshot())

    async def failed_list(self, request: Mapping[str, str]) -> object:
        """What waits, of one user or installation or of all."""
        members = ("user", "installation", "waiting", "oldest", "paused_until", "rejected")
        done = await self._each(ListFailed, request)
        rows = [
            {**dict(zip(members, row, strict=True)), "reason": reason}
            for row, reason in zip(done.rows, done.reasons, strict=True)
        ]
        return {"moment": time.time(), "installations": rows, **done.counts}

    async def failed_retry(self, request: Mapping[str, str]) -> object:
        """Bring back what was rejected, and end pauses."""
        members = ("user", "installation", "brought_back")
        done = await self._each(RetryFailed, request)
        rows = [dict(zip(members, row, strict=True)) for row in done.rows]
        return {"installations": rows, **done.counts}

    async def _each(
        self, kind: type[ListFailed] | type[RetryFailed], request: Mapping[str, str]
    ) -> JobResult:
        """Such jobs for all installations that the request means, as if they were one."""
        counts = Counter({"locked": 0, "failed": 0})
        found: list[tuple[int, ...]] = []
        reasons: list[str] = []
        for batch in _batches(await self._meant(request)):
            done = await self._job(kind(self._base, tuple(batch)))
            counts.update(done.counts)
            found += done.rows
            reasons += done.reasons
        return JobResult(counts, rows=tuple(found), reasons=tuple(reasons))

    async def _meant(self, request: Mapping[str, str]) -> list[tuple[int, ...]]:
        if unknown := request.keys() - {"user", "installation"}:
            raise ValueError(f"{min(unknown)}: must be user or installation")
        user, installation = _number(request, "user"), _number(request, "installation")
        if installation and not user:
            raise ValueError("an installation needs its user")
        users = [(user,)] if user else (await self._job(ListUsers(self._base))).rows
        found: list[tuple[int, ...]] = []
        for batch in _batches(users):
            ids = tuple(user_id for (user_id,) in batch)
            found += (await self._job(ListInstallations(self._base, ids))).rows
        if installation:
            found = [ids for ids in found if ids == (user, installation)]
        if user and not found:
            which = f"installation {installation}" if installation else "installation"
            raise errors.NotDone(f"no {which} of user {user} is seen in {self._base}")
        return found

    async def _job(self, job: Job) -> JobResult:
        done = await self._pool.submit(job)
        if done.failure:
            raise errors.NotDone(done.failure)
        if "jobs_not_begun" in done.counts or "jobs_not_finished" in done.counts:
            raise errors.NotDone("it is stopping")
        return done


def worker_views(pool: Pool) -> tuple[WorkerView, ...]:
    """What each worker of the pool does, for a snapshot."""
    now = time.monotonic()
    return tuple(
        WorkerView(
            pid=worker.pid,
            ready=worker.ready,
            job=describe(worker.job) if worker.job else "",
            phase=worker.phase.name if worker.phase else "",
            seconds=now - worker.since,
            busy=isinstance(worker.job, ProcessInstallation),
        )
        for worker in pool.workers
    )


def _batches(rows: Sequence[tuple[int, ...]]) -> Iterator[Sequence[tuple[int, ...]]]:
    return (rows[at : at + BATCH] for at in range(0, len(rows), BATCH))


def _number(request: Mapping[str, str], name: str) -> int | None:
    """A positive id, or None where the request has none."""
    text = request.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise ValueError(f"{name} must be a positive number")
    return int(text)
