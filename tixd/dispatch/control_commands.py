"""The commands about failed results that a role with workers answers on its control socket.

Rules: only jobs of the pool touch the volume, some hundred installations each, so that other jobs
get their turn in between; `tixd once` counts with them, and loads no HTTP server for that.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tixd import errors
from tixd.jobs import (
    Job,
    JobResult,
    ListFailed,
    ListInstallations,
    ListUsers,
    RetryFailed,
)
from tixd.pool.pool import Pool

if TYPE_CHECKING:
    from tixd.runtime.control_server import Command

#: Users, or installations, that one job looks at.
BATCH = 200


def failed_commands(pool: Pool, base: str) -> dict[str, Command]:
    """Return the commands that list and retry results, by method and path."""
    results = _FailedResults(pool, base)
    return {"GET /failed": results.list_, "POST /failed/retry": results.retry}


async def count_waiting(pool: Pool, base: str) -> int:
    """Count the results that wait in failed-results, of all installations; raises NotDone."""
    done = await _FailedResults(pool, base).for_each(ListFailed, {})
    return sum(waiting for _, _, waiting, *_ in done.rows)


class _FailedResults:
    def __init__(self, pool: Pool, base: str) -> None:
        self._pool = pool
        self._base = base

    async def list_(self, request: Mapping[str, str]) -> object:
        """List what waits, of one user or installation or of all."""
        members = ("user", "installation", "waiting", "oldest", "paused_until", "rejected")
        done = await self.for_each(ListFailed, request)
        rows = [
            {**dict(zip(members, row, strict=True)), "reason": reason}
            for row, reason in zip(done.rows, done.reasons, strict=True)
        ]
        return {"moment": time.time(), "installations": rows, **done.counts}

    async def retry(self, request: Mapping[str, str]) -> object:
        """Bring back what was rejected, and end pauses."""
        members = ("user", "installation", "brought_back")
        done = await self.for_each(RetryFailed, request)
        rows = [dict(zip(members, row, strict=True)) for row in done.rows]
        return {"installations": rows, **done.counts}

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


def _batches(rows: Sequence[tuple[int, ...]]) -> Iterator[Sequence[tuple[int, ...]]]:
    return (rows[at : at + BATCH] for at in range(0, len(rows), BATCH))


def _number(request: Mapping[str, str], name: str) -> int | None:
    """Return a positive id, or None where the request has none."""
    text = request.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise ValueError(f"{name} must be a positive number")
    return int(text)
