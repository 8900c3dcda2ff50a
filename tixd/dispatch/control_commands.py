"""The commands about failed results that a role with workers answers on its control socket.

Rules: only jobs of the pool touch the volume, some hundred installations each, so that other jobs
get their turn in between; `tixd once` counts with them, and loads no HTTP server for that.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tixd import errors
from tixd.jobs import (
    Job,
    JobResult,
    ListFailed,
    ListInstallations,
    ListUsers,
    ProcessInstallation,
    RetryFailed,
)
from tixd.pool.pool import Pool

if TYPE_CHECKING:
    from tixd.runtime.control_server import Command

#: Users, or installations, that one job looks at.
BATCH = 200


#: Longest time for which results are posted at once; the rest is left to the next cycles.
MAX_AT_ONCE_SECONDS = 300.0


def failed_commands(
    pool: Pool,
    base: str,
    next_cycle: Callable[[], float | None] = lambda: None,
    on_job_done: Callable[[JobResult], object] = lambda _: None,
) -> dict[str, Command]:
    """Return the commands that list and retry results, by method and path.

    next_cycle: the epoch second of the next one, where it is known; on_job_done: called with what
    became of each job that posts at once.
    """
    results = _FailedResults(pool, base, next_cycle, on_job_done)
    return {"GET /failed": results.list_, "POST /failed/retry": results.retry}


async def count_waiting(pool: Pool, base: str) -> int:
    """Count the results that wait in failed-results, of all installations; raises NotDone."""
    done = await _FailedResults(pool, base).for_each(ListFailed, {})
    return sum(waiting for _, _, waiting, *_ in done.rows)


class _FailedResults:
    def __init__(
        self,
        pool: Pool,
        base: str,
        next_cycle: Callable[[], float | None] = lambda: None,
        on_job_done: Callable[[JobResult], object] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._base = base
        self._next_cycle = next_cycle
        self._on_job_done = on_job_done

    async def list_(self, request: Mapping[str, str]) -> object:
        """List what is kept, of one user or installation or of all."""
        rows, counts = await self._kept(request)
        return {"moment": time.time(), "installations": rows, **counts}

    async def _kept(
        self, request: Mapping[str, str]
    ) -> tuple[list[dict[str, Any]], Mapping[str, int]]:
        members = ("user", "installation", "waiting", "oldest", "paused_until", "rejected")
        done = await self.for_each(ListFailed, request)
        cycle = self._next_cycle()
        rows: list[dict[str, Any]] = []
        for row, reason in zip(done.rows, done.reasons, strict=True):
            found: dict[str, Any] = dict(zip(members, row, strict=True))
            tried = max(found["paused_until"], cycle or 0) if found["waiting"] else 0
            rows.append({**found, "reason": reason, "next_try": tried})
        return rows, done.counts

    async def retry(self, request: Mapping[str, str]) -> object:
        """Bring back what was rejected, and end pauses; with `now` post what is kept at once."""
        at_once = {name: text for name, text in request.items() if name == "now"}
        request = {name: text for name, text in request.items() if name not in at_once}
        members = ("user", "installation", "brought_back")
        done = await self.for_each(RetryFailed, request)
        rows = [dict(zip(members, row, strict=True)) for row in done.rows]
        answer = {"installations": rows, **done.counts}
        return {**answer, **await self._post_at_once(request)} if at_once else answer

    async def _post_at_once(self, request: Mapping[str, str]) -> dict[str, Any]:
        """Visit every installation with kept results, as many at a time as there are workers."""
        before, _ = await self._kept(request)
        ids: list[tuple[int, ...]] = [
            (row["user"], row["installation"]) for row in before if row["waiting"]
        ]
        deadline = time.monotonic() + MAX_AT_ONCE_SECONDS
        for batch in _batches(ids, self._pool.size):
            if time.monotonic() > deadline:
                break
            await asyncio.gather(*(self._visit(one, deadline) for one in batch))
        after, _ = await self._kept(request)
        kept = [row for row in after if row["waiting"]]
        count = sum(row["waiting"] for row in before)
        return {"posted": max(0, count - sum(row["waiting"] for row in kept)), "kept": kept}

    async def _visit(self, ids: tuple[int, ...], deadline: float) -> None:
        """Do the installation's work now, until nothing is left that can be done."""
        user, installation = ids
        path = os.path.join(self._base, str(user), str(installation))
        job = ProcessInstallation(path, user, installation, at_once=True)
        has_more = True
        while has_more and time.monotonic() < deadline:
            done = await self._job(job)
            self._on_job_done(done)
            has_more = done.has_more

    async def for_each(
        self, kind: type[ListFailed] | type[RetryFailed], request: Mapping[str, str]
    ) -> JobResult:
        """Do such jobs for all installations that the request names, as if they were one."""
        counts = Counter({"locked": 0, "failed": 0})
        found: list[tuple[int, ...]] = []
        reasons: list[str] = []
        for batch in _batches(await self._installations(request)):
            done = await self._job(kind(self._base, tuple(batch)))
            counts.update(done.counts)
            found += done.rows
            reasons += done.reasons
        return JobResult(counts, rows=tuple(found), reasons=tuple(reasons))

    async def _installations(self, request: Mapping[str, str]) -> list[tuple[int, ...]]:
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
            raise errors.NotDone(f"no {which} of user {user} is in {self._base}")
        return found

    async def _job(self, job: Job) -> JobResult:
        done = await self._pool.submit(job)
        if done.failure:
            raise errors.NotDone(done.failure)
        if "jobs_not_begun" in done.counts or "jobs_not_finished" in done.counts:
            raise errors.NotDone("it is stopping")
        return done


def _batches(
    rows: Sequence[tuple[int, ...]], size: int = BATCH
) -> Iterator[Sequence[tuple[int, ...]]]:
    return (rows[at : at + size] for at in range(0, len(rows), size))


def _number(request: Mapping[str, str], name: str) -> int | None:
    """Return a positive id, or None where the request has none."""
    text = request.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise ValueError(f"{name} must be a positive number")
    return int(text)
