"""One cycle: find the installations, give each a job, add up what happened.

In: a pool and the reports base. Out: a CycleSummary. Rules: the volume is touched only by jobs of
the pool; an installation that is not finished is queued again behind the others.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tixd import errors
from tixd.dispatch.job import Done, ListInstallations, ListUsers, ProcessInstallation
from tixd.dispatch.pool import Pool

#: Users whose installations are listed by one job.
USERS_PER_JOB = 200


@dataclass(frozen=True, slots=True)
class CycleSummary:
    """What a cycle did: how many installations it visited, and counts by what happened."""

    installations: int
    counts: Counter[str] = field(default_factory=Counter)


async def find_installations(pool: Pool, base: str) -> list[ProcessInstallation]:
    """A job for every installation under the base; raises CannotStart where it cannot be listed."""
    users = [ids[0] for ids in (await _listing(pool, ListUsers(base))).found]
    batches = [tuple(users[at : at + USERS_PER_JOB]) for at in range(0, len(users), USERS_PER_JOB)]
    listings = [_listing(pool, ListInstallations(base, batch)) for batch in batches]
    return [
        ProcessInstallation(os.path.join(base, str(user), str(installation)), user, installation)
        for done in await asyncio.gather(*listings)
        for user, installation in done.found
    ]


async def _listing(pool: Pool, job: ListUsers | ListInstallations) -> Done:
    done = await pool.submit(job)
    if done.failure:
        raise errors.CannotStart(done.failure)
    return done


async def run_cycle(
    pool: Pool,
    jobs: list[ProcessInstallation],
    jobs_per_worker: int,
    progress: Callable[[int], None],
) -> CycleSummary:
    """Do all jobs, so many per worker at a time; tell `progress` how many are done."""
    queue = deque(jobs)
    summary = CycleSummary(len(jobs))
    finished = 0

    async def drain() -> None:
        nonlocal finished
        while queue:
            job = queue.popleft()
            done = await pool.submit(job)
            summary.counts.update(done.counts)
            if done.more:
                queue.append(job)
            else:
                finished += 1
                progress(finished)

    await asyncio.gather(*(drain() for _ in range(jobs_per_worker * pool.size)))
    return summary
