"""The jobs that wait for a worker: who is next."""

from __future__ import annotations

import asyncio

from tixd.jobs import CheckVolume, Job, ListUsers, ProcessInstallation
from tixd.pool.pending import PendingJobs

FIRST, SECOND = (ProcessInstallation(f"/r/1/{n}", 1, n) for n in (1, 2))


async def taken(jobs: list[Job]) -> list[Job]:
    """The jobs in the order in which workers get them."""
    pending = PendingJobs()
    futures = [pending.add(job) for job in jobs]
    found = [next_one.job for _ in futures if (next_one := pending.take(installations=True))]
    assert len(pending) == 0
    return found


def test_installations_are_begun_in_the_order_in_which_they_came():
    assert asyncio.run(taken([FIRST, SECOND])) == [FIRST, SECOND]


def test_a_scan_does_not_wait_for_the_installations_in_line():
    listing = ListUsers("/r")
    assert asyncio.run(taken([FIRST, SECOND, listing])) == [listing, FIRST, SECOND]


def test_the_volume_is_checked_before_the_installations_in_line():
    check = CheckVolume("/r")
    assert asyncio.run(taken([FIRST, check, SECOND])) == [check, FIRST, SECOND]
